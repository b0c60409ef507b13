//! The IPv4 header (RFC 791). All functions take the part of the frame that begins with it.

use super::Frame;
use crate::checksum;

/// Bytes of a header without options.
pub const MIN_LEN: usize = 20;
/// Offset of the source address; the destination follows it.
pub const SOURCE: usize = 12;
/// Offset of the destination address.
pub const DESTINATION: usize = 16;
/// Offset of the header's checksum.
pub const CHECKSUM: usize = 10;
const TTL: usize = 8;

/// More fragments, or an offset: the bits of the flags' word that a whole packet has clear, as loaded.
const FRAGMENT: u16 = 0x3FFF_u16.to_be();

/// Protocol numbers.
pub const ICMP: u8 = 1;
/// See [`ICMP`].
pub const TCP: u8 = 6;
/// See [`ICMP`].
pub const UDP: u8 = 17;

/// What the programs need of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the header, 20 to 60.
    pub len: usize,
    /// Bytes of the whole packet by its own word, header included.
    pub total: u32,
    /// Part of a fragmented packet, first or later.
    pub fragment: bool,
    pub protocol: u8,
    /// Network byte order.
    pub source: u32,
    /// Network byte order.
    pub destination: u32,
}

/// Reads the header. `None`: not IPv4, or lengths that contradict each other.
///
/// # Safety
/// The part has [`MIN_LEN`] bytes.
#[inline(always)]
pub unsafe fn header(ip: impl Frame) -> Option<Header> {
    // SAFETY: the caller's.
    let (first, total, flags, protocol, source, destination) = unsafe {
        (
            ip.load::<u8>(0),
            ip.load::<u16>(2),
            ip.load::<u16>(6),
            ip.load::<u8>(9),
            ip.load::<u32>(SOURCE),
            ip.load::<u32>(DESTINATION),
        )
    };
    // 0x45 to 0x4F: one comparison for the version and the least length.
    if first.wrapping_sub(0x45) > 0x0A {
        return None;
    }
    let len = ((first & 0x0F) as usize) * 4;
    let total = u16::from_be(total) as u32;
    if (total as usize) < len {
        return None;
    }
    Some(Header { len, total, fragment: flags & FRAGMENT != 0, protocol, source, destination })
}

/// The TTL.
///
/// # Safety
/// The part has [`MIN_LEN`] bytes.
#[inline(always)]
pub unsafe fn ttl(ip: impl Frame) -> u8 {
    // SAFETY: the caller's.
    unsafe { ip.load(TTL) }
}

/// Takes one from the TTL, which must be above zero, and puts the checksum right.
///
/// # Safety
/// The part has [`MIN_LEN`] bytes.
#[inline(always)]
pub unsafe fn decrement_ttl(ip: impl Frame, ttl: u8) {
    // SAFETY: the caller's.
    unsafe {
        ip.store(TTL, ttl.wrapping_sub(1));
        ip.store(CHECKSUM, checksum::ttl_decremented(ip.load(CHECKSUM)));
    }
}

/// Turns the packet round with a fresh TTL. Exchanged addresses leave the checksum as it is.
///
/// # Safety
/// The part has [`MIN_LEN`] bytes.
#[inline(always)]
pub unsafe fn turn_round(ip: impl Frame, fresh_ttl: u8) {
    // SAFETY: the caller's.
    unsafe {
        let (source, destination): (u32, u32) = (ip.load(SOURCE), ip.load(DESTINATION));
        ip.store(SOURCE, destination);
        ip.store(DESTINATION, source);
        // TTL and protocol are one word of the checksum.
        let [old_ttl, protocol]: [u8; 2] = ip.load(TTL);
        let (old, new) = (u16::from_ne_bytes([old_ttl, protocol]), u16::from_ne_bytes([fresh_ttl, protocol]));
        ip.store(TTL, fresh_ttl);
        ip.store(CHECKSUM, checksum::update16(ip.load(CHECKSUM), old, new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::packet::buffer::Buffer;

    fn packet() -> [u8; 20] {
        let mut bytes = [0x45, 0, 0, 40, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 192, 168, 1, 7, 10, 25, 150, 222];
        let check = checksum::of(&bytes).to_ne_bytes();
        bytes[10..12].copy_from_slice(&check);
        bytes
    }

    fn parsed(mut bytes: [u8; 20]) -> Option<Header> {
        // SAFETY: 20 bytes.
        unsafe { header(Buffer::new(&mut bytes)) }
    }

    #[test]
    fn a_plain_header_is_read() {
        let header = parsed(packet()).unwrap();
        assert_eq!((header.len, header.total, header.fragment, header.protocol), (20, 40, false, TCP));
        assert_eq!(header.source.to_ne_bytes(), [192, 168, 1, 7]);
        assert_eq!(header.destination.to_ne_bytes(), [10, 25, 150, 222]);
    }

    #[test]
    fn options_lengthen_the_header() {
        let mut bytes = packet();
        bytes[0] = 0x4F;
        bytes[3] = 60;
        assert_eq!(parsed(bytes).unwrap().len, 60);
    }

    #[test]
    fn fragments_are_told_by_offset_or_more_fragments_and_not_by_the_other_flags() {
        for (flags, fragment) in
            [([0x40, 0], false), ([0x80, 0], false), ([0x20, 0], true), ([0, 1], true), ([0x1F, 0xFF], true)]
        {
            let mut bytes = packet();
            bytes[6..8].copy_from_slice(&flags);
            assert_eq!(parsed(bytes).unwrap().fragment, fragment, "{flags:?}");
        }
    }

    #[test]
    fn another_version_a_short_header_and_a_total_below_the_header_are_refused() {
        for (at, value) in [(0, 0x44), (0, 0x60), (0, 0x35), (0, 0x55), (3, 19)] {
            let mut bytes = packet();
            bytes[at] = value;
            assert_eq!(parsed(bytes), None, "byte {at} = {value:#x}");
        }
    }

    #[test]
    fn the_checksum_stays_right_when_the_ttl_goes_down_and_when_the_packet_is_turned_round() {
        for from in 2..=255 {
            let mut bytes = packet();
            bytes[8] = from;
            bytes[10..12].fill(0);
            let check = checksum::of(&bytes).to_ne_bytes();
            bytes[10..12].copy_from_slice(&check);
            let ip = Buffer::new(&mut bytes);
            // SAFETY: 20 bytes.
            unsafe {
                decrement_ttl(ip, ttl(ip));
                assert_eq!(ttl(ip), from - 1);
            }
            assert_eq!(checksum::of(&bytes), 0);
            // SAFETY: 20 bytes.
            unsafe { turn_round(Buffer::new(&mut bytes), 64) };
            assert_eq!((bytes[8], checksum::of(&bytes)), (64, 0));
            assert_eq!((&bytes[12..16], &bytes[16..]), (&[10, 25, 150, 222][..], &[192, 168, 1, 7][..]));
        }
    }
}
