//! Frames that another node handed on, and who is a peer.

use announcer_ebpf::abi::{Outcome, PeerEntry, PeerKey, SERVICE_KERNEL_PATH};
use announcer_ebpf::handover::mark;
use announcer_ebpf::packet::ethernet::Mac;
use announcer_ebpf::packet::{Frame, ethernet, ipv4};
use aya_ebpf::bindings::xdp_md;

use super::count::{count_delivery, count_vip};
use super::delivery;
use super::flow::{Flow, odd, read};
use super::frame::Packet;
use super::lookup::{link, link_slot, may_be_peer, may_be_vip, own_mac, service_of};
use crate::maps::{FILTER, PEERS, RUNTIME, VIPS};

/// The peer with a MAC on this link.
#[inline(always)]
pub(super) fn peer(mac: Mac) -> Option<*const PeerEntry> {
    PEERS.get_ptr(PeerKey { mac: mac.bytes(), link: link_slot() as u16 })
}

/// A frame with one of our EtherTypes. These are anybody's to use on a LAN, so one from a stranger that is not for a VIP
/// of ours is passed up like anything else.
#[inline(never)]
pub(super) fn frame(ctx: *mut xdp_md, origin: u8) -> u32 {
    let frame = Packet::of_xdp(ctx);
    let (Some(filter), Some(runtime), Some(link)) = (FILTER.get_ptr(0), RUNTIME.get_ptr(0), link()) else {
        return Outcome::NotOurs as u32;
    };
    if !frame.has(ethernet::LEN + ipv4::MIN_LEN) {
        return Outcome::NotOurs as u32;
    }
    // SAFETY: both headers are there; the rest are map values.
    unsafe {
        let (ip, source) = (frame.part(ethernet::LEN), ethernet::source(frame));
        if ethernet::destination(frame) != own_mac(link) {
            return Outcome::NotOurs as u32;
        }
        let peer = if may_be_peer(filter, source) { peer(source) } else { None };
        let Some(peer) = peer else { return stranger(may_be_vip(filter, ip.load(ipv4::DESTINATION)), ip) };
        if (*runtime).expired != 0 {
            return Outcome::Expired as u32;
        }
        // First of all it becomes IPv4 again: whatever is passed up from here is what the client sent.
        let Some((first, hop)) = mark::restore_ipv4(ip.load(0)) else { return Outcome::DropUnknownService as u32 };
        ip.store(0, first);
        frame.store(ethernet::ETHER_TYPE, ethernet::IPV4);
        let mut flow = Flow::unread();
        match read(ip, &mut flow) {
            0 => {}
            odd::FRAGMENT => return Outcome::DropFragment as u32,
            odd::MALFORMED => return Outcome::DropMalformed as u32,
            _ => return Outcome::DropUnknownService as u32,
        }
        let Some(service) = service_of(&flow.key) else { return Outcome::DropUnknownService as u32 };
        if (*service).flags & SERVICE_KERNEL_PATH != 0 {
            return Outcome::KernelPath as u32;
        }
        flow.origin = origin;
        flow.sender = (*peer).node;
        flow.hop = hop as u8;
        let outcome = delivery::announcer_stage_two(ctx, &raw mut flow, service);
        count_delivery((*service).vip, outcome, flow.bytes);
        outcome
    }
}

/// A handed frame from a MAC that is no peer's.
#[inline(always)]
unsafe fn stranger(may_be_vip: bool, ip: Packet) -> u32 {
    if !may_be_vip {
        return Outcome::NotOurs as u32;
    }
    // SAFETY: the caller has checked for the header.
    let addr: u32 = unsafe { ip.load(ipv4::DESTINATION) };
    let Some(vip) = VIPS.get_ptr(addr) else { return Outcome::NotOurs as u32 };
    // SAFETY: a map value.
    count_vip(unsafe { (*vip).index }, |counters| counters.dropped += 1);
    Outcome::DropStranger as u32
}
