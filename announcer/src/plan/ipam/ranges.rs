//! Sets of addresses as sorted, disjoint, inclusive ranges of numbers; those of IPv4 and of IPv6 are apart.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::world::model::Family;

/// The address as a number of its family, in the order of addresses.
#[must_use]
pub(super) fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The address that `number` stands for; what exceeds the family counts as its last address.
#[must_use]
pub(super) fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        Family::V6 => Ipv6Addr::from_bits(number).into(),
    }
}

/// Sorted, disjoint, inclusive ranges, no two adjacent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u128, u128)>);

impl FromIterator<(u128, u128)> for Ranges {
    /// Ranges in any order, also overlapping; those whose end comes before their start are empty.
    fn from_iter<I: IntoIterator<Item = (u128, u128)>>(ranges: I) -> Self {
        let mut ranges: Vec<(u128, u128)> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }
}

impl Ranges {
    /// What is left without `holes`.
    #[must_use]
    pub(super) fn without(&self, holes: &Self) -> Self {
        let mut left = Vec::new();
        for &(mut first, last) in &self.0 {
            let start = holes.0.partition_point(|hole| hole.1 < first);
            let mut done = false;
            for &(from, to) in holes.0[start..].iter().take_while(|hole| hole.0 <= last) {
                if first < from {
                    left.push((first, from - 1));
                }
                done = to >= last;
                first = to.saturating_add(1);
            }
            if !done {
                left.push((first, last));
            }
        }
        Self(left)
    }

    #[must_use]
    pub(super) fn contains(&self, number: u128) -> bool {
        self.at_or_after(number) == Some(number)
    }

    /// The lowest number of the set that is not below `number`.
    #[must_use]
    pub(super) fn at_or_after(&self, number: u128) -> Option<u128> {
        let i = self.0.partition_point(|range| range.1 < number);
        self.0.get(i).map(|range| range.0.max(number))
    }

    /// How many numbers the set has; more than fit are as many as fit.
    #[must_use]
    pub(super) fn len(&self) -> u128 {
        self.0.iter().fold(0u128, |sum, (first, last)| sum.saturating_add((last - first).saturating_add(1)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, u128)> {
        self.0.iter().copied()
    }
}

/// Which of several sets (by index) hold a number.
#[derive(Debug, Default)]
pub(super) struct Overlay(Vec<(u128, u128, Vec<usize>)>);

impl Overlay {
    pub(super) fn new<'a>(sets: impl Iterator<Item = &'a Ranges>) -> Self {
        // Where sets begin and, one past their ranges' ends, end.
        let mut edges: Vec<(u128, bool, usize)> = Vec::new();
        for (i, set) in sets.enumerate() {
            for (first, last) in set.iter() {
                edges.push((first, true, i));
                if let Some(end) = last.checked_add(1) {
                    edges.push((end, false, i));
                }
            }
        }
        edges.sort_unstable();
        let mut segments = Vec::new();
        let mut open = BTreeSet::new();
        let mut edges = edges.into_iter().peekable();
        while let Some((at, begins, i)) = edges.next() {
            if begins {
                open.insert(i)
            } else {
                open.remove(&i)
            };
            let next = edges.peek().map(|edge| edge.0);
            if next != Some(at) && !open.is_empty() {
                segments.push((at, next.map_or(u128::MAX, |next| next - 1), open.iter().copied().collect()));
            }
        }
        Self(segments)
    }

    /// Indices of the sets that hold `number`, ascending.
    #[must_use]
    pub(super) fn at(&self, number: u128) -> &[usize] {
        let i = self.0.partition_point(|segment| segment.1 < number);
        self.0.get(i).filter(|segment| segment.0 <= number).map_or(&[], |segment| &segment.2)
    }

    /// Each piece that several sets hold: its first number and their indices, ascending.
    pub(super) fn shared(&self) -> impl Iterator<Item = (u128, &[usize])> {
        self.0.iter().filter(|segment| segment.2.len() > 1).map(|segment| (segment.0, segment.2.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn pairs() -> impl Strategy<Value = Vec<(u128, u128)>> {
        vec((0u128..60, 0u128..12).prop_map(|(first, len)| (first, first + len)), 0..8)
    }

    fn holds(pairs: &[(u128, u128)], n: u128) -> bool {
        pairs.iter().any(|(first, last)| (*first..=*last).contains(&n))
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_holds_what_its_ranges_hold(a in pairs(), b in pairs()) {
            let (set, holes): (Ranges, Ranges) = (a.iter().copied().collect(), b.iter().copied().collect());
            let left = set.without(&holes);
            for n in 0..80 {
                prop_assert_eq!(set.contains(n), holds(&a, n));
                prop_assert_eq!(left.contains(n), holds(&a, n) && !holds(&b, n));
                prop_assert_eq!(set.at_or_after(n), (n..80).find(|m| holds(&a, *m)));
            }
            prop_assert_eq!(set.len(), (0..80).filter(|n| holds(&a, *n)).count() as u128);
            prop_assert_eq!(left.len(), (0..80).filter(|n| left.contains(*n)).count() as u128);
        }

        #[test]
        fn an_overlay_knows_every_set_that_holds_a_number(sets in vec(pairs(), 0..5)) {
            let ranges: Vec<Ranges> = sets.iter().map(|set| set.iter().copied().collect()).collect();
            let overlay = Overlay::new(ranges.iter());
            for n in 0..80 {
                let expected: Vec<usize> = (0..sets.len()).filter(|i| holds(&sets[*i], n)).collect();
                prop_assert_eq!(overlay.at(n), &expected[..]);
            }
        }
    }

    #[test]
    fn the_whole_of_ipv6_neither_overflows_nor_is_lost() {
        let all: Ranges = [(0, u128::MAX)].into_iter().collect();
        assert_eq!(all.len(), u128::MAX);
        assert!(all.contains(u128::MAX) && Overlay::new([&all].into_iter()).at(u128::MAX) == [0]);
        assert_eq!(all.without(&all), Ranges::default());
        assert_eq!(all.without(&[(5, u128::MAX)].into_iter().collect()).len(), 5);
    }
}
