//! Replies of this node's pods get the VIP back as their source; all else leaves as it is.

use std::net::Ipv4Addr;

use announcer_ebpf::abi::Outcome::{DeliveredKnown, DeliveredNew, DropReplyMalformed, ReplyNotOurs};
use announcer_ebpf::abi::{ENDPOINT_PRESENT, EndpointEntry, ReverseEntry, addr};
use anyhow::{Result, ensure};

use super::super::frames::{Mac, Packet, arp};
use super::super::rig::{Hook, Rig, Verdict};
use super::super::row::{Row, delivered, dropped, pass, replied};
use super::super::scene::{
    CLIENT, CLIENT_MAC, CLIENT_PORT, NODE_ADDRS, OTHER_VIP, OTHER_VIP_INDEX, OWN, POD_PORT, PODS, PORT, TCP, Table,
    UDP, VIP, VIP_INDEX, ago, ready, reverse_key,
};
use super::stage_two::{VIA_LEADER, here};
use super::{TO, at_pod};

/// Pod 0 as its replies leave the node, MACs already the LAN's.
const POD: (Mac, Ipv4Addr, u16) = (OWN, PODS[0], POD_PORT);
const BACK: (Mac, Ipv4Addr, u16) = (CLIENT_MAC, CLIENT, CLIENT_PORT);

/// A reverse entry of the client's flow for both protocols, in the flow table.
fn answering(rig: &mut Rig) -> Result<()> {
    here(rig)?;
    let entry = ReverseEntry {
        vip: addr(VIP),
        port: PORT.to_be(),
        vip_index: VIP_INDEX,
        seen: ago(0)?,
        ..ReverseEntry::default()
    };
    rig.set_reverse(Table::Full, reverse_key(0, CLIENT_PORT, TCP), entry)?;
    rig.set_reverse(Table::Full, reverse_key(0, CLIENT_PORT, UDP), entry)
}

fn as_vip(packet: Packet) -> Packet {
    packet.source(VIP, PORT)
}

pub fn rows() -> Vec<Row> {
    let mut rows = translated();
    rows.extend(untouched());
    rows
}

fn translated() -> Vec<Row> {
    let tcp = || Packet::tcp(POD, BACK).payload(*b"HTTP/1.0 200 OK\r\n");
    let udp = || Packet::udp(POD, BACK).payload(*b"answer");
    vec![
        Row::new("a TCP reply gets VIP and port back with right checksums", answering)
            .egress(tcp(), replied(as_vip(tcp()))),
        Row::new("a UDP reply gets VIP and port back with a right checksum", answering)
            .egress(udp(), replied(as_vip(udp()))),
        Row::new("a UDP reply without checksum stays without", answering)
            .egress(udp().without_udp_checksum(), replied(as_vip(udp().without_udp_checksum()))),
        Row::new("a UDP reply whose checksum comes out as 0 is sent with 0xffff", answering)
            .egress(zero_as_vip(), replied(as_vip(zero_as_vip()))),
        Row::new("replies of odd and of full size are right", answering)
            .egress(tcp().payload([0xff; 1_459]), replied(as_vip(tcp().payload([0xff; 1_459]))))
            .egress(udp().payload(vec![1; 1_472]), replied(as_vip(udp().payload(vec![1; 1_472])))),
        Row::new("a reply with IPv4 options is translated", answering)
            .egress(tcp().options(&[0x94, 4, 0, 0]), replied(as_vip(tcp().options(&[0x94, 4, 0, 0])))),
        Row::new("the answer to a SYN is translated by the half-open entry", here)
            .ingress(Packet::syn(VIA_LEADER, TO), delivered(DeliveredNew, at_pod(Packet::syn(VIA_LEADER, TO), 0)))
            .egress(tcp().flags(|tcp| tcp.syn = true), replied(as_vip(tcp().flags(|tcp| tcp.syn = true))))
            .ingress(Packet::tcp(VIA_LEADER, TO), delivered(DeliveredKnown, at_pod(Packet::tcp(VIA_LEADER, TO), 0)))
            .egress(tcp(), replied(as_vip(tcp()))),
        Row::new("a terminating pod's replies are translated", answering)
            .then("terminating", |rig| rig.endpoint(1, EndpointEntry { flags: ENDPOINT_PRESENT, ..ready(0, 1) }))
            .egress(tcp(), replied(as_vip(tcp()))),
        Row::new("a reply goes back to the VIP that its client asked", |rig| {
            answering(rig)?;
            rig.vip(OTHER_VIP, OTHER_VIP_INDEX, true, 0)
        })
        .egress(tcp(), replied(as_vip(tcp()))),
        Row::new("a reply cut short behind its ports is dropped: its source would show", answering)
            .egress(tcp().bytes()[..14 + 20 + 8].to_vec(), dropped(DropReplyMalformed)),
    ]
}

