//! A [`Frame`] over bytes that a test owns. Out of bounds is a panic here, what the verifier refuses there.

use core::cell::Cell;

use super::Frame;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffer<'a>(&'a [Cell<u8>]);

impl<'a> Buffer<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self(Cell::from_mut(bytes).as_slice_of_cells())
    }
}

impl Frame for Buffer<'_> {
    fn has(self, len: usize) -> bool {
        self.0.len() >= len
    }

    unsafe fn part(self, offset: usize) -> Self {
        Self(self.0.get(offset..).unwrap_or_default())
    }

    unsafe fn load<T: Copy>(self, offset: usize) -> T {
        let bytes = &self.0[offset..offset + size_of::<T>()];
        // SAFETY: the slice has the value's size; callers read integers and byte arrays only, any bits are such a value.
        unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
    }

    unsafe fn store<T: Copy>(self, offset: usize, value: T) {
        let bytes = &self.0[offset..offset + size_of::<T>()];
        // SAFETY: the slice has the value's size, and its cells may be written through a shared reference.
        unsafe { bytes.as_ptr().cast::<T>().cast_mut().write_unaligned(value) }
    }
}
