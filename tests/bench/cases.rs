//! What is measured. The maps are filled like Katran's in the comparison: 100 VIPs with two protocols each, 100 nodes, a
//! table of 65,537 rows.

use std::net::Ipv4Addr;

use announcer_ebpf::abi::{MAX_NODES, NODE_ALIVE, NODE_PRESENT, NodeEntry, Outcome, ServiceEntry, map};
use announcer_ebpf::bench::{MANY, NEW, SAME};
use anyhow::Result;
use aya::maps::Array;

use crate::packets::frames::{BROADCAST, Mac, Packet, arp};
use crate::packets::rig::{Hook, Rig};
use crate::packets::scene::{
    CLIENT_MAC, LINK, NODE_ADDRS, NODE_MACS, OWN, POD_PORT, PODS, PORT, TCP, UDP, VIP, VIP_INDEX, one, service_key,
    with_list,
};

/// One line of the table.
pub(super) struct Case {
    pub name: &'static str,
    pub hook: Hook,
    pub arrange: fn(&mut Rig) -> Result<()>,
    pub frame: fn() -> Vec<u8>,
    /// One of `announcer_ebpf::bench`'s.
    pub vary: u32,
    /// What becomes of every packet.
    pub outcome: Outcome,
    pub goal: Option<u64>,
    pub katran: Option<&'static str>,
}

const NODES: u32 = 100;
const ROWS: u16 = u16::MAX;

/// A client whose lower address half and port are what the programs vary.
const CLIENT: (Mac, Ipv4Addr, u16) = (CLIENT_MAC, Ipv4Addr::new(100, 64, 0, 0), 40_000);
/// The same behind another node that leads.
const VIA_LEADER: (Mac, Ipv4Addr, u16) = (NODE_MACS[1], CLIENT.1, CLIENT.2);
const TO: (Mac, Ipv4Addr, u16) = (OWN, VIP, PORT);

pub(super) fn all() -> Vec<Case> {
    let mut all = leader();
    all.extend(aside());
    all.extend(backend());
    all
}

fn leader() -> Vec<Case> {
    let case = |name, frame, vary, goal, katran| Case {
        name,
        hook: Hook::Xdp,
        arrange: leading,
        frame,
        vary,
        outcome: Outcome::Forwarded,
        goal,
        katran,
    };
    let tcp = || Packet::tcp(CLIENT, TO).bytes();
    let syn = || Packet::syn(CLIENT, TO).bytes();
    let udp = || Packet::udp(CLIENT, TO).payload([0; 18]).bytes();
    vec![
        case("leader: TCP, one flow", tcp, SAME, Some(30), Some("76")),
        case("leader: TCP, 262,144 flows", tcp, MANY, Some(35), Some("140")),
        case("leader: SYN, each of a new flow", syn, NEW, Some(35), Some("611 (97 with its flood guard)")),
        case("leader: UDP, one flow", udp, SAME, None, Some("103")),
        case("leader: UDP, 262,144 flows", udp, MANY, None, None),
    ]
}

fn aside() -> Vec<Case> {
    let case = |name, frame, outcome, goal, katran| Case {
        name,
        hook: Hook::Xdp,
        arrange: leading,
        frame,
        vary: SAME,
        outcome,
        goal,
        katran,
    };
    vec![
        case(
            "not ours: TCP to the node",
            || Packet::tcp(CLIENT, (OWN, NODE_ADDRS[0], 22)).bytes(),
            Outcome::NotOurs,
            Some(20),
            Some("27"),
        ),
        case("ARP request for a VIP, answered", request, Outcome::ArpAnswered, Some(25), None),
    ]
}

