//! The leader: which node gets a packet, and what it looks like then.

use std::collections::BTreeSet;

use announcer_ebpf::abi::Outcome::{
    DeliveredKnown, DeliveredNew, DropNoBackend, DropNoService, DropNodeUnreachable, DropTtl, KernelPath,
};
use announcer_ebpf::abi::{
    NODE_ALIVE, NODE_PRESENT, SERVICE_AFFINITY, SERVICE_KERNEL_PATH, ServiceEntry, TableRef, VIP_KERNEL_PATH,
};
use anyhow::{Result, ensure};

use super::super::frames::Packet;
use super::super::rig::{Hook, Rig, Verdict};
use super::super::row::{Row, delivered, dropped, forwarded, pass};
use super::super::scene::{
    CLIENT, CLIENT_MAC, NODE_ADDRS, NODE_MACS, OWN, PORT, TCP, VIP, VIP_INDEX, one, served_by, service_key, with_list,
};
use super::{FROM, TO, at_pod};

/// [`VIP`] with its Service on node 1.
fn on_node_one(rig: &mut Rig) -> Result<()> {
    rig.pods()?;
    rig.services(served_by(1, one(1)))
}

/// As node 1 must receive it.
fn to_one(packet: Packet) -> Packet {
    packet.forwarded(OWN, NODE_MACS[1])
}

pub fn rows() -> Vec<Row> {
    let mut rows = forwarding();
    rows.extend(refusals());
    rows.extend(kernel_path());
    rows
}

fn forwarding() -> Vec<Row> {
    let syn = Packet::syn(FROM, TO);
    let data = Packet::tcp(FROM, TO).payload(*b"GET / HTTP/1.0\r\n\r\n");
    let udp = Packet::udp(FROM, TO).payload(*b"query");
    let options = data.clone().options(&[0x94, 4, 0, 0, 1, 1, 1, 0]);
    let jumbo = data.clone().payload(vec![0x5a; 1_460]);
    vec![
        Row::new("a SYN goes to the row's node with MACs and TTL changed and nothing else", on_node_one)
            .ingress(syn.clone(), forwarded(to_one(syn.clone()))),
        Row::new("any later segment takes the same way without state", on_node_one)
            .ingress(data.clone(), forwarded(to_one(data.clone())))
            .ingress(
                data.clone().flags(|tcp| tcp.fin = true),
                forwarded(to_one(data.clone().flags(|tcp| tcp.fin = true))),
            )
            .ingress(
                data.clone().flags(|tcp| tcp.rst = true),
                forwarded(to_one(data.clone().flags(|tcp| tcp.rst = true))),
            ),
        Row::new("a full-sized segment is forwarded without loss of MTU", on_node_one)
            .ingress(jumbo.clone(), forwarded(to_one(jumbo))),
        Row::new("UDP is forwarded, with a checksum and without", on_node_one)
            .ingress(udp.clone(), forwarded(to_one(udp.clone())))
            .ingress(udp.clone().without_udp_checksum(), forwarded(to_one(udp.clone().without_udp_checksum()))),
        Row::new("a packet with IPv4 options is forwarded with them", on_node_one)
            .ingress(options.clone(), forwarded(to_one(options))),
        Row::new("a padded frame is forwarded with its padding", on_node_one)
            .ingress(padded(&syn), forwarded(padded(&to_one(syn.clone())))),
        Row::new("TTL 2 is the last that is forwarded", on_node_one)
            .ingress(data.clone().ttl(2), forwarded(to_one(data.clone().ttl(2)))),
        Row::new("the TTL's carry keeps the IPv4 checksum right at every TTL", on_node_one).every_ttl(&data),
        Row::new("traffic that the leader's own row gets is given to its pod", |rig| {
            rig.pods()?;
            rig.services(served_by(0, one(1)))
        })
        .ingress(syn.clone(), delivered(DeliveredNew, at_pod(syn.clone(), 0))),
        Row::new("a peer's own traffic starts stage one", on_node_two)
            .ingress(peers_own(), forwarded(peers_own().forwarded(OWN, NODE_MACS[2]))),
        Row::new("a sender that only the filter takes for a peer gets stage one, but for what is known here", |rig| {
            rig.pods()?;
            rig.services(with_list(&[0], one(1))?)
        })
        .ingress(alike(0), delivered(DeliveredNew, at_pod(alike(0), 0)))
        .then("another link's peer, and node 2's pods", |rig| {
            rig.move_peer(1)?;
            rig.services(with_list(&[2, 0], one(1))?)
        })
        .ingress(alike(0), delivered(DeliveredKnown, at_pod(alike(0), 0)))
        .ingress(alike(1), forwarded(alike(1).forwarded(OWN, NODE_MACS[2]))),
        Row::new("a dead newest owner is left out for the next of the list", |rig| {
            rig.pods()?;
            rig.services(with_list(&[1, 2], one(1))?)?;
            rig.node(1, NODE_PRESENT)
        })
        .ingress(data.clone(), forwarded(data.clone().forwarded(OWN, NODE_MACS[2])))
        .then("the node is alive again", |rig| rig.node(1, NODE_PRESENT | NODE_ALIVE))
        .ingress(data.clone(), forwarded(to_one(data))),
    ]
}