/// A reply whose checksum comes out as 0 when the VIP is its source.
fn zero_as_vip() -> Packet {
    let with = |word: u16| Packet::udp(POD, BACK).payload(word.to_be_bytes());
    let frame = as_vip(with(0)).bytes();
    with(u16::from_be_bytes([frame[40], frame[41]]))
}

fn untouched() -> Vec<Row> {
    let node = (OWN, NODE_ADDRS[0], 22);
    let other_client = (CLIENT_MAC, Ipv4Addr::new(10, 25, 150, 78), CLIENT_PORT);
    vec![
        Row::new("the node's own traffic leaves as it is", answering)
            .egress(Packet::tcp(node, BACK), pass(ReplyNotOurs))
            .egress(Packet::udp(node, BACK), pass(ReplyNotOurs)),
        Row::new("a pod's own connections leave as they are", answering)
            .egress(Packet::syn((OWN, PODS[0], 50_000), BACK), pass(ReplyNotOurs))
            .egress(Packet::tcp(POD, other_client), pass(ReplyNotOurs))
            .egress(Packet::udp((OWN, PODS[1], POD_PORT), BACK), pass(ReplyNotOurs)),
        Row::new("other protocols of a pod leave as they are", answering)
            .egress(Packet::other((OWN, PODS[0]), (CLIENT_MAC, CLIENT), 132).payload([0; 24]), pass(ReplyNotOurs)),
        Row::new("ARP leaves as it is", answering).egress(
            arp((OWN, [0xff; 6]), etherparse::ArpOperation::REQUEST, (OWN, NODE_ADDRS[0]), ([0; 6], CLIENT)),
            pass(ReplyNotOurs),
        ),
        Row::new("a frame of the node cut short anywhere leaves as it is", answering).cut_short(),
        Row::new("without endpoints on this node nothing is touched", |rig| rig.led())
            .egress(Packet::tcp(POD, BACK), pass(ReplyNotOurs)),
    ]
}

impl Row {
    fn cut_short(mut self) -> Self {
        let whole = Packet::tcp((OWN, NODE_ADDRS[0], 22), BACK).payload(*b"abcdef").bytes();
        // A test run of tc needs the Ethernet header and, for IPv4, that header's first 20 bytes.
        for length in 34..=60 {
            self = self.egress(whole[..length].to_vec(), pass(ReplyNotOurs));
        }
        self
    }
}

/// Every client port and several lengths: the carry of the incremental checksums is tried in all ways.
pub fn replies_of_every_client_port_are_right() -> Result<()> {
    let mut rig = Rig::load_sized(super::super::scene::LINK, 131_072)?;
    rig.set_up()?;
    answering(&mut rig)?;
    for port in (1..=u16::MAX).step_by(7) {
        for protocol in [TCP, UDP] {
            let entry = ReverseEntry {
                vip: addr(VIP),
                port: PORT.to_be(),
                vip_index: VIP_INDEX,
                seen: ago(0)?,
                ..ReverseEntry::default()
            };
            rig.set_reverse(Table::Full, reverse_key(0, port, protocol), entry)?;
            let to = (CLIENT_MAC, CLIENT, port);
            let packet = if protocol == TCP { Packet::tcp(POD, to) } else { Packet::udp(POD, to) };
            let packet = packet.payload(vec![0xf1; usize::from(port % 5)]);
            let ran = rig.run(Hook::Egress, &packet.bytes())?;
            ensure!(ran.verdict == Verdict::Pass, "port {port}: {:?}", ran.verdict);
            ensure!(ran.frame == as_vip(packet).bytes(), "port {port} protocol {protocol}");
        }
    }
    Ok(())
}
