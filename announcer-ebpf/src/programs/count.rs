//! Counters, the verdict of an outcome, the clock and the deadline.

use announcer_ebpf::abi::{Outcome, Runtime, TICK_SHIFT, Ticks, Verdict, VipCounters};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns};

use super::log;
use crate::maps::{CLOCK, OUTCOMES, RUNTIME, VIP_COUNTERS};

const DROPS: u64 = Outcome::set_of(Verdict::Drop);
const TRANSMITS: u64 = Outcome::set_of(Verdict::Transmit);
const DELIVERIES: u64 =
    1 << Outcome::DeliveredKnown as u64 | 1 << Outcome::DeliveredNew as u64 | 1 << Outcome::DeliveredAtEnd as u64;

/// Counts an outcome and returns how often this CPU has had it.
#[inline(always)]
pub(super) fn count(outcome: u32) -> u64 {
    log::note(outcome);
    let Some(counter) = OUTCOMES.get_ptr_mut(outcome) else { return 1 };
    // SAFETY: the map's value of this CPU; programs of one hook do not interrupt each other.
    unsafe {
        *counter += 1;
        *counter
    }
}

/// Counts an XDP program's one outcome and gives its action.
#[inline(always)]
pub(super) fn finish(outcome: u32) -> u32 {
    count(outcome);
    let bit = 1_u64 << (outcome & 63);
    if TRANSMITS & bit != 0 {
        XDP_TX
    } else if DROPS & bit != 0 {
        XDP_DROP
    } else {
        XDP_PASS
    }
}

/// Changes a VIP's counters of this CPU.
#[inline(always)]
pub(super) fn count_vip(index: u32, change: impl FnOnce(&mut VipCounters)) {
    if let Some(counters) = VIP_COUNTERS.get_ptr_mut(index) {
        // SAFETY: as for `count`.
        change(unsafe { &mut *counters });
    }
}

/// What stage two's outcome is to the VIP.
#[inline(always)]
pub(super) fn count_delivery(index: u32, outcome: u32, bytes: u32) {
    let bit = 1_u64 << (outcome & 63);
    count_vip(index, |counters| {
        if DELIVERIES & bit != 0 {
            counters.delivered_packets += 1;
            counters.delivered_bytes += u64::from(bytes);
        } else if DROPS & bit != 0 {
            counters.dropped += 1;
        }
    });
}

/// The time; `None` once the deadline has passed, which is then noted for the paths that read no clock.
#[inline(always)]
pub(super) fn now() -> Option<Ticks> {
    let runtime: *mut Runtime = RUNTIME.get_ptr_mut(0)?;
    let now = coarse_ns()?;
    // SAFETY: the map's one value. The agent replaces it as a whole; a flag set at that moment is cleared by its next.
    unsafe {
        if (*runtime).expired != 0 {
            return None;
        }
        if now >= (*runtime).deadline {
            (*runtime).expired = 1;
            return None;
        }
    }
    Some((now >> TICK_SHIFT) as Ticks)
}

/// The coarse clock. It moves when the jiffies do, so it is asked once a jiffy: to read these costs no call, as the
/// kernel puts the load in place of the helper.
#[inline(always)]
fn coarse_ns() -> Option<u64> {
    let clock = CLOCK.get_ptr_mut(0)?;
    // SAFETY: the helpers only read clocks; the value is this CPU's, as for `count`.
    unsafe {
        let jiffies = bpf_jiffies64();
        if (*clock).jiffies != jiffies {
            (*clock).now = bpf_ktime_get_coarse_ns();
            (*clock).jiffies = jiffies;
        }
        Some((*clock).now)
    }
}
