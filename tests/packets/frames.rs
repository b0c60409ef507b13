//! Frames, built and read by `etherparse`: another crate than the programs under test share with the agent. Every
//! frame is written with full checksums from its fields, so an expected frame says nothing of how it came about.

use std::net::Ipv4Addr;

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, IpFragOffset, IpNumber,
    Ipv4Header, Ipv4Options, TcpHeader, UdpHeader,
};

pub type Mac = [u8; 6];

pub const BROADCAST: Mac = [0xff; 6];

/// What follows the IPv4 header.
#[derive(Debug, Clone)]
pub enum Layer4 {
    Tcp(TcpHeader),
    /// With a computed checksum, or with 0 (none, RFC 768).
    Udp {
        source: u16,
        destination: u16,
        checksum: bool,
    },
    Icmp(Icmpv4Type),
    /// The payload stands right after the IPv4 header.
    Other(u8),
}

/// An IPv4 frame as its fields; [`Packet::bytes`] writes it with lengths and checksums computed anew.
#[derive(Debug, Clone)]
pub struct Packet {
    pub eth: Ethernet2Header,
    pub ip: Ipv4Header,
    pub layer4: Layer4,
    pub payload: Vec<u8>,
    /// Written over the IPv4 version nibble after all checksums.
    pub nibble: Option<u8>,
    /// 802.1Q tag with this VLAN id.
    pub vlan: Option<u16>,
}

impl Packet {
    fn new(from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr), protocol: IpNumber, layer4: Layer4) -> Self {
        Self {
            eth: Ethernet2Header { source: from.0, destination: to.0, ether_type: EtherType::IPV4 },
            ip: Ipv4Header {
                time_to_live: 64,
                identification: 0x1d0f,
                dont_fragment: true,
                protocol,
                source: from.1.octets(),
                destination: to.1.octets(),
                ..Ipv4Header::default()
            },
            layer4,
            payload: Vec::new(),
            nibble: None,
            vlan: None,
        }
    }

    /// A TCP segment with ACK, as in the middle of a connection.
    pub fn tcp(from: (Mac, Ipv4Addr, u16), to: (Mac, Ipv4Addr, u16)) -> Self {
        let mut tcp = TcpHeader::new(from.2, to.2, 0x1234_5678, 29_200);
        tcp.ack = true;
        tcp.acknowledgment_number = 0x0bad_cafe;
        Self::new((from.0, from.1), (to.0, to.1), IpNumber::TCP, Layer4::Tcp(tcp))
    }

    /// The first segment of a connection.
    pub fn syn(from: (Mac, Ipv4Addr, u16), to: (Mac, Ipv4Addr, u16)) -> Self {
        Self::tcp(from, to).flags(|tcp| {
            tcp.ack = false;
            tcp.acknowledgment_number = 0;
            tcp.syn = true;
        })
    }

    pub fn udp(from: (Mac, Ipv4Addr, u16), to: (Mac, Ipv4Addr, u16)) -> Self {
        Self::new(
            (from.0, from.1),
            (to.0, to.1),
            IpNumber::UDP,
            Layer4::Udp { source: from.2, destination: to.2, checksum: true },
        )
    }

    pub fn icmp(from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr), message: Icmpv4Type) -> Self {
        Self::new(from, to, IpNumber::ICMP, Layer4::Icmp(message))
    }

    /// A packet of an IP protocol that announcer does not know.
    pub fn other(from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr), protocol: u8) -> Self {
        Self::new(from, to, IpNumber(protocol), Layer4::Other(protocol))
    }

    #[must_use]
    pub fn flags(mut self, set: impl FnOnce(&mut TcpHeader)) -> Self {
        if let Layer4::Tcp(tcp) = &mut self.layer4 {
            set(tcp);
        }
        self
    }

    #[must_use]
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ip.time_to_live = ttl;
        self
    }

    /// The MACs of another hop.
    #[must_use]
    pub fn hop(mut self, from: Mac, to: Mac) -> Self {
        self.eth.source = from;
        self.eth.destination = to;
        self
    }

    /// As a router between the two would send it on: MACs and one TTL less.
    #[must_use]
    pub fn forwarded(self, from: Mac, to: Mac) -> Self {
        let ttl = self.ip.time_to_live - 1;
        self.hop(from, to).ttl(ttl)
    }

    /// In an EtherType of announcer's own, with what stands in the version nibble.
    #[must_use]
    pub fn handed(mut self, ether_type: u16, nibble: u8) -> Self {
        self.eth.ether_type = EtherType(ether_type);
        self.nibble = Some(nibble);
        self
    }

    #[must_use]
    pub fn destination(mut self, addr: Ipv4Addr, port: u16) -> Self {
        self.ip.destination = addr.octets();
        match &mut self.layer4 {
            Layer4::Tcp(tcp) => tcp.destination_port = port,
            Layer4::Udp { destination, .. } => *destination = port,
            Layer4::Icmp(_) | Layer4::Other(_) => {}
        }
        self
    }

    #[must_use]
    pub fn source(mut self, addr: Ipv4Addr, port: u16) -> Self {
        self.ip.source = addr.octets();
        match &mut self.layer4 {
            Layer4::Tcp(tcp) => tcp.source_port = port,
            Layer4::Udp { source, .. } => *source = port,
            Layer4::Icmp(_) | Layer4::Other(_) => {}
        }
        self
    }

    #[must_use]
    pub fn without_udp_checksum(mut self) -> Self {
        if let Layer4::Udp { checksum, .. } = &mut self.layer4 {
            *checksum = false;
        }
        self
    }

    #[must_use]
    pub fn tag(mut self, vlan: u16) -> Self {
        self.vlan = Some(vlan);
        self
    }

    /// A fragment at `offset` units of 8 bytes.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.ip.dont_fragment = false;
        self.ip.more_fragments = more;
        self.ip.fragment_offset = IpFragOffset::try_new(offset).expect("13 bits");
        self
    }

    /// With IPv4 options (a multiple of 4 bytes, at most 40).
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.ip.options = Ipv4Options::try_from(options).expect("whole words, at most 40 bytes");
        self
    }

    /// The frame, every length and checksum computed from the fields.
    pub fn bytes(&self) -> Vec<u8> {
        let mut ip = self.ip.clone();
        let layer4 = self.layer4_bytes(&ip);
        ip.set_payload_len(layer4.len() + self.payload.len()).expect("fits an IPv4 packet");
        ip.header_checksum = ip.calc_header_checksum();
        let mut ip = ip.to_bytes().to_vec();
        if let Some(nibble) = self.nibble {
            ip[0] = (ip[0] & 0x0f) | (nibble << 4);
        }
        let mut frame = Vec::with_capacity(14 + ip.len() + layer4.len() + self.payload.len());
        frame.extend_from_slice(&self.eth.destination);
        frame.extend_from_slice(&self.eth.source);
        if let Some(vlan) = self.vlan {
            frame.extend_from_slice(&[0x81, 0x00]);
            frame.extend_from_slice(&vlan.to_be_bytes());
        }
        frame.extend_from_slice(&self.eth.ether_type.0.to_be_bytes());
        frame.extend(ip);
        frame.extend(layer4);
        frame.extend_from_slice(&self.payload);
        frame
    }

    fn layer4_bytes(&self, ip: &Ipv4Header) -> Vec<u8> {
        match &self.layer4 {
            Layer4::Tcp(tcp) => {
                let mut tcp = tcp.clone();
                tcp.checksum = tcp.calc_checksum_ipv4(ip, &self.payload).expect("fits an IPv4 packet");
                tcp.to_bytes().to_vec()
            }
            Layer4::Udp { source, destination, checksum } => {
                let udp = if *checksum {
                    UdpHeader::with_ipv4_checksum(*source, *destination, ip, &self.payload)
                } else {
                    UdpHeader::without_ipv4_checksum(*source, *destination, self.payload.len())
                };
                udp.expect("fits an IPv4 packet").to_bytes().to_vec()
            }
            Layer4::Icmp(message) => Icmpv4Header::with_checksum(message.clone(), &self.payload).to_bytes().to_vec(),
            Layer4::Other(_) => Vec::new(),
        }
    }
}

