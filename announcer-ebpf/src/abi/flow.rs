use super::{Ticks, plain};

/// Entries of `FLOWS` and of `REVERSE`, unless the agent is told otherwise.
pub const DEFAULT_FLOWS: u32 = 262_144;
/// Entries of `HALF_OPEN` and of `REVERSE_HALF`.
pub const HALF_OPEN_FLOWS: u32 = 65_536;

/// Key of `FLOWS` and `HALF_OPEN`: the flow as the client sees it. Network byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct FlowKey {
    pub client: u32,
    pub vip: u32,
    pub client_port: u16,
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    #[doc(hidden)]
    pub _pad: [u8; 3],
}

/// Value of `FLOWS` and `HALF_OPEN`: the pod that has the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct FlowEntry {
    /// Index in `ENDPOINTS`.
    pub endpoint: u32,
    /// [`super::EndpointEntry::generation`] at the choice; another one there voids this entry.
    pub generation: u32,
    /// When the client was last seen; written at most once in [`SEEN_INTERVAL_MS`].
    pub seen: Ticks,
    /// `FLOW_*`.
    pub state: u32,
}

/// The client sent FIN.
pub const FLOW_CLIENT_FIN: u32 = 1 << 0;
/// The pod sent FIN (kept in the reverse entry).
pub const FLOW_POD_FIN: u32 = 1 << 1;
/// Either side sent RST.
pub const FLOW_RESET: u32 = 1 << 2;

/// For how long a UDP flow is remembered after its last packet; Linux's conntrack forgets a stream after as long.
pub const UDP_TIMEOUT_MS: u64 = 120_000;

/// How long a closed flow (reset, or FIN both ways) is kept for its last packets.
pub const CLOSED_TIMEOUT_MS: u64 = 10_000;

/// How long after a change of a Service's list an unknown TCP flow is dropped, not answered: the lists of the nodes
/// agree by then and the client sends again.
pub const LIST_SETTLE_MS: u64 = 3_000;

/// How often `seen` is written for a flow.
pub const SEEN_INTERVAL_MS: u64 = 8_000;

/// Key of `REVERSE` and `REVERSE_HALF`: the reply as the pod sends it. Network byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct ReverseKey {
    pub pod: u32,
    pub client: u32,
    pub pod_port: u16,
    pub client_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    #[doc(hidden)]
    pub _pad: [u8; 3],
}

/// Value of `REVERSE` and `REVERSE_HALF`: what the client knows the pod as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct ReverseEntry {
    /// Network byte order.
    pub vip: u32,
    /// Network byte order.
    pub port: u16,
    #[doc(hidden)]
    pub _pad: u16,
    /// Index in `VIP_COUNTERS`.
    pub vip_index: u32,
    /// When a packet of the flow was last seen, either way.
    pub seen: Ticks,
    /// `FLOW_*`.
    pub state: u32,
}

plain!(FlowKey = 16, FlowEntry = 16, ReverseKey = 16, ReverseEntry = 20);
