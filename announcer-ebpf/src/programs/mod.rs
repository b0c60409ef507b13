//! The entry points. Everything they do is in the modules beside.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// XDP that passes all, also packets of several buffers: the far side of a veth needs a program for XDP_TX towards it.
#[xdp(frags)]
pub fn announcer_pass(_: XdpContext) -> u32 {
    XDP_PASS
}
