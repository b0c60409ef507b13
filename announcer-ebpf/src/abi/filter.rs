use super::plain;

/// Bits for VIP addresses, and as many for local endpoints' addresses.
pub const FILTER_ADDR_BITS: u32 = 65_536;
/// Bits for peers' MACs.
pub const FILTER_MAC_BITS: u32 = 4_096;

/// Value of `FILTER` (one entry): a clear bit says "not ours" for the price of one array read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Filter {
    /// By [`addr_bit`] of a VIP.
    pub vips: [u64; (FILTER_ADDR_BITS / 64) as usize],
    /// By [`addr_bit`] of a local endpoint: only their packets are looked up at egress.
    pub endpoints: [u64; (FILTER_ADDR_BITS / 64) as usize],
    /// By [`mac_bit`] of a peer.
    pub peers: [u64; (FILTER_MAC_BITS / 64) as usize],
}
plain!(Filter = 16_896);

impl Default for Filter {
    fn default() -> Self {
        Self { vips: [0; 1024], endpoints: [0; 1024], peers: [0; 64] }
    }
}

/// The bit of an address (network byte order as loaded), below [`FILTER_ADDR_BITS`]. Fibonacci hashing: neighbouring
/// addresses fall on different bits.
#[inline(always)]
#[must_use]
pub const fn addr_bit(addr: u32) -> u32 {
    addr.wrapping_mul(0x9E37_79B1) >> 16
}

/// The bit of a MAC, below [`FILTER_MAC_BITS`].
#[inline(always)]
#[must_use]
pub const fn mac_bit(mac: [u8; 6]) -> u32 {
    let [a, b, c, d, e, f] = mac;
    mac_bit_of(u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]))
}

/// [`mac_bit`] of a MAC that was loaded as its first four and last two bytes.
#[inline(always)]
#[must_use]
pub const fn mac_bit_of(first: u32, last: u16) -> u32 {
    (first ^ (last as u32).wrapping_mul(0x85EB_CA6B)).wrapping_mul(0x9E37_79B1) >> 20
}
