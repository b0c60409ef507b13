//! Every map of the object. The agent pins them by name (all but `CLOCK`) and may change `max_entries` when it loads.
//!
//! The agent's own maps are not preallocated: their sizes are limits, not expectations.

use announcer_ebpf::abi::{
    DEFAULT_FLOWS, DEFAULT_SLOTS, EVENTS_BYTES, EndpointEntry, Filter, FlowEntry, FlowKey, HALF_OPEN_FLOWS, LinkEntry,
    MAX_ENDPOINTS, MAX_LINKS, MAX_NODES, MAX_OUTCOMES, MAX_PEERS, MAX_SERVICES, MAX_SOURCES, MAX_VIPS, NodeEntry,
    PeerEntry, PeerKey, ReverseEntry, ReverseKey, Runtime, SLOTS_PER_WORD, ServiceEntry, ServiceKey, VipCounters,
    VipEntry,
};
use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf};

/// Slot of the link that this copy of the programs is loaded for, below `MAX_LINKS`; set by the loader.
#[unsafe(no_mangle)]
pub(crate) static LINK: Global<u32> = Global::new(0);

/// The time as of a jiffy; see `count::now`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Clock {
    pub(crate) jiffies: u64,
    /// CLOCK_MONOTONIC, ns.
    pub(crate) now: u64,
}

/// Each copy of the programs has its own, so it has no pin and is no part of the layout.
#[map]
pub(crate) static CLOCK: PerCpuArray<Clock> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static FILTER: Array<Filter> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static RUNTIME: Array<Runtime> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static LINKS: Array<LinkEntry> = Array::with_max_entries(MAX_LINKS, 0);
#[map]
pub(crate) static SERVICES: HashMap<ServiceKey, ServiceEntry> =
    HashMap::with_max_entries(MAX_SERVICES, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static SLOTS: Array<u64> = Array::with_max_entries(DEFAULT_SLOTS / SLOTS_PER_WORD, BPF_F_MMAPABLE);
#[map]
pub(crate) static VIPS: HashMap<u32, VipEntry> = HashMap::with_max_entries(MAX_VIPS, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static VIP_COUNTERS: PerCpuArray<VipCounters> = PerCpuArray::with_max_entries(MAX_VIPS, 0);
#[map]
pub(crate) static OUTCOMES: PerCpuArray<u64> = PerCpuArray::with_max_entries(MAX_OUTCOMES, 0);
#[map]
pub(crate) static NODES: Array<NodeEntry> = Array::with_max_entries(MAX_LINKS * MAX_NODES, 0);
#[map]
pub(crate) static PEERS: HashMap<PeerKey, PeerEntry> = HashMap::with_max_entries(MAX_PEERS, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static SOURCES: LpmTrie<u32, u32> = LpmTrie::with_max_entries(MAX_SOURCES, 0);
#[map]
pub(crate) static ENDPOINTS: Array<EndpointEntry> = Array::with_max_entries(MAX_ENDPOINTS, 0);
#[map]
pub(crate) static FLOWS: LruHashMap<FlowKey, FlowEntry> = LruHashMap::with_max_entries(DEFAULT_FLOWS, 0);
#[map]
pub(crate) static HALF_OPEN: LruHashMap<FlowKey, FlowEntry> = LruHashMap::with_max_entries(HALF_OPEN_FLOWS, 0);
#[map]
pub(crate) static REVERSE: LruHashMap<ReverseKey, ReverseEntry> = LruHashMap::with_max_entries(DEFAULT_FLOWS, 0);
#[map]
pub(crate) static REVERSE_HALF: LruHashMap<ReverseKey, ReverseEntry> = LruHashMap::with_max_entries(HALF_OPEN_FLOWS, 0);
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);
