//! The tables. One file for each subject; each gives its rows, and checks that run too many packets for a row.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::frames::{Mac, Packet};
use super::row::Row;
use super::scene::{CLIENT, CLIENT_MAC, CLIENT_PORT, OWN, POD_PORT, PODS, PORT, VIP};

pub mod arp;
pub mod deadline;
pub mod debug_lines;
pub mod egress;
pub mod flows;
pub mod golden;
pub mod hand_on;
pub mod not_ours;
pub mod stage_one;
pub mod stage_two;
pub mod vip_only;

/// Where the client speaks from.
const FROM: (Mac, Ipv4Addr, u16) = (CLIENT_MAC, CLIENT, CLIENT_PORT);
/// The Service, behind this node's MAC.
const TO: (Mac, Ipv4Addr, u16) = (OWN, VIP, PORT);

/// What a pod of this node gets of a packet to the VIP.
fn at_pod(packet: Packet, pod: usize) -> Packet {
    packet.destination(PODS[pod], POD_PORT)
}

/// Every row of every table.
#[must_use]
pub fn all() -> Vec<Row> {
    [
        arp::rows(),
        not_ours::rows(),
        vip_only::rows(),
        stage_one::rows(),
        stage_two::rows(),
        flows::rows(),
        hand_on::rows(),
        egress::rows(),
        deadline::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A check by its name.
pub type Check = (&'static str, fn() -> Result<()>);

/// Checks of many packets each.
pub const CHECKS: &[Check] = &[
    ("the echo reply's checksum is right for every identifier", vip_only::every_echo_id_has_a_right_checksum),
    ("the leader chooses the row that the host computes", || stage_one::every_row_as_the_host_computes_it(false)),
    ("with ClientIP affinity a client's every port goes to one node", || {
        stage_one::every_row_as_the_host_computes_it(true)
    }),
    ("three nodes share new flows by their rows", stage_one::three_nodes_share_the_flows),
    ("the kernel hashes as the host does in tables of every size", golden::the_kernel_hashes_as_the_host),
    ("a node's pods are chosen by the second hash", stage_two::pods_are_chosen_by_the_second_hash),
    ("TCP and UDP of one port are apart", stage_two::the_two_protocols_are_apart),
    ("a SYN flood evicts half-open flows only", flows::a_syn_flood_evicts_only_half_open_flows),
    ("a flow that cannot be remembered is dropped", flows::a_full_table_refuses_the_flow),
    ("replies to many client ports have right checksums", egress::replies_of_every_client_port_are_right),
    (
        "built with debug lines, the programs write one for each frame to a VIP",
        debug_lines::a_line_for_each_frame_to_a_vip,
    ),
    ("the agent's own programs have no debug lines", debug_lines::the_agents_object_has_no_debug_lines),
    ("the leader's path notices the deadline within 256 packets", deadline::the_leader_notices_within_256_packets),
];
