//! Internet checksums (RFC 1071), changed by what changes in the packet (RFC 1624, equation 3).
//!
//! One's-complement sums do not depend on byte order, so all values are as loaded from the packet.

/// Folds a sum of 16- and 32-bit words to 16 bits.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xFFFF_FFFF) + (sum >> 32);
    let sum = (sum & 0xFFFF) + (sum >> 16);
    let sum = (sum & 0xFFFF) + (sum >> 16);
    let sum = (sum & 0xFFFF) + (sum >> 16);
    sum as u16
}

/// The checksum after a 16-bit word of what it covers went from `old` to `new`.
#[inline(always)]
#[must_use]
pub const fn update16(check: u16, old: u16, new: u16) -> u16 {
    !fold(!check as u64 + !old as u64 + new as u64)
}

/// The checksum after a 32-bit word went from `old` to `new`.
#[inline(always)]
#[must_use]
pub const fn update32(check: u16, old: u32, new: u32) -> u16 {
    !fold(!check as u64 + !old as u64 + new as u64)
}

/// The checksum of TCP or UDP after an address and a port went from `old` to `new`. UDP's zero ("none") must not come
/// here: see [`udp`].
#[inline(always)]
#[must_use]
pub const fn update_endpoint(check: u16, old: (u32, u16), new: (u32, u16)) -> u16 {
    !fold(!check as u64 + !old.0 as u64 + new.0 as u64 + !old.1 as u64 + new.1 as u64)
}

/// UDP over IPv4 (RFC 768): a checksum of 0 says "none" and stays so; a computed 0 is sent as 0xFFFF.
#[inline(always)]
#[must_use]
pub const fn udp(check: u16, old: (u32, u16), new: (u32, u16)) -> u16 {
    if check == 0 {
        return 0;
    }
    let check = update_endpoint(check, old, new);
    if check == 0 { 0xFFFF } else { check }
}

/// The IPv4 header's checksum after its TTL went down by one: the word TTL/protocol loses 0x0100 as sent, so the
/// checksum gains it, with the carry brought round (RFC 1141).
#[inline(always)]
#[must_use]
pub const fn ttl_decremented(check: u16) -> u16 {
    let sum = check as u32 + u16::from_ne_bytes([1, 0]) as u32;
    (sum + (sum >= 0xFFFF) as u32) as u16
}

/// The whole checksum of some bytes, for tests and for what is built from nothing.
#[must_use]
pub fn of(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    let (pairs, rest) = bytes.as_chunks::<2>();
    for pair in pairs {
        sum += u64::from(u16::from_ne_bytes(*pair));
    }
    if let [last] = rest {
        sum += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    !fold(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn the_checksum_of_a_header_from_rfc_1071_is_right() {
        assert_eq!(of(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]), u16::from_ne_bytes([0x22, 0x0D]));
        assert_eq!(of(&[0xFF]), u16::from_ne_bytes([0x00, 0xFF]));
    }

    /// All 65,536 identifiers, so that every carry occurs: type 8 becomes type 0.
    #[test]
    fn an_echo_reply_has_the_right_checksum_for_every_identifier() {
        for id in 0..=u16::MAX {
            let [high, low] = id.to_be_bytes();
            let mut message = [8, 0, 0, 0, high, low, 0x12, 0x34, 0xAB, 0xCD];
            let check = of(&message);
            let reply = update16(check, u16::from_ne_bytes([8, 0]), 0);
            message[0] = 0;
            assert_eq!(reply, of(&message), "identifier {id:#06x}");
        }
    }

    #[test]
    fn a_udp_checksum_of_zero_stays_and_a_computed_zero_is_sent_as_ones() {
        assert_eq!(udp(0, (1, 2), (3, 4)), 0);
        // A change that brings the sum to all ones.
        let check = 0x0001;
        let found = (0..=u16::MAX).find(|&port| update_endpoint(check, (0x0A0B_0C0D, 1), (0x0A0B_0C0D, port)) == 0);
        let port = found.expect("some port gives zero");
        assert_eq!(udp(check, (0x0A0B_0C0D, 1), (0x0A0B_0C0D, port)), 0xFFFF);
    }

    proptest! {
        #[test]
        fn changing_a_word_gives_what_summing_again_gives(mut bytes in proptest::collection::vec(any::<u8>(), 20..64), at in 0..4_usize, new: [u8; 4]) {
            // A header is never all zeros.
            bytes[19] |= 1;
            let at = at * 4;
            let old = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            let check = of(&bytes);
            bytes[at..at + 4].copy_from_slice(&new);
            prop_assert_eq!(update32(check, u32::from_ne_bytes(old), u32::from_ne_bytes(new)), of(&bytes));
            let [a, b, c, d] = old;
            let [e, f, g, h] = new;
            let halves = update16(check, u16::from_ne_bytes([a, b]), u16::from_ne_bytes([e, f]));
            prop_assert_eq!(update16(halves, u16::from_ne_bytes([c, d]), u16::from_ne_bytes([g, h])), of(&bytes));
        }

        #[test]
        fn an_address_and_a_port_change_as_if_summed_again(mut bytes in proptest::collection::vec(any::<u8>(), 24..64), addr: [u8; 4], port: [u8; 2]) {
            bytes[23] |= 1;
            let old = (u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]), u16::from_ne_bytes([bytes[4], bytes[5]]));
            let check = of(&bytes);
            bytes[..4].copy_from_slice(&addr);
            bytes[4..6].copy_from_slice(&port);
            prop_assert_eq!(update_endpoint(check, old, (u32::from_ne_bytes(addr), u16::from_ne_bytes(port))), of(&bytes));
        }

        #[test]
        fn a_decremented_ttl_changes_the_checksum_as_if_summed_again(mut header: [u8; 20], ttl in 1..=255_u8) {
            header[0] = 0x45;
            header[8] = ttl;
            header[10..12].fill(0);
            let check = of(&header);
            header[8] -= 1;
            prop_assert_eq!(ttl_decremented(check), of(&header));
        }
    }
}
