//! The layout of every map: keys, values, sizes. One definition for the programs and the agent.
//!
//! Every type is `#[repr(C)]` with its padding spelled out (a padding byte in a key is compared by the kernel) and its
//! size asserted. A change of any of them, or of a map's kind, is a new [`LAYOUT_VERSION`].

mod endpoint;
mod filter;
mod flow;
mod node;
mod outcome;
mod runtime;
mod service;
mod vip;

pub use endpoint::*;
pub use filter::*;
pub use flow::*;
pub use node::*;
pub use outcome::*;
pub use runtime::*;
pub use service::*;
pub use vip::*;

/// Version of all that is pinned; part of the pin directory's name (`<bpffs>/v1`).
pub const LAYOUT_VERSION: u32 = 1;

/// Names of the maps, as the object has them and as their pins are called.
pub mod map {
    /// `Array<Filter>`, 1 entry: the bit arrays asked before any hash lookup.
    pub const FILTER: &str = "FILTER";
    /// `Array<Runtime>`, 1 entry: flow key, deadline, own node.
    pub const RUNTIME: &str = "RUNTIME";
    /// `Array<LinkEntry>`, [`super::MAX_LINKS`] entries by link slot.
    pub const LINKS: &str = "LINKS";
    /// `HashMap<ServiceKey, ServiceEntry>`.
    pub const SERVICES: &str = "SERVICES";
    /// `Array<u64>`, four `u16` slots an element, `BPF_F_MMAPABLE`: every table of nodes and of local endpoints.
    pub const SLOTS: &str = "SLOTS";
    /// `HashMap<u32 address, VipEntry>`.
    pub const VIPS: &str = "VIPS";
    /// `PerCpuArray<VipCounters>` by [`super::VipEntry::index`].
    pub const VIP_COUNTERS: &str = "VIP_COUNTERS";
    /// `PerCpuArray<u64>` by [`super::Outcome`].
    pub const OUTCOMES: &str = "OUTCOMES";
    /// `Array<NodeEntry>` by link slot * [`super::MAX_NODES`] + node index.
    pub const NODES: &str = "NODES";
    /// `HashMap<PeerKey, PeerEntry>`.
    pub const PEERS: &str = "PEERS";
    /// `LpmTrie<u32 address, u32>`: addresses of nodes and pods (see [`super::SourceKind`]).
    pub const SOURCES: &str = "SOURCES";
    /// `Array<EndpointEntry>` by endpoint index.
    pub const ENDPOINTS: &str = "ENDPOINTS";
    /// `LruHashMap<FlowKey, FlowEntry>`: flows whose client sent a second packet.
    pub const FLOWS: &str = "FLOWS";
    /// `LruHashMap<FlowKey, FlowEntry>`: flows of which one packet was seen.
    pub const HALF_OPEN: &str = "HALF_OPEN";
    /// `LruHashMap<ReverseKey, ReverseEntry>`: the reply's way back, beside `FLOWS`.
    pub const REVERSE: &str = "REVERSE";
    /// `LruHashMap<ReverseKey, ReverseEntry>`, beside `HALF_OPEN`.
    pub const REVERSE_HALF: &str = "REVERSE_HALF";
    /// Ring buffer of [`super::Event`].
    pub const EVENTS: &str = "EVENTS";
}

/// Names of the programs in the object.
pub mod program {
    /// XDP on the uplink.
    pub const XDP: &str = "announcer_xdp";
    /// The same, taking packets of several buffers (MTU above about 3,500).
    pub const XDP_FRAGS: &str = "announcer_frags";
    /// tc egress: replies get the VIP back as their source.
    pub const EGRESS: &str = "announcer_egress";
    /// XDP that passes all: the far side of a veth needs one for XDP_TX towards it.
    pub const PASS: &str = "announcer_pass";
}

/// Asserts sizes at compile time and makes the types plain data for the agent's map handles.
macro_rules! plain {
    ($($name:ty = $size:literal),+ $(,)?) => {$(
        const _: () = assert!(core::mem::size_of::<$name>() == $size);
        // SAFETY: repr(C), Copy, integers only, padding spelled out (the size assert would show it).
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $name {}
    )+};
}
pub(crate) use plain;

/// A coarse time in units of 2^24 ns (16.8 ms) of CLOCK_MONOTONIC; compare by `wrapping_sub` (wraps after 834 days).
pub type Ticks = u32;

/// Bits that turn nanoseconds into [`Ticks`].
pub const TICK_SHIFT: u32 = 24;

/// Ticks in `ms` milliseconds, rounded down.
#[must_use]
pub const fn ticks_of_ms(ms: u64) -> Ticks {
    ((ms * 1_000_000) >> TICK_SHIFT) as Ticks
}

/// Ticks from `then` to `now`. A `then` that is less than a minute ahead counts as now: the clocks that both sides read
/// (one of them coarse) differ by a tick.
#[inline(always)]
#[must_use]
pub const fn elapsed(now: Ticks, then: Ticks) -> Ticks {
    let ticks = now.wrapping_sub(then);
    if ticks > Ticks::MAX - ticks_of_ms(60_000) { 0 } else { ticks }
}

/// An address as the maps hold it.
#[must_use]
pub const fn addr(ip: core::net::Ipv4Addr) -> u32 {
    u32::from_ne_bytes(ip.octets())
}

/// The address that a map holds.
#[must_use]
pub const fn ip(addr: u32) -> core::net::Ipv4Addr {
    let [a, b, c, d] = addr.to_ne_bytes();
    core::net::Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_elapses_across_the_wrap_and_a_stamp_just_ahead_counts_as_now() {
        assert_eq!(elapsed(1_000, 400), 600);
        assert_eq!(elapsed(5, Ticks::MAX - 4), 10);
        assert_eq!(elapsed(1_000, 1_001), 0);
        assert_eq!(elapsed(0, 1), 0);
        assert_eq!(elapsed(10, 10 + ticks_of_ms(3_600_000)), Ticks::MAX - ticks_of_ms(3_600_000) + 1);
    }
}
