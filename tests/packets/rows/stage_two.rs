//! The backend node: which pod gets a flow, and what the node remembers.

use announcer_ebpf::abi::Outcome::{
    DeliveredAtEnd, DeliveredKnown, DeliveredNew, DropListChanged, DropNoBackend, DropReverseTaken, HandedToTake,
};
use announcer_ebpf::abi::{
    ENDPOINT_PRESENT, EndpointEntry, FlowEntry, FlowKey, ReverseEntry, ServiceEntry, TableRef, addr,
};
use announcer_ebpf::hash;
use anyhow::{Context, Result, ensure};

use super::super::frames::{Mac, Packet};
use super::super::rig::{Hook, Rig, Verdict};
use super::super::row::{Row, delivered, dropped, handed};
use super::super::scene::{
    CLIENT, CLIENT_PORT, NODE_MACS, OTHER_VIP, OTHER_VIP_INDEX, OWN, PORT, TCP, Table, UDP, VIP, VIP_INDEX, ago,
    flow_key, one, ready, reverse_key, served_by, service_key, with_list,
};
use super::{TO, at_pod};

/// The client's packet as the leader, node 1, sends it on.
pub const VIA_LEADER: (Mac, std::net::Ipv4Addr, u16) = (NODE_MACS[1], CLIENT, CLIENT_PORT);

/// The Service on this node alone, pod 0 its only endpoint, the list unchanged for an hour.
pub fn here(rig: &mut Rig) -> Result<()> {
    rig.pods()?;
    rig.services(with_list(&[0], one(1))?)
}

pub fn rows() -> Vec<Row> {
    let mut rows = delivery();
    rows.extend(terminating());
    rows.extend(no_endpoint());
    rows.extend(collisions());
    rows
}

fn delivery() -> Vec<Row> {
    let syn = Packet::syn(VIA_LEADER, TO).ttl(63);
    let data = Packet::tcp(VIA_LEADER, TO).ttl(63).payload(*b"GET /");
    let udp = Packet::udp(VIA_LEADER, TO).ttl(63).payload(*b"question");
    vec![
        Row::new("a SYN from a peer is given to a local pod with right checksums", here)
            .ingress(syn.clone(), delivered(DeliveredNew, at_pod(syn.clone(), 0))),
        Row::new("a new UDP flow is given to a local pod with a right checksum", here)
            .ingress(udp.clone(), delivered(DeliveredNew, at_pod(udp.clone(), 0)))
            .ingress(udp.clone(), delivered(DeliveredKnown, at_pod(udp.clone(), 0))),
        Row::new("a UDP checksum of 0 stays 0", here).ingress(
            udp.clone().without_udp_checksum(),
            delivered(DeliveredNew, at_pod(udp.clone().without_udp_checksum(), 0)),
        ),
        Row::new("a UDP checksum that comes out as 0 is written as 0xffff", here)
            .ingress(zero_at_pod(), delivered(DeliveredNew, at_pod(zero_at_pod(), 0))),
        Row::new("IPv4 options are delivered with the packet", here).ingress(
            syn.clone().options(&[0x94, 4, 0, 0]),
            delivered(DeliveredNew, at_pod(syn.clone().options(&[0x94, 4, 0, 0]), 0)),
        ),
        Row::new("a padded frame is delivered with its padding", here)
            .ingress(padded(&syn), delivered(DeliveredNew, padded(&at_pod(syn.clone(), 0)))),
        Row::new("a jumbo segment is delivered with a right checksum", here)
            .ingress(syn.clone(), delivered(DeliveredNew, at_pod(syn.clone(), 0)))
            .ingress(
                data.clone().payload(vec![0xa5; 2_900]),
                delivered(DeliveredKnown, at_pod(data.clone().payload(vec![0xa5; 2_900]), 0)),
            ),
        Row::new("a known flow stays with its pod although every table changed", here)
            .ingress(syn.clone(), delivered(DeliveredNew, at_pod(syn.clone(), 0)))
            .ingress(data.clone(), delivered(DeliveredKnown, at_pod(data.clone(), 0)))
            .then("another pod, another node, a change just now", |rig| {
                rig.services(ServiceEntry { changed: ago(0)?, ..served_by(2, one(2)) })
            })
            .ingress(data.clone(), delivered(DeliveredKnown, at_pod(data.clone(), 0))),
        Row::new("a packet from a peer never starts stage one again", |rig| {
            here(rig)?;
            rig.services(served_by(2, one(1)))
        })
        .ingress(syn.clone(), delivered(DeliveredNew, at_pod(syn.clone(), 0))),
        Row::new("a segment of a flow that no owner knows is given to the pod of its hash", here)
            .ingress(data.clone(), delivered(DeliveredAtEnd, at_pod(data.clone(), 0))),
        Row::new("a segment that no owner knows is dropped within 3 s of a change of the list", |rig| {
            here(rig)?;
            rig.services(ServiceEntry { changed: ago(1_000)?, ..with_list(&[0], one(1))? })
        })
        .ingress(data.clone(), dropped(DropListChanged))
        .then("4 s after the change", |rig| {
            rig.services(ServiceEntry { changed: ago(4_000)?, ..with_list(&[0], one(1))? })
        })
        .ingress(data.clone(), delivered(DeliveredAtEnd, at_pod(data, 0))),
    ]
}

