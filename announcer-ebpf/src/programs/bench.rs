//! The programs for the benchmark (feature `bench`): the same inlined functions, then the frame put back as it was.

use announcer_ebpf::bench::{BenchFrame, HEAD_BYTES, MANY, MANY_FLOWS, NEW};
use announcer_ebpf::packet::Frame;
use aya_ebpf::Global;
use aya_ebpf::bindings::xdp_action::XDP_TX;
use aya_ebpf::bindings::{__sk_buff, TC_ACT_OK, xdp_md};
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{TcContext, XdpContext};

use super::frame::Packet;
use super::{egress, ingress};

/// How packets differ. A constant when the program is loaded, so the verifier removes what is not asked for.
#[unsafe(no_mangle)]
static VARY: Global<u32> = Global::new(0);

#[map]
static BENCH: Array<BenchFrame> = Array::with_max_entries(1, 0);

/// Offset of the client address's lower half.
const CLIENT_LOW: usize = 28;
/// Offset of the client's port.
const CLIENT_PORT: usize = 34;

#[xdp]
pub fn bench_xdp(ctx: XdpContext) -> u32 {
    let verdict = ingress::frame(ctx.ctx);
    restore_xdp(ctx.ctx);
    verdict
}

#[xdp]
pub fn bench_xdp_control(ctx: XdpContext) -> u32 {
    restore_xdp(ctx.ctx);
    XDP_TX
}

#[classifier]
pub fn bench_egress(ctx: TcContext) -> i32 {
    let verdict = egress::reply(ctx.skb.skb);
    restore_skb(ctx.skb.skb);
    verdict
}

#[classifier]
pub fn bench_egress_control(ctx: TcContext) -> i32 {
    restore_skb(ctx.skb.skb);
    TC_ACT_OK as i32
}

#[classifier]
pub fn bench_egress_floor(_: TcContext) -> i32 {
    TC_ACT_OK as i32
}

#[inline(always)]
fn restore_xdp(ctx: *mut xdp_md) {
    restore(Packet::of_xdp(ctx));
}

#[inline(always)]
fn restore_skb(skb: *mut __sk_buff) {
    restore(Packet::of_skb(skb));
}

/// Writes the head of the frame and, if asked for, another client. L4 checksums are not kept right: no program reads
/// them, they are only changed by what changes.
#[inline(always)]
fn restore(frame: Packet) {
    let Some(bench) = BENCH.get_ptr_mut(0) else { return };
    if !frame.has(HEAD_BYTES) {
        return;
    }
    // SAFETY: a map value of this test's one CPU; the frame is long enough.
    unsafe {
        let [a, b, c, d, e, f, g] = (*bench).head;
        frame.store(0, a);
        frame.store(8, b);
        frame.store(16, c);
        frame.store(24, d);
        frame.store(32, e);
        frame.store(40, f);
        frame.store(48, g);
        let vary = VARY.load();
        if vary == MANY || vary == NEW {
            let counter = (*bench).counter.wrapping_add(1);
            (*bench).counter = counter;
            // An odd factor: a permutation, so that neighbours in time are not neighbours in a table.
            let mixed = counter.wrapping_mul(0x9E37_79B1);
            let flow = if vary == MANY { mixed >> (32 - MANY_FLOWS.trailing_zeros()) } else { mixed };
            frame.store(CLIENT_LOW, (flow >> 16) as u16);
            frame.store(CLIENT_PORT, flow as u16);
        }
    }
}
