//! What is not for a VIP is passed up as it came, whatever it is.

use std::net::Ipv4Addr;

use announcer_ebpf::abi::Outcome::NotOurs;
use etherparse::{IcmpEchoHeader, Icmpv4Type};

use super::super::frames::{Mac, Packet};
use super::super::rig::Rig;
use super::super::row::{Row, pass};
use super::super::scene::{CLIENT, CLIENT_MAC, NODE_ADDRS, NODE_MACS, OTHER_VIP, STRANGER, VIP, one, served_by};
use super::{FROM, TO};
use crate::packets::scene::OWN;

const MDNS: (Mac, Ipv4Addr) = ([0x01, 0x00, 0x5e, 0, 0, 0xfb], Ipv4Addr::new(224, 0, 0, 251));

/// A Service that would take anything to the VIP.
fn busy(rig: &mut Rig) -> anyhow::Result<()> {
    rig.pods()?;
    rig.services(served_by(1, one(1)))
}

pub fn rows() -> Vec<Row> {
    let to_node = (OWN, NODE_ADDRS[0], 22);
    let node = (OWN, NODE_ADDRS[0]);
    let client = (CLIENT_MAC, CLIENT);
    let ping = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 1 });
    vec![
        Row::new("TCP to the node's own address passes", busy)
            .ingress(Packet::syn(FROM, to_node), pass(NotOurs))
            .ingress(Packet::tcp(FROM, to_node).payload(*b"SSH-2.0"), pass(NotOurs)),
        Row::new("UDP to the node's own address passes", busy).ingress(Packet::udp(FROM, to_node), pass(NotOurs)),
        Row::new("an echo request to the node's own address passes", busy)
            .ingress(Packet::icmp(client, node, ping.clone()), pass(NotOurs)),
        Row::new("a fragment to the node's own address passes, first, middle and last", busy)
            .ingress(Packet::udp(FROM, to_node).payload([7; 64]).fragment(0, true), pass(NotOurs))
            .ingress(Packet::other(client, node, 17).payload([7; 64]).fragment(9, true), pass(NotOurs))
            .ingress(Packet::other(client, node, 17).payload([7; 12]).fragment(17, false), pass(NotOurs)),
        Row::new("IPv4 options to the node's own address pass", busy)
            .ingress(Packet::tcp(FROM, to_node).options(&[0x94, 4, 0, 0]), pass(NotOurs)),
        Row::new("another IP protocol to the node's own address passes", busy)
            .ingress(Packet::other(client, node, 132).payload([0; 24]), pass(NotOurs)),
        Row::new("multicast passes: mDNS, and IGMP with router alert", busy)
            .ingress(Packet::udp((CLIENT_MAC, CLIENT, 5353), (MDNS.0, MDNS.1, 5353)).ttl(255), pass(NotOurs))
            .ingress(
                Packet::other(client, ([1, 0, 0x5e, 0, 0, 0x16], Ipv4Addr::new(224, 0, 0, 22)), 2)
                    .options(&[0x94, 4, 0, 0])
                    .ttl(1)
                    .payload([0x22, 0, 0xf9, 2, 0, 0, 0, 1, 4, 0, 0, 0, 224, 0, 0, 251]),
                pass(NotOurs),
            ),
        Row::new("TTL 0 and 1 to the node's own address pass", busy)
            .ingress(Packet::tcp(FROM, to_node).ttl(1), pass(NotOurs))
            .ingress(Packet::tcp(FROM, to_node).ttl(0), pass(NotOurs)),
        Row::new("a packet to the VIP in a frame for another MAC passes", busy)
            .ingress(Packet::tcp(FROM, TO).hop(CLIENT_MAC, NODE_MACS[1]), pass(NotOurs)),
        Row::new("a packet to the VIP in a VLAN that is not the link's passes", busy)
            .ingress(Packet::tcp(FROM, TO).tag(25), pass(NotOurs)),
        Row::new("IPv6 passes", busy).ingress(ipv6(), pass(NotOurs)),
        Row::new("an unknown EtherType passes", busy).ingress(lldp(), pass(NotOurs)),
        Row::new("an address that only shares the filter's bit with a VIP passes", |rig| {
            busy(rig)?;
            rig.filter_vip(STRANGER)
        })
        .ingress(Packet::tcp(FROM, (OWN, STRANGER, 80)), pass(NotOurs))
        .ingress(Packet::other(client, (OWN, STRANGER), 132).payload([0; 8]), pass(NotOurs))
        .ingress(Packet::icmp(client, (OWN, STRANGER), ping), pass(NotOurs)),
        Row::new("a frame cut short anywhere passes when it is not for a VIP", busy).truncations(),
        Row::new("a broken IPv4 header passes when it is not for a VIP", busy)
            .ingress(with_byte(Packet::tcp(FROM, to_node), 14, 0x43), pass(NotOurs))
            .ingress(with_byte(Packet::tcp(FROM, to_node), 14, 0x65), pass(NotOurs))
            .ingress(with_byte(Packet::tcp(FROM, to_node), 16, 0xff), pass(NotOurs)),
        Row::new("a packet from a VIP to elsewhere passes", busy)
            .ingress(Packet::tcp((CLIENT_MAC, VIP, 80), to_node), pass(NotOurs))
            .ingress(Packet::tcp((CLIENT_MAC, OTHER_VIP, 80), to_node), pass(NotOurs)),
    ]
}

impl Row {
    /// Every length from a bare Ethernet header to a whole TCP segment.
    fn truncations(mut self) -> Self {
        let whole = Packet::tcp(FROM, (OWN, NODE_ADDRS[0], 22)).payload(*b"abcdef").bytes();
        for length in 14..=60 {
            self = self.ingress(whole[..length].to_vec(), pass(NotOurs));
        }
        self
    }
}

fn with_byte(packet: Packet, at: usize, value: u8) -> Vec<u8> {
    let mut bytes = packet.bytes();
    bytes[at] = value;
    bytes
}

/// A neighbour solicitation's outer shape: hop limit 255, ICMPv6.
fn ipv6() -> Vec<u8> {
    let mut frame = vec![0x33, 0x33, 0xff, 0, 0, 1];
    frame.extend(CLIENT_MAC);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255]);
    frame.extend([0xfe; 32]);
    frame.extend([135, 0, 0xab, 0xcd, 0, 0, 0, 0]);
    frame.extend([0xfe; 16]);
    frame
}

fn lldp() -> Vec<u8> {
    let mut frame = vec![0x01, 0x80, 0xc2, 0, 0, 0x0e];
    frame.extend(CLIENT_MAC);
    frame.extend([0x88, 0xcc, 2, 7, 4]);
    frame.extend(CLIENT_MAC);
    frame.extend([4, 2, 7, 0x31, 6, 2, 0, 120, 0, 0]);
    frame
}