fn padded(packet: &Packet) -> Vec<u8> {
    let mut frame = packet.bytes();
    frame.resize(60, 0);
    frame
}

/// A datagram whose checksum comes out as 0 towards pod 0: its last word is chosen so.
fn zero_at_pod() -> Packet {
    let with = |word: u16| Packet::udp(VIA_LEADER, TO).payload(word.to_be_bytes());
    let check = |word| {
        let frame = at_pod(with(word), 0).bytes();
        u16::from_be_bytes([frame[40], frame[41]])
    };
    // Adding the checksum to the covered data makes the sum all ones, of which the complement is 0.
    let word = check(0);
    debug_assert_eq!(check(word), 0xffff);
    with(word)
}

fn terminating() -> Vec<Row> {
    let syn = Packet::syn(VIA_LEADER, TO).ttl(63);
    let data = Packet::tcp(VIA_LEADER, TO).ttl(63);
    fn known(rig: &mut Rig) -> Result<()> {
        rig.pods()?;
        rig.services(with_list(&[0], one(1))?)?;
        for frame in [Packet::syn(VIA_LEADER, TO), Packet::tcp(VIA_LEADER, TO)] {
            rig.run(Hook::Xdp, &frame.bytes())?;
        }
        rig.services(with_list(&[0], one(2))?)
    }
    fn no_longer_ready(rig: &mut Rig) -> Result<()> {
        rig.endpoint(1, EndpointEntry { flags: ENDPOINT_PRESENT, ..ready(0, 1) })
    }
    vec![
        Row::new("a terminating pod keeps its flows, new ones avoid it", known)
            .then("terminating", no_longer_ready)
            .ingress(data.clone(), delivered(DeliveredKnown, at_pod(data.clone(), 0)))
            .ingress(
                Packet::syn((NODE_MACS[1], CLIENT, 50_000), TO),
                delivered(DeliveredNew, at_pod(Packet::syn((NODE_MACS[1], CLIENT, 50_000), TO), 1)),
            ),
        Row::new("a SYN on an old flow stays with its pod while that is ready", known)
            .ingress(syn.clone(), delivered(DeliveredKnown, at_pod(syn.clone(), 0))),
        Row::new("a SYN on an old flow chooses anew when its pod is not ready", known)
            .then("terminating", no_longer_ready)
            .ingress(syn.clone(), delivered(DeliveredNew, at_pod(syn.clone(), 1)))
            .ingress(data.clone(), delivered(DeliveredKnown, at_pod(data.clone(), 1))),
        Row::new("a flow of a pod that is gone is void", known)
            .then("gone", |rig| rig.endpoint(1, EndpointEntry { flags: 0, ..ready(0, 1) }))
            .ingress(data.clone(), delivered(DeliveredAtEnd, at_pod(data.clone(), 1))),
        Row::new("a reused index of another generation is never fed the old pod's flow", known)
            .then("the index has a new tenant", |rig| rig.endpoint(1, ready(2, 2)))
            .ingress(data.clone(), delivered(DeliveredAtEnd, at_pod(data, 1))),
    ]
}

fn no_endpoint() -> Vec<Row> {
    let syn = Packet::syn(VIA_LEADER, TO).ttl(63);
    let udp = Packet::udp(VIA_LEADER, TO).ttl(63);
    let none = TableRef::default();
    let taken = |packet: &Packet, hop| packet.clone().forwarded(OWN, NODE_MACS[2]).handed(0x88b6, hop);
    vec![
        Row::new("a SYN at a node without a ready endpoint goes to the newest other owner to be taken", move |rig| {
            rig.pods()?;
            rig.services(with_list(&[0, 2], none)?)
        })
        .ingress(syn.clone(), handed(HandedToTake, taken(&syn, 1))),
        Row::new("an unknown UDP flow goes there at once: it could not be taken when it comes back", move |rig| {
            rig.pods()?;
            rig.services(with_list(&[0, 2], none)?)
        })
        .ingress(udp.clone(), handed(HandedToTake, taken(&udp, 1)))
        .ingress(udp.clone().hop(NODE_MACS[2], OWN).handed(0x88b5, 1), handed(HandedToTake, taken(&udp, 2))),
        Row::new("with no other owner it is dropped", move |rig| {
            rig.pods()?;
            rig.services(with_list(&[0], none)?)
        })
        .ingress(syn.clone(), dropped(DropNoBackend))
        .ingress(udp, dropped(DropNoBackend)),
    ]
}

