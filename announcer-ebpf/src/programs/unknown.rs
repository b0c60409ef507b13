//! Stage two of a flow that this node does not know: taken here, handed on, or at its end.

use announcer_ebpf::abi::{LIST_SETTLE_MS, NO_NODE, Outcome, ServiceEntry, elapsed, ticks_of_ms};
use announcer_ebpf::handover::{self, Ways, mark};
use announcer_ebpf::packet::ethernet::Mac;
use announcer_ebpf::packet::{Frame, ethernet, ipv4};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::maps::lpm_trie::Key;

use super::choice::{NONE, announcer_take};
use super::flow::{FROM_OWNER, FROM_PEER, Flow, STAGE_ONE, TO_TAKE, row_hash};
use super::frame::Packet;
use super::handed;
use super::lookup::{self, alive, link, own_mac, slot};
use crate::maps::{FLOWS, RUNTIME, SOURCES};

/// The packet's outcome, or `STAGE_ONE`. A global function, see `announcer_stage_two`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn announcer_unknown(ctx: *mut xdp_md, flow: *mut Flow, service: *const ServiceEntry) -> u32 {
    if flow.is_null() || service.is_null() {
        return Outcome::DropMalformed as u32;
    }
    // SAFETY: callers give a flow on their stack.
    let flow = unsafe { &mut *flow };
    let Some(runtime) = RUNTIME.get_ptr(0) else { return Outcome::Expired as u32 };
    // The filter may have taken another for a peer, and a peer may have sent the packet itself. Asked only now: a flow
    // that is known here is delivered here, whoever sends its packets.
    if flow.origin == FROM_PEER && (!is_from_peer(ctx) || SOURCES.get(Key::new(32, flow.key.client)).is_some()) {
        if flow.stale != 0 && flow.begins() {
            // Stage one may choose another node: the connection's next packets must not find what is left of an old one.
            let _ = FLOWS.remove(&flow.key);
        }
        return STAGE_ONE;
    }
    flow.hash = row_hash(runtime, service, &flow.key);
    // SAFETY: map values.
    let (me, changed) = unsafe { ((*runtime).own_node as u16, (*service).changed) };
    let tcp = flow.key.protocol == ipv4::TCP;
    let to_take = flow.origin == TO_TAKE;
    let begins = flow.begins();
    let mut outcome = Outcome::DeliveredNew;
    let mut other = NO_NODE;
    if !to_take && !begins {
        let ways = ways(flow, service, me);
        // SAFETY: a map value.
        let has_pods = unsafe { (*service).local.rows } != 0;
        if !tcp && !has_pods && flow.origin != FROM_OWNER && ways.other != NO_NODE {
            // It may be new, and then this node could not take it when it comes back.
            return send(ctx, ways.other, mark::TAKE_IT, u32::from(flow.hop) + 1, Outcome::HandedToTake as u32);
        }
        if ways.next != NO_NODE {
            return send(ctx, ways.next, mark::HANDED_ON, u32::from(flow.hop) + 1, Outcome::HandedOn as u32);
        }
        if tcp {
            if elapsed(flow.now, changed) < ticks_of_ms(LIST_SETTLE_MS) {
                return Outcome::DropListChanged as u32;
            }
            // The pod that the SYN would have gone to resets the connection, or knows it: then an evicted flow is
            // healed.
            outcome = Outcome::DeliveredAtEnd;
        } else if ways.newest != me && ways.newest != NO_NODE {
            // New to all of its owners: the newest takes it.
            return send(ctx, ways.newest, mark::TAKE_IT, u32::from(flow.hop) + 1, Outcome::HandedToTake as u32);
        } else {
            other = ways.other;
        }
    }
    let taken = announcer_take(ctx, flow, service, outcome as u32);
    if taken != NONE {
        return taken;
    }
    // No endpoint here: a new flow goes to its newest other owner, once.
    if begins && !to_take {
        other = ways(flow, service, me).other;
    }
    if other == NO_NODE {
        return Outcome::DropNoBackend as u32;
    }
    send(ctx, other, mark::TAKE_IT, u32::from(flow.hop) + 1, Outcome::HandedToTake as u32)
}

/// Whether the frame's sender is a peer, for certain.
#[inline(always)]
fn is_from_peer(ctx: *mut xdp_md) -> bool {
    let frame = Packet::of_xdp(ctx);
    // SAFETY: the header is read once it is there.
    frame.has(ethernet::LEN) && handed::peer(unsafe { ethernet::source(frame) }).is_some()
}

/// Where the flow may go by this node's list.
#[inline(always)]
pub(super) fn ways(flow: &Flow, service: *const ServiceEntry, me: u16) -> Ways {
    let packed = announcer_ways(flow, service, u32::from(me));
    Ways { next: packed as u16, newest: (packed >> 16) as u16, other: (packed >> 32) as u16 }
}

/// The ways as one number: next, newest, other, from the lowest bits. A global function, see `announcer_stage_two`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn announcer_ways(flow: *const Flow, service: *const ServiceEntry, me: u32) -> u64 {
    if flow.is_null() || service.is_null() {
        return u64::MAX;
    }
    // SAFETY: callers give a flow on their stack and a map value.
    let (flow, service) = unsafe { (&*flow, &*service) };
    let udp = flow.key.protocol == ipv4::UDP;
    let owners = handover::owners(service, flow.hash, udp, flow.now, slot, |owner| {
        // SAFETY: a map value.
        lookup::node(u32::from(owner)).map_or(0, |node| unsafe { alive((*node).flags) })
    });
    let ways = Ways::of(&owners, me as u16, flow.sender, u32::from(flow.hop));
    u64::from(ways.next) | u64::from(ways.newest) << 16 | u64::from(ways.other) << 32
}

/// Sends the packet to another node as a handed frame.
#[inline(never)]
fn send(ctx: *mut xdp_md, node: u16, kind: u16, hop: u32, outcome: u32) -> u32 {
    let frame = Packet::of_xdp(ctx);
    let (Some(link), Some(node)) = (link(), lookup::node(u32::from(node))) else {
        return Outcome::DropNodeUnreachable as u32;
    };
    if !frame.has(ethernet::LEN + ipv4::MIN_LEN) {
        return Outcome::DropMalformed as u32;
    }
    // SAFETY: both headers are there; the rest are map values.
    unsafe {
        let ip = frame.part(ethernet::LEN);
        let ttl = ipv4::ttl(ip);
        if ttl <= 1 {
            return Outcome::DropTtl as u32;
        }
        // The header's checksum stays that of the restored header: the receiver puts the version back first.
        ipv4::decrement_ttl(ip, ttl);
        ip.store(0, mark::ipv4(ip.load(0), hop));
        ethernet::readdress(frame, Mac::new((*node).mac), own_mac(link));
        frame.store(ethernet::ETHER_TYPE, kind);
    }
    outcome
}
