//! This node's links, addresses and routes, by netlink.