fn backend() -> Vec<Case> {
    let case = |name, hook, arrange, frame, vary, outcome, goal| Case {
        name,
        hook,
        arrange,
        frame,
        vary,
        outcome,
        goal,
        katran: None,
    };
    let tcp = || Packet::tcp(VIA_LEADER, TO).bytes();
    let syn = || Packet::syn(VIA_LEADER, TO).bytes();
    let udp = || Packet::udp(VIA_LEADER, TO).payload([0; 18]).bytes();
    let reply = || Packet::tcp((OWN, PODS[0], POD_PORT), CLIENT).bytes();
    let udp_reply = || Packet::udp((OWN, PODS[0], POD_PORT), CLIENT).payload([0; 18]).bytes();
    vec![
        case("backend: TCP, known flow", Hook::Xdp, knowing, tcp, SAME, Outcome::DeliveredKnown, Some(45)),
        case("backend: UDP, known flow", Hook::Xdp, knowing, udp, SAME, Outcome::DeliveredKnown, Some(45)),
        case("backend: SYN, each of a new flow", Hook::Xdp, serving, syn, NEW, Outcome::DeliveredNew, None),
        case("reply: TCP (egress)", Hook::Egress, knowing, reply, SAME, Outcome::ReplyTranslated, None),
        case("reply: UDP (egress)", Hook::Egress, knowing, udp_reply, SAME, Outcome::ReplyTranslated, None),
        case(
            "egress: not a reply",
            Hook::Egress,
            knowing,
            || Packet::tcp((OWN, NODE_ADDRS[0], 22), CLIENT).bytes(),
            SAME,
            Outcome::ReplyNotOurs,
            None,
        ),
    ]
}

fn request() -> Vec<u8> {
    let sender = (CLIENT_MAC, Ipv4Addr::new(10, 25, 150, 77));
    arp((CLIENT_MAC, BROADCAST), etherparse::ArpOperation::REQUEST, sender, ([0; 6], VIP))
}

/// 100 VIPs whose Services have `entry`, the measured one among them.
fn services(rig: &mut Rig, entry: ServiceEntry) -> Result<()> {
    for n in 0..100_u8 {
        let vip = Ipv4Addr::new(10, 25, 150, 150 + n);
        rig.vip(vip, if vip == VIP { VIP_INDEX } else { 100 + u32::from(n) }, true, 0)?;
        for protocol in [TCP, UDP] {
            rig.service(service_key(vip, PORT, protocol), entry)?;
        }
    }
    Ok(())
}

/// This node leads, others serve.
fn leading(rig: &mut Rig) -> Result<()> {
    let mut nodes: Array<_, NodeEntry> = rig.map(map::NODES)?;
    for node in 1..=NODES {
        let mac = [0x02, 0x0d, 0xe0, 0x02, 0, node as u8];
        let entry = NodeEntry { mac, flags: NODE_PRESENT | NODE_ALIVE, ..NodeEntry::default() };
        nodes.set(LINK * MAX_NODES + node, entry, 0)?;
    }
    let mut owners: Vec<u16> = (0..ROWS).map(|row| 1 + row.wrapping_mul(40_503) % NODES as u16).collect();
    owners.extend([1, 2]);
    let newest = rig.table(0, &owners)?;
    services(rig, ServiceEntry { newest, vip: VIP_INDEX, ..ServiceEntry::default() })
}

/// This node serves with three pods, another leads.
fn serving(rig: &mut Rig) -> Result<()> {
    rig.pods()?;
    let local = rig.table(0, &[1, 2, 3])?;
    services(rig, with_list(&[0], local)?)
}

/// This node serves with one pod and knows the flow.
fn knowing(rig: &mut Rig) -> Result<()> {
    rig.pods()?;
    services(rig, with_list(&[0], one(1))?)?;
    for packet in [
        Packet::syn(VIA_LEADER, TO),
        Packet::tcp(VIA_LEADER, TO),
        Packet::udp(VIA_LEADER, TO),
        Packet::udp(VIA_LEADER, TO),
    ] {
        rig.run(Hook::Xdp, &packet.bytes())?;
    }
    Ok(())
}
