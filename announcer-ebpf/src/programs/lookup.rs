//! What the programs look up: a link, a node, a slot, a Service; and the bits that are asked before.

use announcer_ebpf::abi::{
    Filter, FlowKey, LinkEntry, MAX_LINKS, MAX_NODES, NODE_ALIVE, NODE_PRESENT, NODE_SELF, NodeEntry, SLOTS_PER_WORD,
    ServiceEntry, ServiceKey, addr_bit,
};
use announcer_ebpf::packet::ethernet::Mac;

use crate::maps::{LINK, LINKS, NODES, SERVICES, SLOTS};

/// Slot of this program's link.
#[inline(always)]
pub(super) fn link_slot() -> u32 {
    LINK.load() & (MAX_LINKS - 1)
}

/// The entry of this program's link.
#[inline(always)]
pub(super) fn link() -> Option<*const LinkEntry> {
    LINKS.get_ptr(link_slot())
}

/// A link's own MAC.
#[inline(always)]
pub(super) fn own_mac(link: *const LinkEntry) -> Mac {
    // SAFETY: a value of the map.
    Mac::new(unsafe { (*link).mac })
}

/// A node's entry on this link; `None` also for an index that no node can have.
#[inline(always)]
pub(super) fn node(index: u32) -> Option<*const NodeEntry> {
    if index >= MAX_NODES {
        return None;
    }
    NODES.get_ptr(link_slot() * MAX_NODES + index)
}

/// Whether a node's entry says that its data path is there and lives. This node's own does, as it runs.
#[inline(always)]
pub(super) fn lives(flags: u16) -> bool {
    flags & NODE_PRESENT != 0 && flags & (NODE_ALIVE | NODE_SELF) != 0
}

/// [`lives`] as 1 or 0, without a branch.
#[inline(always)]
pub(super) fn alive(flags: u16) -> u64 {
    const { assert!(NODE_PRESENT == 1 && NODE_ALIVE == 2 && NODE_SELF == 4) };
    let flags = u64::from(flags);
    flags & (flags >> 1 | flags >> 2) & 1
}

/// A slot of the arena.
#[inline(always)]
pub(super) fn slot(index: u32) -> Option<u16> {
    let word = SLOTS.get_ptr(index / SLOTS_PER_WORD)?;
    // SAFETY: one of the word's four slots.
    Some(unsafe { *word.cast::<u16>().add((index % SLOTS_PER_WORD) as usize) })
}

/// Whether an address may be a VIP.
#[inline(always)]
pub(super) fn may_be_vip(filter: *const Filter, addr: u32) -> bool {
    let bit = addr_bit(addr);
    // SAFETY: a value of the map; the index is below its length by construction.
    unsafe { (*filter).vips[(bit / 64) as usize] >> (bit % 64) & 1 != 0 }
}

/// Whether a MAC may be a peer's.
#[inline(always)]
pub(super) fn may_be_peer(filter: *const Filter, mac: Mac) -> bool {
    let bit = mac.bit();
    // SAFETY: as above.
    unsafe { (*filter).peers[(bit / 64) as usize] >> (bit % 64) & 1 != 0 }
}

/// The Service's entry of a flow.
#[inline(always)]
pub(super) fn service_of(key: &FlowKey) -> Option<*const ServiceEntry> {
    SERVICES.get_ptr(ServiceKey { addr: key.vip, port: key.port, protocol: key.protocol, _pad: 0 })
}
