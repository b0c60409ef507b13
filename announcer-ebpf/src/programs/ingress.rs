//! XDP: what a frame is, and stage one.
//!
//! **VIP first.** Nothing is dropped before its address is known to be a VIP of ours. The order of the questions is by
//! price: a bit over the address, the flag that the data path has expired, the own MAC, one hash lookup of the Service;
//! the VIP's map only on its miss, the peers' map only for a MAC whose bit is set and a flow that is not known here.

use announcer_ebpf::abi::{
    Filter, FlowKey, LinkEntry, MAX_LINKS, MAX_NODES, NO_NODE, NODE_ALIVE, NODE_PRESENT, NODE_SELF, NodeEntry, Outcome,
    Runtime, SERVICE_AFFINITY, SERVICE_KERNEL_PATH, SLOTS_PER_WORD, ServiceEntry, ServiceKey, addr_bit,
};
use announcer_ebpf::handover::{self, mark};
use announcer_ebpf::hash::flow_hash;
use announcer_ebpf::packet::ethernet::Mac;
use announcer_ebpf::packet::{Frame, ethernet, ipv4, transport};
use aya_ebpf::bindings::xdp_action::XDP_TX;
use aya_ebpf::bindings::xdp_md;

use super::count::{count, count_delivery, count_vip, finish, now};
use super::frame::Packet;
use super::{delivery, handed, neighbour, unknown, unmatched};
use crate::maps::{FILTER, LINK, LINKS, NODES, RUNTIME, SERVICES, SLOTS};

/// A packet of a Service, as stage two gets it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Flow {
    pub(super) key: FlowKey,
    /// Bytes of the frame, without padding.
    pub(super) bytes: u32,
    /// Ticks, set by stage two.
    pub(super) now: u32,
    /// Set by stage two once it asks for it.
    pub(super) hash: u32,
    /// Node that handed the frame on, else `NO_NODE`.
    pub(super) sender: u16,
    /// Hops done.
    pub(super) hop: u8,
    /// `FROM_*`.
    pub(super) origin: u8,
    /// Bytes of the IP header.
    pub(super) ip_len: u8,
    /// TCP's flags; 0 for UDP.
    pub(super) flags: u8,
    /// There is an entry in `FLOWS` that no longer holds.
    pub(super) stale: u8,
    pub(super) _pad: u8,
}

impl Flow {
    /// Nothing is known yet.
    #[inline(always)]
    pub(super) const fn unread() -> Self {
        let key = FlowKey { client: 0, vip: 0, client_port: 0, port: 0, protocol: 0, _pad: [0; 3] };
        Self {
            key,
            bytes: 0,
            now: 0,
            hash: 0,
            sender: NO_NODE,
            hop: 0,
            origin: FROM_SELF,
            ip_len: 0,
            flags: 0,
            stale: 0,
            _pad: 0,
        }
    }

    /// Whether the packet begins a TCP connection.
    #[inline(always)]
    pub(super) const fn begins(&self) -> bool {
        self.key.protocol == ipv4::TCP && transport::begins(self.flags)
    }
}

/// Stage one ran here and chose this node.
pub(super) const FROM_SELF: u8 = 0;
/// An IP frame that by the filter is from a peer: stage two's, unless it is not, or that peer sent the packet itself.
pub(super) const FROM_PEER: u8 = 1;
/// A frame handed on.
pub(super) const FROM_OWNER: u8 = 2;
/// A frame to be taken here.
pub(super) const TO_TAKE: u8 = 3;

/// In place of an outcome: stage one starts here.
pub(super) const STAGE_ONE: u32 = u32::MAX;

/// What keeps a packet to a possible VIP from being a Service's.
pub(super) mod odd {
    pub(in crate::programs) const MALFORMED: u32 = 1;
    pub(in crate::programs) const FRAGMENT: u32 = 2;
    pub(in crate::programs) const PROTOCOL: u32 = 3;
    pub(in crate::programs) const PORT: u32 = 4;
}

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

