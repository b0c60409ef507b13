//! Ethernet II. A frame with a VLAN tag has another EtherType and is none of ours.

use super::Frame;

/// Bytes of the header.
pub const LEN: usize = 14;
/// Offset of the EtherType.
pub const ETHER_TYPE: usize = 12;

/// EtherType of IPv4, as loaded from the packet.
pub const IPV4: u16 = 0x0800_u16.to_be();
/// EtherType of ARP, as loaded from the packet.
pub const ARP: u16 = 0x0806_u16.to_be();

/// A MAC as two integers: what the programs compare and copy it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac {
    high: u32,
    low: u16,
}

impl Mac {
    /// From the bytes as sent.
    #[inline(always)]
    #[must_use]
    pub const fn new(bytes: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = bytes;
        Self { high: u32::from_ne_bytes([a, b, c, d]), low: u16::from_ne_bytes([e, f]) }
    }

    /// The bytes as sent.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self) -> [u8; 6] {
        let ([a, b, c, d], [e, f]) = (self.high.to_ne_bytes(), self.low.to_ne_bytes());
        [a, b, c, d, e, f]
    }

    /// Reads the MAC at `offset`.
    ///
    /// # Safety
    /// The frame has `offset + 6` bytes.
    #[inline(always)]
    pub unsafe fn load(frame: impl Frame, offset: usize) -> Self {
        // SAFETY: the caller's.
        unsafe { Self { high: frame.load(offset), low: frame.load(offset + 4) } }
    }

    /// Writes the MAC at `offset`.
    ///
    /// # Safety
    /// The frame has `offset + 6` bytes.
    #[inline(always)]
    pub unsafe fn store(self, frame: impl Frame, offset: usize) {
        // SAFETY: the caller's.
        unsafe {
            frame.store(offset, self.high);
            frame.store(offset + 4, self.low);
        }
    }

    /// Its bit in `Filter::peers`.
    #[inline(always)]
    #[must_use]
    pub const fn bit(self) -> u32 {
        crate::abi::mac_bit_of(self.high, self.low)
    }

    /// Whether the address is a group's: multicast or broadcast (the first byte's lowest bit as sent).
    #[inline(always)]
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.high.to_ne_bytes()[0] & 1 != 0
    }
}

/// The destination MAC.
///
/// # Safety
/// The frame has [`LEN`] bytes.
#[inline(always)]
pub unsafe fn destination(frame: impl Frame) -> Mac {
    // SAFETY: the caller's.
    unsafe { Mac::load(frame, 0) }
}

/// The source MAC.
///
/// # Safety
/// The frame has [`LEN`] bytes.
#[inline(always)]
pub unsafe fn source(frame: impl Frame) -> Mac {
    // SAFETY: the caller's.
    unsafe { Mac::load(frame, 6) }
}

/// Addresses the frame to another.
///
/// # Safety
/// The frame has [`LEN`] bytes.
#[inline(always)]
pub unsafe fn readdress(frame: impl Frame, destination: Mac, source: Mac) {
    // SAFETY: the caller's.
    unsafe {
        destination.store(frame, 0);
        source.store(frame, 6);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::packet::buffer::Buffer;

    #[test]
    fn macs_are_read_and_written_as_sent() {
        let mut bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0];
        let frame = Buffer::new(&mut bytes);
        // SAFETY: the buffer has 14 bytes.
        unsafe {
            assert_eq!(destination(frame).bytes(), [1, 2, 3, 4, 5, 6]);
            assert_eq!(source(frame), Mac::new([7, 8, 9, 10, 11, 12]));
            readdress(frame, source(frame), Mac::new([0xAA; 6]));
        }
        assert_eq!(bytes, [7, 8, 9, 10, 11, 12, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 8, 0]);
        assert_eq!(Mac::new([2, 0, 0, 1, 2, 3]).bit(), crate::abi::mac_bit([2, 0, 0, 1, 2, 3]));
        assert!(Mac::new([0xFF; 6]).is_group() && Mac::new([1, 0, 0x5E, 0, 0, 1]).is_group());
        assert!(!Mac::new([2, 0, 0, 0, 0, 1]).is_group());
    }
}