fn on_node_two(rig: &mut Rig) -> Result<()> {
    rig.pods()?;
    rig.services(served_by(2, one(1)))
}

/// Node 1's own process speaks to the VIP: its MAC, its address.
fn peers_own() -> Packet {
    Packet::syn((NODE_MACS[1], NODE_ADDRS[1], 33_000), TO)
}

/// A client's SYN from a MAC that has a peer's bit.
fn alike(flow: u16) -> Packet {
    Packet::syn((NODE_MACS[1], CLIENT, 33_000 + flow), TO)
}

fn padded(packet: &Packet) -> Vec<u8> {
    let mut frame = packet.bytes();
    frame.resize(60, 0);
    frame
}

impl Row {
    fn every_ttl(mut self, packet: &Packet) -> Self {
        for ttl in 2..=255 {
            let packet = packet.clone().ttl(ttl);
            self = self.ingress(packet.clone(), forwarded(to_one(packet)));
        }
        self
    }
}

fn refusals() -> Vec<Row> {
    let data = Packet::tcp(FROM, TO);
    let elsewhere = (OWN, VIP, 81);
    vec![
        Row::new("TTL 0 and 1 are not forwarded", on_node_one)
            .ingress(data.clone().ttl(1), dropped(DropTtl))
            .ingress(data.clone().ttl(0), dropped(DropTtl)),
        Row::new("a Service without endpoints takes nothing", |rig| {
            rig.pods()?;
            rig.services(ServiceEntry { vip: VIP_INDEX, ..ServiceEntry::default() })
        })
        .ingress(Packet::syn(FROM, TO), dropped(DropNoBackend))
        .ingress(Packet::udp(FROM, TO), dropped(DropNoBackend)),
        Row::new("a Service that has lost its last endpoint still leads to who had its flows", |rig| {
            rig.pods()?;
            let listed = with_list(&[2, 1], one(1))?;
            rig.services(ServiceEntry { newest: TableRef::default(), ..listed })
        })
        .ingress(data.clone(), forwarded(to_one(data.clone()))),
        Row::new("a node without a live data path gets nothing", |rig| {
            on_node_one(rig)?;
            rig.node(1, NODE_PRESENT)
        })
        .ingress(data.clone(), dropped(DropNodeUnreachable))
        .ingress(Packet::syn(FROM, TO), dropped(DropNodeUnreachable)),
        Row::new("a node that is not known on the link gets nothing", |rig| {
            rig.pods()?;
            rig.services(served_by(900, one(1)))
        })
        .ingress(data.clone(), dropped(DropNodeUnreachable)),
        Row::new("a port or protocol that no Service has is refused", on_node_one)
            .ingress(Packet::syn(FROM, elsewhere), dropped(DropNoService))
            .ingress(Packet::udp(FROM, elsewhere), dropped(DropNoService))
            .ingress(Packet::other((CLIENT_MAC, CLIENT), (OWN, VIP), 132).payload([0; 24]), dropped(DropNoService)),
        Row::new("a port of one protocol is not the port of the other", |rig| {
            rig.pods()?;
            rig.service(service_key(VIP, PORT, TCP), served_by(1, one(1)))
        })
        .ingress(Packet::udp(FROM, TO), dropped(DropNoService)),
    ]
}

