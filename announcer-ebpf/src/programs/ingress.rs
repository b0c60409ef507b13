//! XDP: what a frame is, and stage one.
//!
//! **VIP first.** Nothing is dropped before its address is known to be a VIP of ours. The order of the questions is by
//! price: a bit over the address, the flag that the data path has expired, the own MAC, one hash lookup of the Service;
//! the VIP's map only on its miss, the peers' map only for a MAC whose bit is set and a flow that is not known here.

use announcer_ebpf::abi::{NODE_SELF, Outcome, Runtime, SERVICE_KERNEL_PATH, ServiceEntry};
use announcer_ebpf::handover::{self, mark};
use announcer_ebpf::packet::ethernet::Mac;
use announcer_ebpf::packet::{Frame, ethernet, ipv4};
use aya_ebpf::bindings::xdp_action::XDP_TX;
use aya_ebpf::bindings::xdp_md;

use super::count::{count, count_delivery, count_vip, finish, now};
use super::flow::{FROM_OWNER, FROM_PEER, FROM_SELF, Flow, STAGE_ONE, TO_TAKE, odd, read, row_hash};
use super::frame::Packet;
use super::lookup::{link, lives, may_be_peer, may_be_vip, node, own_mac, service_of, slot};
use super::{delivery, handed, neighbour, unknown, unmatched};
use crate::maps::{FILTER, RUNTIME};

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
