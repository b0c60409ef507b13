//! A pod of this node for a flow that has none.

use announcer_ebpf::abi::{
    ENDPOINT_PRESENT, FlowEntry, FlowKey, Outcome, ReverseEntry, ReverseKey, ServiceEntry, UDP_TIMEOUT_MS, elapsed,
    ticks_of_ms,
};
use announcer_ebpf::hash::{remix, row};
use aya_ebpf::bindings::xdp_md;

use super::delivery::{endpoint_of, is_over, reverse_key, translate};
use super::flow::Flow;
use super::lookup::slot;
use crate::maps::{ENDPOINTS, FLOWS, HALF_OPEN, REVERSE, REVERSE_HALF};

/// In place of an outcome: this node has no endpoint for the Service.
pub(super) const NONE: u32 = u32::MAX - 1;

/// Endpoints tried for a new flow: the first may have the client's address and port through another VIP already.
const TRIES: u32 = 4;

/// Gives the packet to a local pod by the flow's hash and remembers that, in the tables of half-open flows, so that
/// a flood of invented flows evicts no established one. The outcome, or [`NONE`]. A global function, see
/// `announcer_stage_two`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn announcer_take(
    ctx: *mut xdp_md,
    flow: *const Flow,
    service: *const ServiceEntry,
    outcome: u32,
) -> u32 {
    if flow.is_null() || service.is_null() {
        return NONE;
    }
    // SAFETY: callers give a flow on their stack.
    let flow = unsafe { &*flow };
    // SAFETY: a map value.
    let local = unsafe { (*service).local };
    if local.rows == 0 {
        return NONE;
    }
    let mut refused = NONE;
    let mut place = row(remix(flow.hash), local.rows);
    for _ in 0..TRIES {
        let index =
            if local.rows == 1 { Some(local.base) } else { slot(local.base.wrapping_add(place)).map(u32::from) };
        if let Some(index) = index {
            match announcer_attempt(ctx, flow, service, index) {
                0 => return outcome,
                NONE => {}
                why => refused = why,
            }
            if refused == Outcome::DropFlowTableFull as u32 || refused == Outcome::DropMalformed as u32 {
                return refused;
            }
        }
        if local.rows == 1 {
            break;
        }
        place += 1;
        if place >= local.rows {
            place = 0;
        }
    }
    refused
}

/// Tries one endpoint: 0 = the packet is the pod's now, [`NONE`] = there is no such pod, else why not. A global
/// function, see `announcer_stage_two`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn announcer_attempt(ctx: *mut xdp_md, flow: *const Flow, service: *const ServiceEntry, index: u32) -> u32 {
    if flow.is_null() || service.is_null() {
        return NONE;
    }
    // SAFETY: callers give a flow on their stack.
    let flow = unsafe { &*flow };
    let Some(endpoint) = ENDPOINTS.get_ptr(index) else { return NONE };
    // SAFETY: map values.
    let (generation, flags, vip_index) = unsafe { ((*endpoint).generation, (*endpoint).flags, (*service).vip) };
    if flags & ENDPOINT_PRESENT == 0 {
        return NONE;
    }
    let key = reverse_key(flow, endpoint);
    if is_taken(&key, flow) != 0 {
        return Outcome::DropReverseTaken as u32;
    }
    // Both tables are asked in order, so what an earlier flow left in the first would hide the new entry.
    if flow.stale != 0 {
        let _ = FLOWS.remove(&flow.key);
    }
    let reverse = ReverseEntry { vip: flow.key.vip, port: flow.key.port, _pad: 0, vip_index, seen: flow.now, state: 0 };
    let entry = FlowEntry { endpoint: index, generation, seen: flow.now, state: 0 };
    if REVERSE_HALF.insert(&key, &reverse, 0).is_err() || HALF_OPEN.insert(&flow.key, &entry, 0).is_err() {
        return Outcome::DropFlowTableFull as u32;
    }
    if !translate(ctx, flow, endpoint) {
        return Outcome::DropMalformed as u32;
    }
    0
}

/// Whether a pod has this client address and port through another VIP or port, in a flow that lives: 1 or 0. An entry
/// of `REVERSE` that does not live is removed.
#[inline(always)]
fn is_taken(key: &ReverseKey, flow: &Flow) -> u32 {
    if let Some(entry) = REVERSE.get_ptr(key) {
        // SAFETY: a map value.
        let entry = unsafe { *entry };
        if is_others(&entry, flow) && lives(&entry, key, flow.now) != 0 {
            return 1;
        }
        let _ = REVERSE.remove(key);
    }
    if let Some(entry) = REVERSE_HALF.get_ptr(key) {
        // SAFETY: a map value.
        let entry = unsafe { *entry };
        if is_others(&entry, flow) && lives(&entry, key, flow.now) != 0 {
            return 1;
        }
    }
    0
}

#[inline(always)]
fn is_others(entry: &ReverseEntry, flow: &Flow) -> bool {
    entry.vip != flow.key.vip || entry.port != flow.key.port
}

/// Whether the flow of a reverse entry lives, that is, whether its forward entry holds: 1 or 0.
#[inline(never)]
fn lives(entry: &ReverseEntry, key: &ReverseKey, now: u32) -> u32 {
    if is_over(entry.state, entry.seen, now) {
        return 0;
    }
    let udp = key.protocol == announcer_ebpf::packet::ipv4::UDP;
    if udp && elapsed(now, entry.seen) > ticks_of_ms(UDP_TIMEOUT_MS) {
        return 0;
    }
    let forward = FlowKey {
        client: key.client,
        vip: entry.vip,
        client_port: key.client_port,
        port: entry.port,
        protocol: key.protocol,
        _pad: [0; 3],
    };
    let found = FLOWS.get_ptr(&forward).or_else(|| HALF_OPEN.get_ptr(&forward));
    let Some(found) = found else { return 0 };
    match endpoint_of(found) {
        // The flow may have moved to another pod since.
        // SAFETY: a map value.
        Some(endpoint) => u32::from(unsafe { (*endpoint).addr == key.pod && (*endpoint).port == key.pod_port }),
        None => 0,
    }
}
