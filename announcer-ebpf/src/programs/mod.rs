//! The entry points. Everything they do is in the modules beside.
//!
//! - [`ingress`]: what a frame is, and stage one; [`neighbour`]: ARP; [`unmatched`]: a VIP's packets that no Service
//!   has, echo among them; [`handed`]: frames of other nodes.
//! - [`delivery`]: stage two of a known flow; [`unknown`]: of an unknown one; [`choice`]: a pod for it.
//! - [`egress`]: replies.
//! - [`flow`], [`lookup`], [`frame`], [`count`]: what these share.

#[cfg(feature = "bench")]
mod bench;
mod choice;
mod count;
mod delivery;
mod egress;
mod flow;
mod frame;
mod handed;
mod ingress;
mod log;
mod lookup;
mod neighbour;
mod unknown;
mod unmatched;

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

/// XDP on a link.
#[xdp]
fn announcer_xdp(ctx: XdpContext) -> u32 {
    let action = ingress::frame(ctx.ctx);
    log::frame(&ctx);
    action
}

/// The same for links with a large MTU: packets may lie in several buffers, their headers always in the first.
#[xdp(frags)]
fn announcer_frags(ctx: XdpContext) -> u32 {
    let action = ingress::frame(ctx.ctx);
    log::frame(&ctx);
    action
}

/// tc egress on a link by which replies leave.
#[classifier]
fn announcer_egress(ctx: TcContext) -> i32 {
    egress::reply(ctx.skb.skb)
}

/// XDP that passes all, also packets of several buffers: the far side of a veth needs a program for XDP_TX towards it.
#[xdp(frags)]
fn announcer_pass(_: XdpContext) -> u32 {
    XDP_PASS
}
