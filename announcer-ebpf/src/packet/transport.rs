//! TCP (RFC 9293) and UDP (RFC 768) headers. All functions take the part of the frame that begins with them.

use super::{Frame, ipv4};
use crate::checksum;

/// Bytes of a TCP header without options.
pub const TCP_LEN: usize = 20;
/// Bytes of a UDP header.
pub const UDP_LEN: usize = 8;
/// Offset of the source port.
pub const SOURCE_PORT: usize = 0;
/// Offset of the destination port.
pub const DESTINATION_PORT: usize = 2;
/// Offset of TCP's flags.
pub const TCP_FLAGS: usize = 13;
/// Offset of TCP's checksum.
pub const TCP_CHECKSUM: usize = 16;
/// Offset of UDP's checksum.
pub const UDP_CHECKSUM: usize = 6;

/// TCP flags.
pub const FIN: u8 = 0x01;
/// See [`FIN`].
pub const SYN: u8 = 0x02;
/// See [`FIN`].
pub const RST: u8 = 0x04;
/// See [`FIN`].
pub const ACK: u8 = 0x10;

/// Whether TCP's flags begin a connection.
#[inline(always)]
#[must_use]
pub const fn begins(flags: u8) -> bool {
    flags & (SYN | ACK | RST) == SYN
}

/// Bytes that a header of this protocol has at least.
#[inline(always)]
#[must_use]
pub const fn min_len(protocol: u8) -> usize {
    if protocol == ipv4::TCP { TCP_LEN } else { UDP_LEN }
}

/// Gives the packet another destination, in the IPv4 header and in this one, with both checksums.
///
/// # Safety
/// `ip` has [`ipv4::MIN_LEN`] bytes, `l4` has [`min_len`] of the protocol, which is TCP or UDP.
#[inline(always)]
pub unsafe fn translate_destination<F: Frame>(ip: F, l4: F, protocol: u8, new: (u32, u16)) {
    // SAFETY: the caller's.
    unsafe {
        let old: (u32, u16) = (ip.load(ipv4::DESTINATION), l4.load(DESTINATION_PORT));
        ip.store(ipv4::DESTINATION, new.0);
        ip.store(ipv4::CHECKSUM, checksum::update32(ip.load(ipv4::CHECKSUM), old.0, new.0));
        l4.store(DESTINATION_PORT, new.1);
        if protocol == ipv4::TCP {
            l4.store(TCP_CHECKSUM, checksum::update_endpoint(l4.load(TCP_CHECKSUM), old, new));
        } else {
            l4.store(UDP_CHECKSUM, checksum::udp(l4.load(UDP_CHECKSUM), old, new));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::packet::buffer::Buffer;
    use proptest::prelude::*;

    /// The checksum over pseudo header and payload, computed from nothing; 0 when the packet's own is right.
    fn l4_check(packet: &[u8]) -> u16 {
        let l4 = &packet[20..];
        let mut bytes = packet[12..20].to_vec();
        bytes.extend([0, packet[9]]);
        bytes.extend((l4.len() as u16).to_be_bytes());
        bytes.extend(l4);
        checksum::of(&bytes)
    }

    fn packet(protocol: u8, l4: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 20 + l4.len() as u8, 0, 0, 0x40, 0, 64, protocol, 0, 0];
        packet.extend([192, 168, 1, 7, 10, 25, 150, 222]);
        let check = checksum::of(&packet).to_ne_bytes();
        packet[10..12].copy_from_slice(&check);
        packet.extend(l4);
        let at = 20 + if protocol == ipv4::TCP { TCP_CHECKSUM } else { UDP_CHECKSUM };
        packet[at..at + 2].fill(0);
        let check = l4_check(&packet).to_ne_bytes();
        packet[at..at + 2].copy_from_slice(&check);
        packet
    }

    fn translate(packet: &mut [u8], new: (u32, u16)) {
        let protocol = packet[9];
        let ip = Buffer::new(packet);
        // SAFETY: the tests' packets are whole.
        unsafe { translate_destination(ip, ip.part(20), protocol, new) };
    }

    proptest! {
        #[test]
        fn a_translated_packet_has_right_checksums(tcp: bool, mut l4 in proptest::collection::vec(any::<u8>(), 20..100), addr: [u8; 4], port: [u8; 2]) {
            let protocol = if tcp { ipv4::TCP } else { ipv4::UDP };
            // The ports are not both zero, so the sum is not either.
            l4[1] |= 1;
            let mut packet = packet(protocol, &l4);
            translate(&mut packet, (u32::from_ne_bytes(addr), u16::from_ne_bytes(port)));
            prop_assert_eq!(&packet[16..20], &addr);
            prop_assert_eq!(&packet[22..24], &port);
            prop_assert_eq!(checksum::of(&packet[..20]), 0);
            prop_assert_eq!(l4_check(&packet), 0);
        }
    }

    #[test]
    fn a_udp_packet_without_checksum_stays_without() {
        let mut packet = packet(ipv4::UDP, &[0x12, 0x34, 0, 53, 0, 8, 0, 0]);
        packet[26..28].fill(0);
        translate(&mut packet, (0x0102_0304, 0x0506));
        assert_eq!(packet[26..28], [0, 0]);
    }

    #[test]
    fn only_a_syn_without_ack_or_reset_begins_a_connection() {
        assert!(begins(SYN) && begins(SYN | 0xC0), "with ECN as well");
        for flags in [SYN | ACK, ACK, RST, SYN | RST, FIN, 0] {
            assert!(!begins(flags), "{flags:#x}");
        }
    }
}
