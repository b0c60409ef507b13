//! Stage two of a known flow: to its pod.

use announcer_ebpf::abi::{
    CLOSED_TIMEOUT_MS, ENDPOINT_PRESENT, ENDPOINT_READY, EndpointEntry, FLOW_CLIENT_FIN, FLOW_POD_FIN, FLOW_RESET,
    FlowEntry, Outcome, ReverseEntry, ReverseKey, SEEN_INTERVAL_MS, ServiceEntry, Ticks, elapsed, ticks_of_ms,
};
use announcer_ebpf::packet::{Frame, ethernet, ipv4, transport};
use aya_ebpf::bindings::xdp_md;

use super::count::now;
use super::flow::Flow;
use super::frame::Packet;
use super::unknown;
use crate::maps::{ENDPOINTS, FLOWS, HALF_OPEN, REVERSE, REVERSE_HALF};

/// Whether both sides are done with a flow, and have been for long enough that its last packets have come.
#[inline(always)]
pub(super) fn is_over(state: u32, seen: Ticks, now: Ticks) -> bool {
    let fins = FLOW_CLIENT_FIN | FLOW_POD_FIN;
    (state & FLOW_RESET != 0 || state & fins == fins) && elapsed(now, seen) > ticks_of_ms(CLOSED_TIMEOUT_MS)
}

/// The pod of an entry, if it still holds: the same tenant of the index, and there.
#[inline(always)]
pub(super) fn endpoint_of(entry: *const FlowEntry) -> Option<*const EndpointEntry> {
    // SAFETY: map values.
    unsafe {
        let endpoint = ENDPOINTS.get_ptr((*entry).endpoint)?;
        let holds = (*endpoint).generation == (*entry).generation && (*endpoint).flags & ENDPOINT_PRESENT != 0;
        holds.then_some(endpoint)
    }
}

/// The key by which a pod's replies to a flow are found.
#[inline(always)]
pub(super) fn reverse_key(flow: &Flow, endpoint: *const EndpointEntry) -> ReverseKey {
    // SAFETY: a map value.
    unsafe {
        ReverseKey {
            pod: (*endpoint).addr,
            client: flow.key.client,
            pod_port: (*endpoint).port,
            client_port: flow.key.client_port,
            protocol: flow.key.protocol,
            _pad: [0; 3],
        }
    }
}

/// Gives the packet the pod's address and port.
#[inline(always)]
pub(super) fn translate(ctx: *mut xdp_md, flow: &Flow, endpoint: *const EndpointEntry) -> bool {
    let frame = Packet::of_xdp(ctx);
    if !frame.has(ethernet::LEN + ipv4::MIN_LEN) {
        return false;
    }
    // SAFETY: both headers are checked for.
    unsafe {
        let ip = frame.part(ethernet::LEN);
        let l4 = ip.part_at(flow.ip_len as usize);
        let new = ((*endpoint).addr, (*endpoint).port);
        if flow.key.protocol == ipv4::TCP {
            if !l4.has(transport::TCP_LEN) {
                return false;
            }
            transport::translate_destination(ip, l4, ipv4::TCP, new);
        } else {
            if !l4.has(transport::UDP_LEN) {
                return false;
            }
            transport::translate_destination(ip, l4, ipv4::UDP, new);
        }
    }
    true
}

/// Stage two. The outcome, or `STAGE_ONE`.
///
/// A global function, as its like: the verifier looks at it once, and not again on each path that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn announcer_stage_two(ctx: *mut xdp_md, flow: *mut Flow, service: *const ServiceEntry) -> u32 {
    if flow.is_null() || service.is_null() {
        return Outcome::DropMalformed as u32;
    }
    // SAFETY: callers give a flow on their stack.
    let flow = unsafe { &mut *flow };
    let Some(now) = now() else { return Outcome::Expired as u32 };
    flow.now = now;
    let (entry, half) = match FLOWS.get_ptr_mut(&flow.key) {
        Some(entry) => (Some(entry), 0_u32),
        None => (HALF_OPEN.get_ptr_mut(&flow.key), 1),
    };
    let Some(entry) = entry else { return unknown::announcer_unknown(ctx, flow, service) };
    flow.stale = 1 - half as u8;
    let Some(endpoint) = endpoint_of(entry) else { return unknown::announcer_unknown(ctx, flow, service) };
    // SAFETY: map values.
    let (state, seen, ready) = unsafe { ((*entry).state, (*entry).seen, (*endpoint).flags & ENDPOINT_READY != 0) };
    let begins = flow.begins();
    // A connection that begins anew may stay with its old pod only if that takes new ones.
    if is_over(state, seen, now) || (begins && !ready) {
        return unknown::announcer_unknown(ctx, flow, service);
    }
    let ends = flow.flags & (transport::FIN | transport::RST) != 0;
    let due = elapsed(now, seen) >= ticks_of_ms(SEEN_INTERVAL_MS);
    if half != 0 || ends || due || (begins && state != 0) {
        note(flow, entry, endpoint, service, half);
    }
    if !translate(ctx, flow, endpoint) {
        return Outcome::DropMalformed as u32;
    }
    Outcome::DeliveredKnown as u32
}

/// Writes what a packet of a known flow changes: the move out of the half-open tables at the client's first packet after
/// its SYN (UDP: its second), FIN and RST, and at times when the flow was seen.
#[inline(never)]
fn note(
    flow: &Flow,
    entry: *mut FlowEntry,
    endpoint: *const EndpointEntry,
    service: *const ServiceEntry,
    half: u32,
) -> u32 {
    let key = reverse_key(flow, endpoint);
    let begins = flow.begins();
    // SAFETY: map values; a lost race on `state` only lengthens a closed flow's life.
    unsafe {
        let mut state = if begins { 0 } else { (*entry).state };
        if flow.flags & transport::FIN != 0 {
            state |= FLOW_CLIENT_FIN;
        }
        if flow.flags & transport::RST != 0 {
            state |= FLOW_RESET;
        }
        (*entry).state = state;
        (*entry).seen = flow.now;
        let reverse = ReverseEntry {
            vip: flow.key.vip,
            port: flow.key.port,
            _pad: 0,
            vip_index: (*service).vip,
            seen: flow.now,
            state,
        };
        if half != 0 && !begins && state & FLOW_RESET == 0 {
            let moved =
                FlowEntry { endpoint: (*entry).endpoint, generation: (*entry).generation, seen: flow.now, state };
            // A flow that cannot be moved stays where it is and tries again with its next packet.
            if REVERSE.insert(&key, &reverse, 0).is_ok() && FLOWS.insert(&flow.key, &moved, 0).is_ok() {
                let _ = HALF_OPEN.remove(&flow.key);
                let _ = REVERSE_HALF.remove(&key);
            }
            return 0;
        }
        let there = if half != 0 { REVERSE_HALF.get_ptr_mut(&key) } else { REVERSE.get_ptr_mut(&key) };
        match there {
            Some(there) => {
                (*there).seen = flow.now;
                (*there).state = state;
            }
            // Evicted: without it the pod's replies would leave with the pod's address.
            None if half != 0 => {
                let _ = REVERSE_HALF.insert(&key, &reverse, 0);
            }
            None => {
                let _ = REVERSE.insert(&key, &reverse, 0);
            }
        }
    }
    0
}
