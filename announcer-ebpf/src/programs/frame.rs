//! A packet in the programs: a pointer and where the linear part ends.
//!
//! SAFETY of every access: the verifier refuses a program with a load or store that no comparison with `end` covers, so
//! a mistake here is a load error, not a wrong read. BPF loads need no alignment on the machines that we run on.

use core::arch::asm;

use announcer_ebpf::packet::Frame;
use aya_ebpf::bindings::{__sk_buff, xdp_md};

#[derive(Clone, Copy)]
pub(super) struct Packet {
    data: *mut u8,
    end: *mut u8,
}

impl Packet {
    /// The packet of an XDP program.
    ///
    /// Volatile, so that the optimizer does not hand these fields to functions in place of the context: 32 bits wide
    /// as they are declared, which is not what the kernel makes of them.
    #[inline(always)]
    pub(super) fn of_xdp(ctx: *mut xdp_md) -> Self {
        // SAFETY: the kernel gives a valid context.
        let (data, end) =
            unsafe { ((&raw const (*ctx).data).read_volatile(), (&raw const (*ctx).data_end).read_volatile()) };
        Self { data: data as usize as *mut u8, end: end as usize as *mut u8 }
    }

    /// The packet of a tc program; only to be read, as writes go through helpers that know of clones and checksums.
    #[inline(always)]
    pub(super) fn of_skb(skb: *mut __sk_buff) -> Self {
        // SAFETY: the kernel gives a valid context.
        let (data, end) =
            unsafe { ((&raw const (*skb).data).read_volatile(), (&raw const (*skb).data_end).read_volatile()) };
        Self { data: data as usize as *mut u8, end: end as usize as *mut u8 }
    }

    /// The part at an offset that is known only now, a multiple of 4 and at most 60. The verifier ties a check to the
    /// register that was checked, so the pointer must be computed once: the compiler cannot look into the assembly
    /// to compute it anew for each access.
    #[inline(always)]
    pub(super) fn part_at(self, offset: usize) -> Self {
        let mut data = self.data;
        // SAFETY: arithmetic on registers alone.
        unsafe {
            asm!(
                "{offset} &= 60",
                "{data} += {offset}",
                offset = inout(reg) offset => _,
                data = inout(reg) data,
                options(pure, nomem, nostack),
            );
        }
        Self { data, end: self.end }
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn has(self, len: usize) -> bool {
        self.data.wrapping_add(len) <= self.end
    }

    #[inline(always)]
    unsafe fn part(self, offset: usize) -> Self {
        Self { data: self.data.wrapping_add(offset), end: self.end }
    }

    #[inline(always)]
    unsafe fn load<T: Copy>(self, offset: usize) -> T {
        // SAFETY: see the module.
        unsafe { *self.data.wrapping_add(offset).cast::<T>() }
    }

    #[inline(always)]
    unsafe fn store<T: Copy>(self, offset: usize, value: T) {
        // SAFETY: see the module.
        unsafe { *self.data.wrapping_add(offset).cast::<T>() = value }
    }
}
