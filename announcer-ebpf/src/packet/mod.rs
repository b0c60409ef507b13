//! Reading and rewriting frames. The programs and the host's tests run the same code: on a raw packet there, on a byte
//! slice here, both as a [`Frame`].

pub mod arp;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod transport;

#[cfg(test)]
pub(crate) mod buffer;

/// A frame, or its part from a header on. Copies name the same bytes.
pub trait Frame: Copy {
    /// Whether there are `len` bytes.
    fn has(self, len: usize) -> bool;

    /// The part from `offset` on.
    ///
    /// # Safety
    /// `has(offset)` was true, or is asked before the part is read.
    #[must_use]
    unsafe fn part(self, offset: usize) -> Self;

    /// Reads an integer (or an array of bytes) at `offset`, as it lies there.
    ///
    /// # Safety
    /// `has(offset + size_of::<T>())` was true.
    unsafe fn load<T: Copy>(self, offset: usize) -> T;

    /// Writes an integer (or an array of bytes) at `offset`.
    ///
    /// # Safety
    /// `has(offset + size_of::<T>())` was true.
    unsafe fn store<T: Copy>(self, offset: usize, value: T);
}
