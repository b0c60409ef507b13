use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use pnet::{
    packet::{
        Packet,
        icmp::{
            IcmpTypes,
            echo_reply::EchoReplyPacket,
            echo_request::{IcmpCodes, MutableEchoRequestPacket},
        },
        ipv4::Ipv4Packet,
    },
    util::checksum,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::Namespace;

/// Sends `count` ICMP echo requests with `size` bytes of data, each after the answer to the one before (or a second).
/// Gives the number of answers whose data came back unchanged.
pub fn ping(from: &Namespace, to: Ipv4Addr, count: u16, size: usize) -> anyhow::Result<u16> {
    from.run(|| {
        let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).context("a raw socket")?;
        socket.connect(&SocketAddr::new(IpAddr::V4(to), 0).into())?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let data: Vec<u8> = (0..size).map(|n| n.to_le_bytes()[0]).collect();
        let mut answered = 0;
        for sequence in 0..count {
            socket.write_all(&request(sequence, &data)?)?;
            answered += u16::from(wait_answer(&mut socket, sequence, &data)?);
        }
        Ok(answered)
    })
}

const IDENTIFIER: u16 = 0x616e;

fn request(sequence: u16, data: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; MutableEchoRequestPacket::minimum_packet_size() + data.len()];
    let mut packet = MutableEchoRequestPacket::new(&mut bytes).context("no room for an echo request")?;
    packet.set_icmp_type(IcmpTypes::EchoRequest);
    packet.set_icmp_code(IcmpCodes::NoCode);
    packet.set_identifier(IDENTIFIER);
    packet.set_sequence_number(sequence);
    packet.set_payload(data);
    let sum = checksum(packet.packet(), 1);
    packet.set_checksum(sum);
    Ok(bytes)
}

fn wait_answer(socket: &mut Socket, sequence: u16, data: &[u8]) -> anyhow::Result<bool> {
    let end = Instant::now() + Duration::from_secs(1);
    let mut buffer = vec![0; 65_536];
    while Instant::now() < end {
        let length = match socket.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error).context("reading echo replies"),
        };
        let packet = Ipv4Packet::new(&buffer[..length]).context("a packet that is cut short")?;
        let Some(reply) = EchoReplyPacket::new(packet.payload()) else { continue };
        if reply.get_icmp_type() == IcmpTypes::EchoReply
            && (reply.get_identifier(), reply.get_sequence_number()) == (IDENTIFIER, sequence)
        {
            // A raw socket is given the packet before ICMP checks its sum.
            ensure!(checksum(packet.payload(), usize::MAX) == 0, "an echo reply has a wrong checksum");
            return Ok(reply.payload() == data);
        }
    }
    Ok(false)
}