/// The row hash of a flow of a Service.
#[inline(always)]
pub(super) fn row_hash(runtime: *const Runtime, service: *const ServiceEntry, key: &FlowKey) -> u32 {
    // SAFETY: values of maps.
    let (flow_key, flags) = unsafe { (&(*runtime).flow_key, (*service).flags) };
    if flags & SERVICE_AFFINITY != 0 {
        flow_hash(flow_key, key.client, key.vip, 0, 0, 0)
    } else {
        flow_hash(flow_key, key.client, key.vip, key.client_port, key.port, key.protocol)
    }
}

/// The program.
#[inline(always)]
pub(super) fn frame(ctx: *mut xdp_md) -> u32 {
    let frame = Packet::of_xdp(ctx);
    if !frame.has(ethernet::LEN + ipv4::MIN_LEN) {
        return finish(Outcome::NotOurs as u32);
    }
    // SAFETY: the header is there.
    let ether_type: u16 = unsafe { frame.load(ethernet::ETHER_TYPE) };
    if ether_type == ethernet::IPV4 {
        return ip(ctx, frame);
    }
    finish(match ether_type {
        ethernet::ARP => neighbour::arp(ctx),
        mark::HANDED_ON => handed::frame(ctx, FROM_OWNER),
        mark::TAKE_IT => handed::frame(ctx, TO_TAKE),
        _ => Outcome::NotOurs as u32,
    })
}

/// Reads a packet's flow. 0, or one of [`odd`].
#[inline(always)]
pub(super) fn read(ip: Packet, flow: &mut Flow) -> u32 {
    // SAFETY: callers have checked for the least IP header; the rest is checked here.
    unsafe {
        let Some(header) = ipv4::header(ip) else { return odd::MALFORMED };
        if header.fragment {
            return odd::FRAGMENT;
        }
        if header.protocol != ipv4::TCP && header.protocol != ipv4::UDP {
            return odd::PROTOCOL;
        }
        let l4 = ip.part_at(header.len);
        // Padding must not be taken for a header, nor what the sender never sent.
        if !l4.has(transport::UDP_LEN) || (header.total as usize) < header.len + transport::min_len(header.protocol) {
            return odd::MALFORMED;
        }
        if header.protocol == ipv4::TCP {
            if !l4.has(transport::TCP_LEN) {
                return odd::MALFORMED;
            }
            flow.flags = l4.load(transport::TCP_FLAGS);
        }
        flow.key.client = header.source;
        flow.key.vip = header.destination;
        flow.key.client_port = l4.load(transport::SOURCE_PORT);
        flow.key.port = l4.load(transport::DESTINATION_PORT);
        flow.key.protocol = header.protocol;
        flow.bytes = ethernet::LEN as u32 + header.total;
        flow.ip_len = header.len as u8;
        0
    }
}

/// The Service's entry of a flow.
#[inline(always)]
pub(super) fn service_of(key: &FlowKey) -> Option<*const ServiceEntry> {
    SERVICES.get_ptr(ServiceKey { addr: key.vip, port: key.port, protocol: key.protocol, _pad: 0 })
}

