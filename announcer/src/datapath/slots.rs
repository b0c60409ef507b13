//! The arena of tables, written through mmap: a table of a thousand rows is a memory copy, not a thousand system calls.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use announcer_ebpf::abi::SLOTS_PER_WORD;

/// The words of map `SLOTS`, shared with the programs.
#[derive(Debug)]
pub struct Slots {
    words: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: the mapping is not tied to a thread, and all access is atomic.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    /// Maps an `Array<u64>` of `len` words that was made with `BPF_F_MMAPABLE`.
    ///
    /// # Errors
    /// mmap(2)'s: EINVAL or ENOTSUPP where the map is of another kind or smaller.
    pub(super) fn map(map: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        let len = len as usize;
        // SAFETY: a new mapping at an address of the kernel's choice. Its length is rounded up to pages by the kernel,
        // as the map's is.
        let address = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), Self::bytes(len), access, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { words, len })
    }

    fn bytes(len: usize) -> usize {
        len * size_of::<AtomicU64>()
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping holds `len` words, page-aligned, until `drop`; others write them only as whole words.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.len) }
    }

    /// Writes slots from `base` on, a multiple of four; the last word is filled up with zeros. What lies beyond the
    /// arena is left out.
    pub fn write(&mut self, base: u32, slots: &[u16]) {
        let first = (base / SLOTS_PER_WORD) as usize;
        for (word, four) in self.words().iter().skip(first).zip(slots.chunks(SLOTS_PER_WORD as usize)) {
            let packed = four.iter().rev().fold(0, |word, slot| word << 16 | u64::from(*slot));
            // A program reads a slot only after the entry that names it is there; that update is a full barrier.
            word.store(packed, Ordering::Relaxed);
        }
    }

    /// A slot's value; None beyond the arena.
    #[must_use]
    pub fn read(&self, slot: u32) -> Option<u16> {
        let word = self.words().get((slot / SLOTS_PER_WORD) as usize)?.load(Ordering::Relaxed);
        Some((word >> (16 * (slot % SLOTS_PER_WORD))) as u16)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`; no reference to it is left.
        unsafe { libc::munmap(self.words.as_ptr().cast(), Self::bytes(self.len)) };
    }
}
