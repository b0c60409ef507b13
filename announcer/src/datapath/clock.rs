//! The clock of the data path: CLOCK_MONOTONIC, as `bpf_ktime_get_ns` and its coarse form read it.

use std::time::Duration;

use announcer_ebpf::abi::{TICK_SHIFT, Ticks};

/// CLOCK_MONOTONIC now.
#[must_use]
pub fn monotonic() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to a valid place. It fails only for a clock that does not exist.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// [`monotonic`] in ticks.
#[must_use]
pub fn ticks() -> Ticks {
    ticks_at(monotonic())
}

/// A time of CLOCK_MONOTONIC in ticks.
#[must_use]
pub fn ticks_at(time: Duration) -> Ticks {
    (time.as_nanos() >> TICK_SHIFT) as Ticks
}
