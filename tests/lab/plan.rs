//! Who has which address. The same in every lab: its namespaces keep it to itself.

use std::net::Ipv4Addr;

use announcer::world::model::Mac;

/// The LAN.
pub const LAN: Ipv4Addr = Ipv4Addr::new(10, 25, 150, 0);
/// Length of the LAN's prefix.
pub const PREFIX: u8 = 24;
/// The LAN's router: the bridge itself.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 25, 150, 1);
/// The API server, a second address of the bridge.
pub const API_SERVER: Ipv4Addr = Ipv4Addr::new(10, 25, 150, 2);

/// Address of node `number` (from 1) on the LAN.
#[must_use]
pub fn node_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 25, 150, 10 + number)
}

/// MAC of node `number`'s link.
#[must_use]
pub fn node_mac(number: u8) -> Mac {
    Mac([0x02, 0x19, 0x96, 0, 0, 10 + number])
}

/// Address of client `number` (from 1).
#[must_use]
pub fn client_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 25, 150, 100 + number)
}

/// Address of the pod with this number (from 1) on node `node`; the node's pods have 10.244.node.0/24.
#[must_use]
pub fn pod_address(node: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, node, 1 + number)
}
