//! Names in the Kubernetes API.

use std::net::IpAddr;

/// Label that says what a Lease is: [`KIND_VIP`], [`KIND_NODE`] or [`KIND_ALLOCATOR`].
pub const KIND_LABEL: &str = "announcer.dev/kind";
pub const KIND_VIP: &str = "vip";
pub const KIND_NODE: &str = "node";
pub const KIND_ALLOCATOR: &str = "allocator";
/// Annotation of a VIP's Lease: the address.
pub const ADDRESS_ANNOTATION: &str = "announcer.dev/address";
/// Annotation of a VIP's Lease: its Services, `namespace/name` with commas.
pub const SERVICES_ANNOTATION: &str = "announcer.dev/services";
/// Annotation of a heartbeat Lease: the node's facts, JSON.
pub const NODE_ANNOTATION: &str = "announcer.dev/node";
/// Name of the allocator's Lease.
pub const ALLOCATOR_LEASE: &str = "allocator";

/// Name of a VIP's Lease: `vip-10-25-150-222`; an IPv6 address is written in full, `vip-fd00-0000-…`.
#[must_use]
pub fn vip_lease(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("vip-{}", ip.to_string().replace('.', "-")),
        IpAddr::V6(ip) => {
            let groups: Vec<String> = ip.segments().iter().map(|group| format!("{group:04x}")).collect();
            format!("vip-{}", groups.join("-"))
        }
    }
}

/// Name of a node's heartbeat Lease.
#[must_use]
pub fn node_lease(node: &str) -> String {
    format!("node-{node}")
}
