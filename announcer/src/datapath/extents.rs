//! Which part of a range of numbers is free: an allocator without memory of its own.

use std::collections::{BTreeMap, BTreeSet};

/// Free runs of `0..size`; the smallest that fits is taken.
#[derive(Debug, Clone, Default)]
pub struct Extents {
    size: u32,
    by_start: BTreeMap<u32, u32>,
    by_length: BTreeSet<(u32, u32)>,
}

impl Extents {
    /// All of `0..size` is free.
    #[must_use]
    pub fn new(size: u32) -> Self {
        let mut extents = Self { size, ..Self::default() };
        extents.insert(0, size);
        extents
    }

    /// How many numbers are taken.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.size - self.by_start.values().sum::<u32>()
    }

    /// Takes `length` numbers in a row and gives the first.
    pub fn take(&mut self, length: u32) -> Option<u32> {
        let (found, start) = *self.by_length.range((length, 0)..).next()?;
        self.remove(start, found);
        self.insert(start + length, found - length);
        Some(start)
    }

    /// Takes exactly `start..start + length`; false where a part of it is taken already.
    pub fn reserve(&mut self, start: u32, length: u32) -> bool {
        let Some((&free, &found)) = self.by_start.range(..=start).next_back() else { return length == 0 };
        let Some(end) = start.checked_add(length).filter(|end| *end <= free + found) else { return false };
        self.remove(free, found);
        self.insert(free, start - free);
        self.insert(end, free + found - end);
        true
    }

    /// Gives back what was taken.
    pub fn give(&mut self, start: u32, length: u32) {
        let (mut start, mut length) = (start, length);
        if let Some((&before, &found)) = self.by_start.range(..start).next_back()
            && before + found == start
        {
            self.remove(before, found);
            (start, length) = (before, length + found);
        }
        if let Some(&found) = self.by_start.get(&(start + length)) {
            self.remove(start + length, found);
            length += found;
        }
        self.insert(start, length);
    }

    fn insert(&mut self, start: u32, length: u32) {
        if length > 0 {
            self.by_start.insert(start, length);
            self.by_length.insert((length, start));
        }
    }

    fn remove(&mut self, start: u32, length: u32) {
        self.by_start.remove(&start);
        self.by_length.remove(&(length, start));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_smallest_run_that_fits_is_taken() {
        let mut extents = Extents::new(100);
        assert!(extents.reserve(10, 5) && extents.reserve(40, 50));
        assert_eq!((extents.take(9), extents.take(25), extents.take(26)), (Some(0), Some(15), None));
        assert_eq!(extents.used(), 55 + 9 + 25);
    }

    #[test]
    fn what_is_taken_is_not_reserved_again() {
        let mut extents = Extents::new(10);
        assert!(extents.reserve(2, 3));
        assert!(!extents.reserve(4, 1) && !extents.reserve(0, 3) && !extents.reserve(9, 2));
        assert!(extents.reserve(5, 5) && extents.reserve(0, 2));
        assert_eq!(extents.take(1), None);
    }

    proptest! {
        #[test]
        fn no_number_is_given_twice_and_all_come_back(
            wishes in prop::collection::vec((1_u32..40, any::<prop::sample::Index>(), any::<bool>()), 1..80),
        ) {
            let mut extents = Extents::new(256);
            let mut held: Vec<(u32, u32)> = Vec::new();
            for (length, pick, give) in wishes {
                if give && !held.is_empty() {
                    let (start, length) = held.swap_remove(pick.index(held.len()));
                    extents.give(start, length);
                } else if let Some(start) = extents.take(length) {
                    prop_assert!(start + length <= 256);
                    prop_assert!(held.iter().all(|(s, l)| start + length <= *s || s + l <= start));
                    held.push((start, length));
                }
                prop_assert_eq!(extents.used(), held.iter().map(|(_, length)| length).sum::<u32>());
            }
            for (start, length) in held {
                extents.give(start, length);
            }
            prop_assert_eq!(extents.take(256), Some(0));
        }
    }
}
