use super::{Ticks, plain};

/// Most (VIP, port, protocol) entries.
pub const MAX_SERVICES: u32 = 65_536;
/// Earlier tables that a Service's entry can hold (design: "the list").
pub const MAX_EARLIER: usize = 16;
/// Most owners of a flow.
pub const MAX_OWNERS: usize = 8;
/// Slots in an element of `SLOTS`.
pub const SLOTS_PER_WORD: u32 = 4;
/// Slots in the arena, unless the agent is told otherwise: 32 MiB, room for 16,000 distinct tables of ten nodes.
pub const DEFAULT_SLOTS: u32 = 1 << 24;

/// Rows by client address alone (ClientIP affinity), else by the whole flow.
pub const SERVICE_AFFINITY: u16 = 1 << 0;
/// The Service is left to the kernel (kube-proxy, Cilium): its packets are passed up.
pub const SERVICE_KERNEL_PATH: u16 = 1 << 1;

/// Key of `SERVICES`. Network byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct ServiceKey {
    pub addr: u32,
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    #[doc(hidden)]
    pub _pad: u8,
}

/// A table: `rows` consecutive slots of `SLOTS` from `base`, each a node index (or, for [`ServiceEntry::local`], an
/// endpoint index).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct TableRef {
    /// First slot. With `rows` = 1 no slot is used: the value is the owner itself.
    pub base: u32,
    /// M. 0 = nobody.
    pub rows: u32,
}

/// A table that the Service had before, still needed by some flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Earlier {
    pub table: TableRef,
    /// When it ceased to be the newest: UDP leaves out what is older than its timeout.
    pub superseded: Ticks,
}

/// Value of `SERVICES`. One update of the entry publishes a new table, list and local set together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct ServiceEntry {
    /// The table by which new flows find their node.
    pub newest: TableRef,
    /// Index in `VIP_COUNTERS`.
    pub vip: u32,
    /// `SERVICE_*`.
    pub flags: u16,
    /// Used length of `earlier`, newest first.
    pub earlier_len: u16,
    /// Ready (else terminating but serving) endpoints on this node.
    pub local: TableRef,
    /// When the list (newest and earlier) last changed here.
    pub changed: Ticks,
    pub earlier: [Earlier; MAX_EARLIER],
}

plain!(ServiceKey = 8, TableRef = 8, Earlier = 12, ServiceEntry = 220);
