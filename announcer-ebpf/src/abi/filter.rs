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
    let low = u32::from_ne_bytes([mac[2], mac[3], mac[4], mac[5]]);
    let high = u16::from_ne_bytes([mac[0], mac[1]]) as u32;
    (low ^ high.wrapping_mul(0x85EB_CA6B)).wrapping_mul(0x9E37_79B1) >> 20
}
