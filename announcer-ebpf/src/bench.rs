//! What the benchmark and its programs share (feature `bench`; the agent has neither).

/// Value of `BENCH` (one entry): how a frame is put back between two packets of a test run, which gives a program its
/// own output as the next input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct BenchFrame {
    /// The frame's first [`HEAD_BYTES`] bytes.
    pub head: [u64; 7],
    /// Rises by one with each packet.
    pub counter: u32,
    #[doc(hidden)]
    pub _pad: u32,
}

/// Bytes that are put back: Ethernet, IPv4 and TCP up to its urgent pointer. Every frame is at least as long.
pub const HEAD_BYTES: usize = 56;

/// Name of the map.
pub const MAP: &str = "BENCH";
/// Name of the global that holds one of [`SAME`], [`MANY`], [`NEW`].
pub const VARY: &str = "VARY";
/// Every packet is of one flow.
pub const SAME: u32 = 0;
/// Packets of [`MANY_FLOWS`] flows in mixed order.
pub const MANY: u32 = 1;
/// Every packet is of a flow that was not seen before (4 thousand million of them).
pub const NEW: u32 = 2;
/// Flows of [`MANY`].
pub const MANY_FLOWS: u32 = 1 << 18;

/// The programs: the one of the agent with the frame put back, and what putting it back costs alone.
pub mod program {
    pub const XDP: &str = "bench_xdp";
    pub const XDP_CONTROL: &str = "bench_xdp_control";
    pub const EGRESS: &str = "bench_egress";
    pub const EGRESS_CONTROL: &str = "bench_egress_control";
    /// tc that does nothing. XDP's is `announcer_pass`.
    pub const EGRESS_FLOOR: &str = "bench_egress_floor";
}

const _: () = assert!(size_of::<BenchFrame>() == 64);
// SAFETY: repr(C), Copy, integers only, padding spelled out.
#[cfg(feature = "user")]
unsafe impl aya::Pod for BenchFrame {}