#[inline(always)]
fn ip(ctx: *mut xdp_md, frame: Packet) -> u32 {
    // SAFETY: the caller has checked for both headers.
    let (ip, vip) = unsafe {
        let ip = frame.part(ethernet::LEN);
        (ip, ip.load::<u32>(ipv4::DESTINATION))
    };
    let (Some(filter), Some(runtime), Some(link)) = (FILTER.get_ptr(0), RUNTIME.get_ptr(0), link()) else {
        return finish(Outcome::NotOurs as u32);
    };
    if !may_be_vip(filter, vip) {
        return finish(Outcome::NotOurs as u32);
    }
    // SAFETY: the frame has a header, the others are map values.
    let (destination, source, expired) =
        unsafe { (ethernet::destination(frame), ethernet::source(frame), (*runtime).expired) };
    // A link in promiscuous mode shows frames of others; group frames are the stack's.
    if destination != own_mac(link) {
        return finish(Outcome::NotOurs as u32);
    }
    if expired != 0 {
        return finish(Outcome::Expired as u32);
    }
    let mut flow = Flow::unread();
    let why = read(ip, &mut flow);
    if why != 0 {
        return finish(unmatched::packet(ctx, vip, why));
    }
    let Some(service) = service_of(&flow.key) else {
        return finish(unmatched::packet(ctx, vip, odd::PORT));
    };
    // SAFETY: a map value.
    let (flags, vip_index) = unsafe { ((*service).flags, (*service).vip) };
    if flags & SERVICE_KERNEL_PATH != 0 {
        return finish(Outcome::KernelPath as u32);
    }
    if may_be_peer(filter, source) {
        flow.origin = FROM_PEER;
        let outcome = delivery::announcer_stage_two(ctx, &raw mut flow, service);
        if outcome != STAGE_ONE {
            count_delivery(vip_index, outcome, flow.bytes);
            return finish(outcome);
        }
        flow.origin = FROM_SELF;
    }
    stage_one(ctx, frame, ip, own_mac(link), runtime, service, &mut flow)
}

/// Chooses the backend node: no flow state, no clock, no write but to the frame and the counters.
#[inline(always)]
fn stage_one(
    ctx: *mut xdp_md,
    frame: Packet,
    ip: Packet,
    own: Mac,
    runtime: *const Runtime,
    service: *const ServiceEntry,
    flow: &mut Flow,
) -> u32 {
    // SAFETY: a map value.
    let (newest, vip_index) = unsafe { ((*service).newest, (*service).vip) };
    let refuse = |outcome: Outcome| {
        count_vip(vip_index, |counters| counters.dropped += 1);
        finish(outcome as u32)
    };
    let hash = row_hash(runtime, service, &flow.key);
    let chosen = match handover::owner(newest, hash, slot).and_then(|owner| node(u32::from(owner))) {
        // SAFETY: a map value.
        Some(chosen) if lives(unsafe { (*chosen).flags }) => chosen,
        _ => {
            // Until the agent's next table the flow's newest owner that lives stands in; and where no endpoint is left
            // for new flows, those of terminating pods still have theirs.
            flow.hash = hash;
            flow.now = now().unwrap_or_default();
            // SAFETY: a map value.
            let me = unsafe { (*runtime).own_node as u16 };
            let Some(other) = node(u32::from(unknown::ways(flow, service, me).newest)) else {
                return refuse(if newest.rows == 0 { Outcome::DropNoBackend } else { Outcome::DropNodeUnreachable });
            };
            other
        }
    };
    // SAFETY: a map value.
    let (node_flags, node_mac) = unsafe { ((*chosen).flags, Mac::new((*chosen).mac)) };
    if node_flags & NODE_SELF != 0 {
        let outcome = delivery::announcer_stage_two(ctx, flow, service);
        count_delivery(vip_index, outcome, flow.bytes);
        return finish(outcome);
    }
    // SAFETY: both headers have been checked.
    unsafe {
        let ttl = ipv4::ttl(ip);
        if ttl <= 1 {
            return refuse(Outcome::DropTtl);
        }
        ipv4::decrement_ttl(ip, ttl);
        ethernet::readdress(frame, node_mac, own);
    }
    count_vip(vip_index, |counters| {
        counters.forwarded_packets += 1;
        counters.forwarded_bytes += u64::from(flow.bytes);
    });
    // This path reads no clock, but a CPU that does nothing else must still see the deadline pass.
    if count(Outcome::Forwarded as u32) & 0xFF == 0 {
        look_at_clock();
    }
    XDP_TX
}

/// Notes an expired deadline.
#[inline(never)]
fn look_at_clock() -> u32 {
    u32::from(now().is_none())
}
