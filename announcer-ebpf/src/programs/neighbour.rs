//! ARP for VIPs, by RFC 826 and RFC 5227.
//!
//! A request (broadcast, unicast, or a probe with sender 0.0.0.0) for a VIP that this node leads on this link is
//! answered; for one that another node leads it is dropped, so that no kernel that has the address on some interface
//! answers. A message whose sender has a VIP is passed up and never answered; if this node leads it and the MAC is
//! another's, the agent hears of it.

use announcer_ebpf::abi::{Event, EventKind, Outcome};
use announcer_ebpf::packet::ethernet::Mac;
use announcer_ebpf::packet::{Frame, arp, ethernet};
use aya_ebpf::bindings::xdp_md;

use super::count::{count_vip, now};
use super::frame::Packet;
use super::lookup::{link, link_slot, may_be_vip, own_mac};
use crate::maps::{EVENTS, FILTER, VIPS};

/// An ARP frame.
#[inline(always)]
pub(super) fn arp(ctx: *mut xdp_md) -> u32 {
    let frame = Packet::of_xdp(ctx);
    let (Some(filter), Some(link)) = (FILTER.get_ptr(0), link()) else { return Outcome::NotOurs as u32 };
    if !frame.has(ethernet::LEN + arp::LEN) {
        return Outcome::NotOurs as u32;
    }
    let own = own_mac(link);
    // SAFETY: both headers are there.
    let (part, destination, message) = unsafe {
        let part = frame.part(ethernet::LEN);
        (part, ethernet::destination(frame), arp::message(part))
    };
    let Some(message) = message else { return Outcome::NotOurs as u32 };
    if (destination != own && !destination.is_group()) || message.sender_mac == own {
        return Outcome::NotOurs as u32;
    }
    let led_here = 1 << link_slot();
    if may_be_vip(filter, message.sender)
        && let Some(vip) = VIPS.get_ptr(message.sender)
    {
        // SAFETY: a map value.
        if unsafe { (*vip).lead } & led_here != 0 {
            if now().is_none() {
                return Outcome::Expired as u32;
            }
            report(message.sender, message.sender_mac);
            return Outcome::ArpForeignClaim as u32;
        }
    }
    if !message.asks() || !may_be_vip(filter, message.target) {
        return Outcome::NotOurs as u32;
    }
    let Some(vip) = VIPS.get_ptr(message.target) else { return Outcome::NotOurs as u32 };
    if now().is_none() {
        return Outcome::Expired as u32;
    }
    // SAFETY: a map value.
    let (lead, index) = unsafe { ((*vip).lead, (*vip).index) };
    if lead & led_here == 0 {
        return Outcome::ArpSuppressed as u32;
    }
    // SAFETY: both headers are there.
    unsafe {
        arp::answer(part, message, own);
        ethernet::readdress(frame, message.sender_mac, own);
    }
    count_vip(index, |counters| counters.answers += 1);
    Outcome::ArpAnswered as u32
}

/// Tells the agent. A full ring loses the message; the claimant will repeat itself.
#[inline(always)]
fn report(addr: u32, mac: Mac) {
    if let Some(mut entry) = EVENTS.reserve::<Event>(0) {
        let kind = EventKind::ForeignClaim as u32;
        entry.write(Event { kind, link: link_slot(), addr, mac: mac.bytes(), _pad: 0 });
        entry.submit(0);
    }
}
