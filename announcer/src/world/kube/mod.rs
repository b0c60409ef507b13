//! Watches on the API server, turned into plain data.
