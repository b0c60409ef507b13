//! Gratuitous ARP frames.

use std::net::Ipv4Addr;

use pnet::{
    packet::{
        arp::{ArpHardwareTypes, ArpOperations, MutableArpPacket},
        ethernet::{EtherTypes, MutableEthernetPacket},
    },
    util::MacAddr,
};

use crate::world::model::Mac;

const ETHERNET: usize = 14;
const ARP: usize = 28;

/// Hosts differ in which of the two makes them change an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// An ARP announcement (RFC 5227 section 2.3): target MAC zero.
    Request,
    /// RFC 5944 section 4.6: target MAC that of the sender.
    Reply,
}

/// The frame that says "`vip` is at `mac`" to everybody; network byte order throughout.
pub(super) fn gratuitous(vip: Ipv4Addr, mac: Mac, form: Form) -> [u8; ETHERNET + ARP] {
    let Mac([a, b, c, d, e, f]) = mac;
    let mac = MacAddr::new(a, b, c, d, e, f);
    let mut frame = [0; ETHERNET + ARP];
    let (ethernet, arp) = frame.split_at_mut(ETHERNET);
    if let Some(mut packet) = MutableEthernetPacket::new(ethernet) {
        packet.set_destination(MacAddr::broadcast());
        packet.set_source(mac);
        packet.set_ethertype(EtherTypes::Arp);
    }
    if let Some(mut packet) = MutableArpPacket::new(arp) {
        packet.set_hardware_type(ArpHardwareTypes::Ethernet);
        packet.set_protocol_type(EtherTypes::Ipv4);
        packet.set_hw_addr_len(6);
        packet.set_proto_addr_len(4);
        packet.set_sender_hw_addr(mac);
        packet.set_sender_proto_addr(vip);
        packet.set_target_proto_addr(vip);
        match form {
            Form::Request => packet.set_operation(ArpOperations::Request),
            Form::Reply => {
                packet.set_operation(ArpOperations::Reply);
                packet.set_target_hw_addr(mac);
            }
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
    const VIP: [u8; 4] = [192, 0, 2, 9];

    /// Byte by byte from RFC 826, not by the crate that builds it.
    fn expected(operation: u8, target: [u8; 6]) -> Vec<u8> {
        let ethernet = [&[0xff; 6][..], &MAC, &[0x08, 0x06]].concat();
        let arp = [&[0, 1, 8, 0, 6, 4, 0, operation][..], &MAC, &VIP, &target, &VIP].concat();
        [ethernet, arp].concat()
    }

    #[test]
    fn both_forms_are_broadcast_and_name_the_vip_at_the_links_mac() {
        assert_eq!(gratuitous(VIP.into(), Mac(MAC), Form::Request).to_vec(), expected(1, [0; 6]));
        assert_eq!(gratuitous(VIP.into(), Mac(MAC), Form::Reply).to_vec(), expected(2, MAC));
    }
}
