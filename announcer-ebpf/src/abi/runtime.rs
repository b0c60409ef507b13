use super::plain;

/// Value of `RUNTIME` (one entry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Runtime {
    /// The cluster's flow key: derived from the UID of namespace kube-system, the same on every node, never changed.
    pub flow_key: [u64; 4],
    /// CLOCK_MONOTONIC ns after which the node behaves as if announcer were absent. 0 = not started.
    pub deadline: u64,
    /// Set by a program that read the clock and found `deadline` passed; cleared by the agent's next write.
    pub expired: u32,
    /// Own index in `NODES`.
    pub own_node: u32,
}

/// What happened, in [`Event::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum EventKind {
    /// Another MAC says by ARP that it has a VIP of ours.
    ForeignClaim = 1,
}

/// A message of the programs to the agent, through `EVENTS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Event {
    /// [`EventKind`].
    pub kind: u32,
    /// Link slot.
    pub link: u32,
    /// VIP, network byte order.
    pub addr: u32,
    pub mac: [u8; 6],
    #[doc(hidden)]
    pub _pad: u16,
}

/// Bytes of the `EVENTS` ring.
pub const EVENTS_BYTES: u32 = 65_536;

plain!(Runtime = 48, Event = 20);