fn collisions() -> Vec<Row> {
    let syn = Packet::syn(VIA_LEADER, TO).ttl(63);
    /// Pod 0 already answers the client's port as the other VIP.
    fn taken(rig: &mut Rig) -> Result<()> {
        rig.vip(OTHER_VIP, OTHER_VIP_INDEX, true, 0)?;
        let entry = ReverseEntry {
            vip: addr(OTHER_VIP),
            port: PORT.to_be(),
            vip_index: OTHER_VIP_INDEX,
            seen: ago(0)?,
            ..ReverseEntry::default()
        };
        let key = FlowKey { vip: addr(OTHER_VIP), ..flow_key(CLIENT_PORT, TCP) };
        rig.set_flow(Table::Full, key, FlowEntry { endpoint: 1, generation: 1, seen: ago(0)?, state: 0 })?;
        rig.set_reverse(Table::Full, reverse_key(0, CLIENT_PORT, TCP), entry)
    }
    vec![
        Row::new("a pod that has the client's port through another VIP is not given it twice", |rig| {
            here(rig)?;
            taken(rig)
        })
        .ingress(syn.clone(), dropped(DropReverseTaken)),
        Row::new("another pod takes the flow where there is one", |rig| {
            rig.pods()?;
            let local = rig.table(0, &[1, 2])?;
            rig.services(with_list(&[0], local)?)?;
            taken(rig)
        })
        .ingress(syn.clone(), delivered(DeliveredNew, at_pod(syn.clone(), 1))),
        Row::new("what another VIP's flow left behind when it ended stands in nobody's way", |rig| {
            here(rig)?;
            taken(rig)?;
            rig.endpoint(1, ready(0, 2))
        })
        .ingress(syn.clone(), delivered(DeliveredNew, at_pod(syn.clone(), 0))),
        Row::new("the other VIP's flow is left as it was", |rig| {
            here(rig)?;
            taken(rig)
        })
        .ingress(syn, dropped(DropReverseTaken))
        .then("the reverse entry is the other VIP's", |rig| {
            let entry = rig.reverse(Table::Full, reverse_key(0, CLIENT_PORT, TCP))?.context("entry gone")?;
            ensure!(entry.vip == addr(OTHER_VIP), "the entry is {entry:?}");
            ensure!(rig.flow(Table::Half, flow_key(CLIENT_PORT, TCP))?.is_none(), "a flow was remembered");
            Ok(())
        }),
    ]
}

/// New flows are spread over the local pods by the second hash, the same for a later segment as for a SYN.
pub fn pods_are_chosen_by_the_second_hash() -> Result<()> {
    let mut rig = Rig::lan()?;
    rig.pods()?;
    // Endpoint indices, so pod = index - 1.
    let local = rig.table(40_000, &[1, 2, 3])?;
    rig.services(ServiceEntry { changed: ago(60_000)?, ..with_list(&[0], local)? })?;
    let mut seen = [0_u32; 3];
    for port in 1_024..1_624 {
        let from = (NODE_MACS[1], CLIENT, port);
        // Half of the flows are seen first in their middle.
        let packet = if port % 2 == 0 { Packet::syn(from, TO) } else { Packet::tcp(from, TO) };
        let row = hash::row(hash::remix(super::golden::flow_hash(&packet, false)), 3) as usize;
        let ran = rig.run(Hook::Xdp, &packet.bytes())?;
        ensure!(ran.verdict == Verdict::Pass, "port {port}: {:?}", ran.verdict);
        ensure!(ran.frame == at_pod(packet, row).bytes(), "port {port}: pod {row} expected");
        seen[row] += 1;
    }
    ensure!(seen.iter().all(|n| *n > 100), "uneven: {seen:?}");
    Ok(())
}

/// TCP and UDP of one port are two Services: each has its own pods and flows.
pub fn the_two_protocols_are_apart() -> Result<()> {
    let mut rig = Rig::lan()?;
    rig.pods()?;
    rig.service(service_key(VIP, PORT, TCP), with_list(&[0], one(1))?)?;
    rig.service(service_key(VIP, PORT, UDP), with_list(&[0], one(2))?)?;
    let (tcp, udp) = (Packet::syn(VIA_LEADER, TO), Packet::udp(VIA_LEADER, TO));
    ensure!(rig.run(Hook::Xdp, &tcp.bytes())?.frame == at_pod(tcp, 0).bytes(), "TCP goes to pod 0");
    ensure!(rig.run(Hook::Xdp, &udp.bytes())?.frame == at_pod(udp, 1).bytes(), "UDP goes to pod 1");
    let delivered = rig.vip_counters(VIP_INDEX)?.delivered_packets;
    ensure!(delivered == 2, "both count at the VIP: {delivered}");
    Ok(())
}