fn kernel_path() -> Vec<Row> {
    vec![
        Row::new("a Service on the kernel path is passed up as it came, at the leader and behind it", |rig| {
            rig.pods()?;
            rig.services(ServiceEntry { flags: SERVICE_KERNEL_PATH, ..served_by(1, one(1)) })
        })
        .ingress(Packet::syn(FROM, TO), pass(KernelPath))
        .ingress(Packet::udp(FROM, TO), pass(KernelPath))
        .ingress(Packet::tcp(FROM, TO).ttl(1), pass(KernelPath))
        .ingress(Packet::tcp(FROM, TO).hop(NODE_MACS[1], OWN), pass(KernelPath)),
        Row::new("an unknown port of a VIP with a kernel path Service is passed up", |rig| {
            rig.pods()?;
            rig.vip(VIP, VIP_INDEX, true, VIP_KERNEL_PATH)?;
            rig.services(served_by(1, one(1)))
        })
        .ingress(Packet::syn(FROM, (OWN, VIP, 81)), pass(KernelPath))
        .ingress(Packet::udp(FROM, (OWN, VIP, 81)), pass(KernelPath))
        .ingress(Packet::other((CLIENT_MAC, CLIENT), (OWN, VIP), 132).payload([0; 24]), pass(KernelPath))
        .ingress(Packet::syn(FROM, TO), forwarded(to_one(Packet::syn(FROM, TO)))),
    ]
}

/// Rows of a table per client port: every node is chosen, each as the host computes it.
pub fn every_row_as_the_host_computes_it(affinity: bool) -> Result<()> {
    let mut rig = Rig::lan()?;
    rig.pods()?;
    // 1,021 rows in turn for the two peers, so that what this node would take does not set up flows.
    let owners: Vec<u16> = (0..1_021).map(|row| 1 + row % 2).collect();
    let newest = rig.table(4_096, &owners)?;
    let flags = if affinity { SERVICE_AFFINITY } else { 0 };
    rig.services(ServiceEntry { newest, flags, ..served_by(1, one(1)) })?;
    let mut chosen = BTreeSet::new();
    for port in 1_024..3_072 {
        let packet = Packet::tcp((FROM.0, FROM.1, port), TO);
        let row = super::golden::row(&packet, affinity, newest.rows);
        let owner = owners[row as usize];
        let ran = rig.run(Hook::Xdp, &packet.bytes())?;
        let expected = packet.forwarded(OWN, NODE_MACS[usize::from(owner)]).bytes();
        ensure!(
            ran.verdict == Verdict::Tx && ran.frame == expected,
            "port {port}: row {row} is node {owner}'s, the program chose MAC {:02x?}",
            &ran.frame[..6]
        );
        chosen.insert(owner);
    }
    let expected = if affinity { 1 } else { 2 };
    ensure!(chosen.len() == expected, "{} nodes chosen, {expected} expected", chosen.len());
    Ok(())
}

/// Three nodes, this one among them: the shares of random flows are the shares of the rows.
pub fn three_nodes_share_the_flows() -> Result<()> {
    let mut rig = Rig::lan()?;
    rig.pods()?;
    let owners: Vec<u16> = (0..1_021).map(|row| row % 3).collect();
    let newest = rig.table(0, &owners)?;
    rig.services(ServiceEntry { newest, ..served_by(0, one(1)) })?;
    let mut shares = [0_u32; 3];
    for port in 1_024..4_096 {
        let packet = Packet::syn((FROM.0, FROM.1, port), TO);
        let owner = owners[super::golden::row(&packet, false, newest.rows) as usize];
        let ran = rig.run(Hook::Xdp, &packet.bytes())?;
        let expected = match owner {
            0 => (Verdict::Pass, at_pod(packet, 0)),
            _ => (Verdict::Tx, packet.forwarded(OWN, NODE_MACS[usize::from(owner)])),
        };
        ensure!((ran.verdict, ran.frame) == (expected.0, expected.1.bytes()), "port {port} of node {owner}");
        shares[usize::from(owner)] += 1;
    }
    // 3,072 draws of three: a deviation above 150 from 1,024 is one of six standard deviations.
    ensure!(shares.iter().all(|share| share.abs_diff(1_024) < 150), "shares {shares:?}");
    Ok(())
}
