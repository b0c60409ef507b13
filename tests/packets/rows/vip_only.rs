//! What only a VIP can be sent: echo, other ICMP, fragments, broken packets.

use announcer_ebpf::abi::Outcome::{DropFragment, DropIcmp, DropMalformed, EchoAnswered, NotOurs};
use anyhow::{Result, ensure};
use etherparse::{IcmpEchoHeader, Icmpv4Type};

use super::super::frames::{Mac, Packet};
use super::super::rig::{Hook, Rig, Verdict};
use super::super::row::{Row, answered, dropped, pass};
use super::super::scene::{CLIENT, CLIENT_MAC, NODE_MACS, OWN, VIP, one, served_by};
use super::{FROM, TO};

const CLIENT_END: (Mac, std::net::Ipv4Addr) = (CLIENT_MAC, CLIENT);
const VIP_END: (Mac, std::net::Ipv4Addr) = (OWN, VIP);

fn busy(rig: &mut Rig) -> Result<()> {
    rig.pods()?;
    rig.services(served_by(1, one(1)))
}

fn ping(id: u16, seq: u16) -> Packet {
    Packet::icmp(CLIENT_END, VIP_END, Icmpv4Type::EchoRequest(IcmpEchoHeader { id, seq })).ttl(57)
}

/// The answer, with a fresh TTL.
///
/// Where the checksum comes out as 0 the other zero of one's complement is expected, 0xffff: it verifies as well, and
/// alone does so when all of the message is zeros.
fn pong(request: &Packet) -> Vec<u8> {
    let Some(Icmpv4Type::EchoRequest(echo)) = request.message() else { unreachable!("built as an echo request") };
    let reply = Packet::icmp(VIP_END, CLIENT_END, Icmpv4Type::EchoReply(echo)).payload(request.payload.clone());
    let mut reply = reply.bytes();
    if reply[36..38] == [0, 0] {
        reply[36..38].fill(0xff);
    }
    reply
}

impl Packet {
    fn message(&self) -> Option<Icmpv4Type> {
        match &self.layer4 {
            super::super::frames::Layer4::Icmp(message) => Some(message.clone()),
            _ => None,
        }
    }
}

fn echo(row: Row, request: Packet) -> Row {
    let reply = pong(&request);
    row.ingress(request, answered(EchoAnswered, reply))
}

pub fn rows() -> Vec<Row> {
    let icmp = |message| Packet::icmp(CLIENT_END, VIP_END, message).payload([0; 28]);
    let raw = |protocol| Packet::other(CLIENT_END, VIP_END, protocol);
    let unreachable = Icmpv4Type::Unknown { type_u8: 3, code_u8: 4, bytes5to8: [0; 4] };
    let mut rows = vec![
        echo(Row::new("an echo request to a VIP is answered by the leader", busy), ping(7, 1).payload(*b"abcdefgh")),
        echo(Row::new("an echo request without data is answered", busy), ping(0, 0)),
        echo(Row::new("an echo request of odd length is answered", busy), ping(0xffff, 0xffff).payload(*b"odd")),
        echo(Row::new("a full-sized echo request is answered", busy), ping(1, 2).payload(vec![0xff; 1_472])),
        Row::new("ICMP other than an echo request is dropped", busy)
            .ingress(icmp(unreachable), dropped(DropIcmp))
            .ingress(icmp(Icmpv4Type::EchoReply(IcmpEchoHeader { id: 1, seq: 1 })), dropped(DropIcmp)),
        Row::new("a fragment to a VIP is dropped, first, middle and last", busy)
            .ingress(Packet::udp(FROM, TO).payload([0; 64]).fragment(0, true), dropped(DropFragment))
            .ingress(raw(17).payload([0; 64]).fragment(9, true), dropped(DropFragment))
            .ingress(raw(17).payload([0; 9]).fragment(17, false), dropped(DropFragment))
            .ingress(raw(6).payload([0; 9]).fragment(17, false), dropped(DropFragment))
            .ingress(ping(1, 1).payload([0; 64]).fragment(0, true), dropped(DropFragment)),
        Row::new("a fragment from a peer's MAC is dropped as well", busy).ingress(
            Packet::udp((NODE_MACS[1], CLIENT, 9), TO).payload([0; 64]).fragment(0, true),
            dropped(DropFragment),
        ),
        Row::new("a header that contradicts itself is dropped", busy)
            // An IHL below five words, another version, a total length shorter than the headers.
            .ingress(edited(Packet::tcp(FROM, TO), |frame| frame[14] = 0x44), dropped(DropMalformed))
            .ingress(edited(Packet::tcp(FROM, TO), |frame| frame[14] = 0x65), dropped(DropMalformed))
            .ingress(edited(Packet::tcp(FROM, TO), |frame| frame[17] = 30), dropped(DropMalformed))
            .ingress(edited(Packet::udp(FROM, TO), |frame| frame[17] = 27), dropped(DropMalformed)),
        Row::new("an echo request with IPv4 options is dropped: its answer would need their own", busy)
            .ingress(ping(1, 1).options(&[7, 7, 4, 0, 0, 0, 0, 0]), dropped(DropIcmp)),
    ];
    let mut truncated = Row::new("a packet to a VIP is dropped when its headers are cut short anywhere", busy);
    let tcp = Packet::tcp(FROM, TO).options(&[0x94, 4, 0, 0]).payload(*b"abcdef").bytes();
    for (whole, headers, why) in [
        (tcp, 14 + 24 + 20, DropMalformed),
        (Packet::udp(FROM, TO).payload(*b"abcd").bytes(), 14 + 20 + 8, DropMalformed),
        (ping(1, 1).payload(*b"abcd").bytes(), 14 + 20 + 8, DropIcmp),
    ] {
        for length in 14..headers {
            // Without the whole destination address nobody can tell that it is a VIP's.
            let expect = if length < 34 { pass(NotOurs) } else { dropped(why) };
            truncated = truncated.ingress(whole[..length].to_vec(), expect);
        }
    }
    rows.push(truncated);
    rows
}

fn edited(packet: Packet, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = packet.bytes();
    edit(&mut frame);
    frame
}

/// Katran answers 7 of 65,536 ids with a wrong checksum: the carry is the trap, so every id is tried, each with even
/// and odd data.
pub fn every_echo_id_has_a_right_checksum() -> Result<()> {
    let mut rig = Rig::lan()?;
    busy(&mut rig)?;
    for data in [&b""[..], b"\xff", b"\x00\xf7\xff"] {
        for id in 0..=u16::MAX {
            let request = ping(id, 1).payload(data);
            let ran = rig.run(Hook::Xdp, &request.bytes())?;
            let expected = pong(&request);
            ensure!(ran.verdict == Verdict::Tx, "id {id}: {:?}", ran.verdict);
            ensure!(ran.frame == expected, "id {id} with {data:?}: got {:02x?}, expected {expected:02x?}", ran.frame);
        }
    }
    Ok(())
}