/// An ARP frame for Ethernet and IPv4 (RFC 826); `eth` is (source, destination) of the frame itself.
pub fn arp(eth: (Mac, Mac), operation: ArpOperation, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let packet = ArpEthIpv4Packet {
        operation,
        sender_mac: sender.0,
        sender_ipv4: sender.1.octets(),
        target_mac: target.0,
        target_ipv4: target.1.octets(),
    };
    let header = Ethernet2Header { source: eth.0, destination: eth.1, ether_type: EtherType::ARP };
    let mut frame = header.to_bytes().to_vec();
    frame.extend_from_slice(&packet.to_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_packet_is_read_back_with_valid_checksums() {
        let from = ([2; 6], Ipv4Addr::new(192, 0, 2, 1), 40_000);
        let to = ([4; 6], Ipv4Addr::new(192, 0, 2, 2), 80);
        for packet in [Packet::tcp(from, to), Packet::syn(from, to), Packet::udp(from, to)] {
            let bytes = packet.payload(*b"odd").bytes();
            let sliced = etherparse::SlicedPacket::from_ethernet(&bytes).expect("whole headers");
            let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net else { panic!("IPv4 expected") };
            assert_eq!(ip.header().to_header().calc_header_checksum(), ip.header().header_checksum());
            match sliced.transport {
                Some(etherparse::TransportSlice::Tcp(tcp)) => assert_eq!(
                    tcp.to_header().calc_checksum_ipv4(&ip.header().to_header(), b"odd").ok(),
                    Some(tcp.checksum())
                ),
                Some(etherparse::TransportSlice::Udp(udp)) => assert_eq!(
                    udp.to_header().calc_checksum_ipv4(&ip.header().to_header(), b"odd").ok(),
                    Some(udp.checksum())
                ),
                other => panic!("transport expected, got {other:?}"),
            }
        }
    }
}
