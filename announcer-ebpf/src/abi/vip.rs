use super::plain;

/// Most VIPs, and entries of `VIP_COUNTERS`.
pub const MAX_VIPS: u32 = 16_384;

/// Value of `VIPS` (key: the address, network byte order).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct VipEntry {
    /// Index in `VIP_COUNTERS`.
    pub index: u32,
    /// Bit per link slot: this node leads the VIP there and answers ARP. Clear = the LAN's requests are dropped.
    pub lead: u32,
    /// `VIP_*`.
    pub flags: u32,
    /// The claim's term as this node last wrote it, low 32 bits.
    pub term: u32,
}

/// Some Service of the VIP uses the kernel path: unknown ports and protocols are passed up, not refused.
pub const VIP_KERNEL_PATH: u32 = 1 << 0;

/// Value of `VIP_COUNTERS`, per CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct VipCounters {
    /// Stage one: sent to a node.
    pub forwarded_packets: u64,
    pub forwarded_bytes: u64,
    /// Stage two: given to a pod of this node.
    pub delivered_packets: u64,
    pub delivered_bytes: u64,
    /// Replies of pods of this node.
    pub replied_packets: u64,
    pub replied_bytes: u64,
    /// ARP requests answered.
    pub answers: u64,
    /// Packets to the VIP that were dropped, whatever the outcome.
    pub dropped: u64,
}

plain!(VipEntry = 16, VipCounters = 64);
