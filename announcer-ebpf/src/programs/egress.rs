//! tc egress: a pod's reply gets the VIP back as its source.
//!
//! The packet is written by helpers only. They know of checksums that hardware or a later segment completes, and a
//! direct write would make the kernel copy every cloned packet that leaves, ours or not.

use announcer_ebpf::abi::{
    FLOW_POD_FIN, FLOW_RESET, FlowKey, Outcome, ReverseEntry, ReverseKey, SEEN_INTERVAL_MS, addr_bit, elapsed,
    ticks_of_ms,
};
use announcer_ebpf::packet::{Frame, ethernet, ipv4, transport};
use aya_ebpf::bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::{bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_skb_pull_data, bpf_skb_store_bytes};

use super::count::{count, count_vip, now};
use super::frame::Packet;
use crate::maps::{FILTER, FLOWS, HALF_OPEN, REVERSE, REVERSE_HALF};

/// The program. Its answer is "next program" unless the packet is dropped.
#[inline(always)]
pub(super) fn reply(skb: *mut __sk_buff) -> i32 {
    let outcome = translate(skb);
    count(outcome as u32);
    if matches!(outcome, Outcome::DropReplyMalformed) { TC_ACT_SHOT } else { TC_ACT_UNSPEC }
}

/// The linear part with at least `len` bytes of the packet, which is pulled in if need be.
#[inline(always)]
fn linear(skb: *mut __sk_buff, len: usize) -> Option<Packet> {
    let packet = Packet::of_skb(skb);
    if packet.has(len) {
        return Some(packet);
    }
    // SAFETY: the helper takes the context; it refuses more than the packet has.
    if unsafe { bpf_skb_pull_data(skb, len as u32) } != 0 {
        return None;
    }
    let packet = Packet::of_skb(skb);
    packet.has(len).then_some(packet)
}

#[inline(always)]
fn translate(skb: *mut __sk_buff) -> Outcome {
    // SAFETY: the kernel gives a valid context.
    if unsafe { (*skb).protocol } != u32::from(ethernet::IPV4) {
        return Outcome::ReplyNotOurs;
    }
    let Some(frame) = linear(skb, ethernet::LEN + ipv4::MIN_LEN) else { return Outcome::ReplyNotOurs };
    // SAFETY: both headers are there.
    let pod: u32 = unsafe { frame.load(ethernet::LEN + ipv4::SOURCE) };
    let Some(filter) = FILTER.get_ptr(0) else { return Outcome::ReplyNotOurs };
    let bit = addr_bit(pod);
    // SAFETY: a map value; the index is below its length by construction.
    if unsafe { (*filter).endpoints[(bit / 64) as usize] >> (bit % 64) & 1 } == 0 {
        return Outcome::ReplyNotOurs;
    }
    // SAFETY: the header is there.
    let Some(header) = (unsafe { ipv4::header(frame.part(ethernet::LEN)) }) else { return Outcome::ReplyNotOurs };
    let tcp = header.protocol == ipv4::TCP;
    if header.fragment || !(tcp || header.protocol == ipv4::UDP) {
        return Outcome::ReplyNotOurs;
    }
    let l4 = ethernet::LEN + header.len;
    // Behind its ports a header may be cut short: found out only for a flow of ours.
    let (frame, whole) = match linear_l4(skb, header.len, transport::min_len(header.protocol)) {
        Some(frame) => (frame, true),
        None => match linear_l4(skb, header.len, transport::UDP_LEN) {
            Some(frame) => (frame, false),
            None => return Outcome::ReplyNotOurs,
        },
    };
    // SAFETY: `linear_l4` has checked for what is read.
    let (pod_port, client_port, flags) = unsafe {
        let flags: u8 = if tcp && whole { frame.load(transport::TCP_FLAGS) } else { 0 };
        (frame.load::<u16>(transport::SOURCE_PORT), frame.load::<u16>(transport::DESTINATION_PORT), flags)
    };
    let key =
        ReverseKey { pod, client: header.destination, pod_port, client_port, protocol: header.protocol, _pad: [0; 3] };
    let Some(entry) = REVERSE.get_ptr_mut(&key).or_else(|| REVERSE_HALF.get_ptr_mut(&key)) else {
        return Outcome::ReplyNotOurs;
    };
    // SAFETY: a map value.
    let vip_index = unsafe { (*entry).vip_index };
    if !whole {
        count_vip(vip_index, |counters| counters.dropped += 1);
        return Outcome::DropReplyMalformed;
    }
    let Some(now) = now() else { return Outcome::Expired };
    // SAFETY: a map value.
    let (vip, port, seen) = unsafe { ((*entry).vip, (*entry).port, (*entry).seen) };
    let ends = flags & (transport::FIN | transport::RST);
    if ends != 0 || elapsed(now, seen) >= ticks_of_ms(SEEN_INTERVAL_MS) {
        note(&key, entry, u32::from(ends), now);
    }
    if !rewrite(skb, l4 as u32, tcp, (pod, pod_port), (vip, port)) {
        count_vip(vip_index, |counters| counters.dropped += 1);
        return Outcome::DropReplyMalformed;
    }
    // SAFETY: the context is valid.
    let (bytes, segments) = unsafe { ((*skb).len, (*skb).gso_segs) };
    count_vip(vip_index, |counters| {
        counters.replied_packets += u64::from(if segments == 0 { 1 } else { segments });
        counters.replied_bytes += u64::from(bytes);
    });
    Outcome::ReplyTranslated
}

