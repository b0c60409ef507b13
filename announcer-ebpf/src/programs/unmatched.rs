//! Packets whose address passed the filter and that no Service has: another host's (the filter's false positives), or a
//! VIP's echo requests, fragments, and refused ports and protocols.

use announcer_ebpf::abi::{Outcome, VIP_KERNEL_PATH, VipEntry};
use announcer_ebpf::packet::{Frame, ethernet, icmp, ipv4};
use aya_ebpf::bindings::xdp_md;

use super::count::{count_vip, now};
use super::flow::odd;
use super::frame::Packet;
use crate::maps::VIPS;

/// TTL of what announcer sends itself; Linux's default.
const FRESH_TTL: u8 = 64;

/// A packet to `addr` of a kind in [`odd`].
#[inline(never)]
pub(super) fn packet(ctx: *mut xdp_md, addr: u32, why: u32) -> u32 {
    let Some(vip) = VIPS.get_ptr(addr) else { return Outcome::NotOurs as u32 };
    let outcome = of_vip(ctx, vip, why);
    if outcome != Outcome::EchoAnswered as u32
        && outcome != Outcome::KernelPath as u32
        && outcome != Outcome::Expired as u32
    {
        // SAFETY: a map value.
        count_vip(unsafe { (*vip).index }, |counters| counters.dropped += 1);
    }
    outcome
}

#[inline(always)]
fn of_vip(ctx: *mut xdp_md, vip: *const VipEntry, why: u32) -> u32 {
    // SAFETY: a map value.
    let kernel = unsafe { (*vip).flags } & VIP_KERNEL_PATH != 0;
    match why {
        odd::MALFORMED => Outcome::DropMalformed as u32,
        // What a fragment belongs to cannot be known: with a Service on the kernel path it may be the kernel's.
        _ if why == odd::FRAGMENT && !kernel => Outcome::DropFragment as u32,
        odd::PROTOCOL => protocol(ctx, kernel),
        _ if kernel => Outcome::KernelPath as u32,
        _ => Outcome::DropNoService as u32,
    }
}

/// Neither TCP nor UDP.
#[inline(always)]
fn protocol(ctx: *mut xdp_md, kernel: bool) -> u32 {
    let frame = Packet::of_xdp(ctx);
    if !frame.has(ethernet::LEN + ipv4::MIN_LEN) {
        return Outcome::DropMalformed as u32;
    }
    // SAFETY: both headers are there, and the ICMP header is checked for.
    unsafe {
        let ip = frame.part(ethernet::LEN);
        let Some(header) = ipv4::header(ip) else { return Outcome::DropMalformed as u32 };
        let refuse = |outcome: Outcome| if kernel { Outcome::KernelPath as u32 } else { outcome as u32 };
        if header.protocol != ipv4::ICMP {
            return refuse(Outcome::DropNoService);
        }
        let icmp = ip.part(ipv4::MIN_LEN);
        // A header with options (a recorded or a prescribed route) would have to be answered with its own.
        if header.len != ipv4::MIN_LEN || !icmp.has(icmp::LEN) || header.total < (ipv4::MIN_LEN + icmp::LEN) as u32 {
            return refuse(Outcome::DropIcmp);
        }
        if !icmp::is_echo_request(icmp) {
            return refuse(Outcome::DropIcmp);
        }
        if now().is_none() {
            return Outcome::Expired as u32;
        }
        icmp::answer_echo(icmp);
        ipv4::turn_round(ip, FRESH_TTL);
        ethernet::readdress(frame, ethernet::source(frame), ethernet::destination(frame));
        Outcome::EchoAnswered as u32
    }
}
