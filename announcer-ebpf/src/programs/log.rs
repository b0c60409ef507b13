//! Debug lines: one for each frame that concerned a VIP, through aya-log. Only with feature `log`; without it nothing of
//! this is in the programs, and the functions below are empty.

#[cfg(feature = "log")]
pub(super) use on::{frame, note};

#[cfg(not(feature = "log"))]
pub(super) use off::{frame, note};

#[cfg(feature = "log")]
mod on {
    use announcer_ebpf::abi::Outcome;
    use announcer_ebpf::packet::{Frame, ethernet, ipv4};
    use aya_ebpf::macros::map;
    use aya_ebpf::maps::PerCpuArray;
    use aya_ebpf::programs::XdpContext;
    use aya_log_ebpf::debug;

    use super::super::frame::Packet;

    /// The outcome that was counted last on this CPU.
    #[map]
    static LAST_OUTCOME: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

    /// Remembers an outcome for the line.
    #[inline(always)]
    pub(in crate::programs) fn note(outcome: u32) {
        if let Some(last) = LAST_OUTCOME.get_ptr_mut(0) {
            // SAFETY: the map's value of this CPU.
            unsafe { *last = outcome };
        }
    }

    /// Writes the line. The agent puts the outcome's word in place of its number, which comes first.
    #[inline(always)]
    pub(in crate::programs) fn frame(ctx: &XdpContext) {
        let Some(last) = LAST_OUTCOME.get_ptr(0) else { return };
        // SAFETY: the map's value of this CPU.
        let outcome = unsafe { *last };
        // What is not ours is most of a LAN's traffic.
        if outcome == Outcome::NotOurs as u32 {
            return;
        }
        let packet = Packet::of_xdp(ctx.ctx);
        if !packet.has(ethernet::LEN + ipv4::MIN_LEN) {
            return;
        }
        // SAFETY: both headers are there.
        let (ether_type, source, destination) = unsafe {
            let ip = packet.part(ethernet::LEN);
            let ether_type: u16 = packet.load(ethernet::ETHER_TYPE);
            (ether_type, ip.load::<u32>(ipv4::SOURCE), ip.load::<u32>(ipv4::DESTINATION))
        };
        if ether_type == ethernet::IPV4 {
            debug!(ctx, "{} {:i} to {:i}", outcome, u32::from_be(source), u32::from_be(destination));
        } else {
            debug!(ctx, "{} EtherType {:x}", outcome, u16::from_be(ether_type));
        }
    }
}

#[cfg(not(feature = "log"))]
mod off {
    use aya_ebpf::programs::XdpContext;

    #[inline(always)]
    pub(in crate::programs) fn note(_: u32) {}

    #[inline(always)]
    pub(in crate::programs) fn frame(_: &XdpContext) {}
}