/// The part of the packet that begins with the L4 header, with at least `least` bytes.
#[inline(always)]
fn linear_l4(skb: *mut __sk_buff, ip_len: usize, least: usize) -> Option<Packet> {
    // SAFETY: the part is only read after `has`.
    let l4 = unsafe { Packet::of_skb(skb).part(ethernet::LEN) }.part_at(ip_len);
    if l4.has(least) {
        return Some(l4);
    }
    // SAFETY: as in `linear`.
    if unsafe { bpf_skb_pull_data(skb, (ethernet::LEN + ip_len + least) as u32) } != 0 {
        return None;
    }
    // SAFETY: as above.
    let l4 = unsafe { Packet::of_skb(skb).part(ethernet::LEN) }.part_at(ip_len);
    l4.has(least).then_some(l4)
}

/// Notes FIN and RST of the pod, in both directions' entries, and at times when the flow was seen.
#[inline(never)]
fn note(key: &ReverseKey, entry: *mut ReverseEntry, ends: u32, now: u32) -> u32 {
    // SAFETY: map values; a lost race on `state` only lengthens a closed flow's life.
    unsafe {
        let mut state = 0;
        if ends & u32::from(transport::FIN) != 0 {
            state |= FLOW_POD_FIN;
        }
        if ends & u32::from(transport::RST) != 0 {
            state |= FLOW_RESET;
        }
        (*entry).state |= state;
        (*entry).seen = now;
        let forward = FlowKey {
            client: key.client,
            vip: (*entry).vip,
            client_port: key.client_port,
            port: (*entry).port,
            protocol: key.protocol,
            _pad: [0; 3],
        };
        // The lookup alone keeps the forward entry from being evicted while only the pod sends.
        if let Some(flow) = FLOWS.get_ptr_mut(&forward).or_else(|| HALF_OPEN.get_ptr_mut(&forward))
            && state != 0
        {
            (*flow).state |= state;
            (*flow).seen = now;
        }
    }
    0
}

/// Writes the new source. The L4 checksum knows which of the changes a partial checksum holds.
#[inline(always)]
fn rewrite(skb: *mut __sk_buff, l4: u32, tcp: bool, old: (u32, u16), new: (u32, u16)) -> bool {
    let check = l4 + if tcp { transport::TCP_CHECKSUM } else { transport::UDP_CHECKSUM } as u32;
    let ip = ethernet::LEN as u32;
    let udp_flag = if tcp { 0 } else { u64::from(BPF_F_MARK_MANGLED_0) };
    let with_addr = 4 | u64::from(BPF_F_PSEUDO_HDR) | udp_flag;
    // SAFETY: the helpers check offsets against the packet; the values live on the stack.
    unsafe {
        bpf_l4_csum_replace(skb, check, u64::from(old.0), u64::from(new.0), with_addr) == 0
            && (old.1 == new.1
                || (bpf_l4_csum_replace(skb, check, u64::from(old.1), u64::from(new.1), 2 | udp_flag) == 0
                    && bpf_skb_store_bytes(skb, l4, (&raw const new.1).cast(), 2, 0) == 0))
            && bpf_l3_csum_replace(skb, ip + ipv4::CHECKSUM as u32, u64::from(old.0), u64::from(new.0), 4) == 0
            && bpf_skb_store_bytes(skb, ip + ipv4::SOURCE as u32, (&raw const new.0).cast(), 4, 0) == 0
    }
}
