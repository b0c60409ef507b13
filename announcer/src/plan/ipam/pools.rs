//! Pools made ready for questions: which of them hold an address, which may give one, which overlap.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
};

use super::ranges::{Overlay, Ranges, address, number};
use crate::world::model::{Family, Pool, World};

/// Addresses that no host can have: this network, loopback, multicast and beyond.
const UNUSABLE_V4: [(u128, u128); 3] = [(0, 0x00ff_ffff), (0x7f00_0000, 0x7fff_ffff), (0xe000_0000, 0xffff_ffff)];
/// Unspecified, loopback, multicast.
const UNUSABLE_V6: [(u128, u128); 2] = [(0, 1), (0xff << 120, u128::MAX)];

/// All pools, in the order in which they give: priority, age, name.
#[derive(Debug)]
pub(super) struct Pools<'w> {
    pub(super) list: Vec<PoolView<'w>>,
    v4: Overlay,
    v6: Overlay,
    /// Whether any pool looks at labels at all.
    pub(super) selective: bool,
    /// Whether any pool has parts that cannot be read.
    pub(super) unreadable: bool,
}

/// One pool.
#[derive(Debug)]
pub(super) struct PoolView<'w> {
    pub(super) name: &'w str,
    pub(super) pool: &'w Pool,
    /// Every address that it holds, by family.
    holds: [Ranges; 2],
    /// What it may give of them (`avoidBuggyIPs` aside), by family.
    gives: [Ranges; 2],
    /// The older pool that it overlaps, or itself.
    pub(super) conflict: Option<String>,
}

/// Why a pool gives no new address: a reason for machines and one for people, with the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) reason: &'static str,
    pub(super) why: String,
}

impl<'w> Pools<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        let mut list: Vec<PoolView<'w>> = world.pools.iter().map(|(name, pool)| PoolView::new(name, pool)).collect();
        list.sort_by_key(|view| (view.pool.priority, view.pool.created, view.name));
        let v4 = Overlay::new(list.iter().map(|view| &view.holds[0]));
        let v6 = Overlay::new(list.iter().map(|view| &view.holds[1]));
        for (i, other) in conflicts(&list, [&v4, &v6]) {
            list[i].conflict.get_or_insert(other);
        }
        let selective = world.pools.values().any(|pool| !pool.selector.is_empty());
        let unreadable = world.pools.values().any(|pool| !pool.errors.is_empty());
        Self { list, v4, v6, selective, unreadable }
    }

    /// Indices of the pools that hold `ip`.
    pub(super) fn holding(&self, ip: IpAddr) -> &[usize] {
        match Family::of(ip) {
            Family::V4 => self.v4.at(number(ip)),
            Family::V6 => self.v6.at(number(ip)),
        }
    }
}

/// Of each pair of pools that overlap, the newer with the older one's name.
fn conflicts(list: &[PoolView<'_>], overlays: [&Overlay; 2]) -> BTreeMap<usize, String> {
    let age = |i: &usize| (list[*i].pool.created, list[*i].name);
    let mut conflicts = BTreeMap::new();
    for (_, holders) in overlays.into_iter().flat_map(Overlay::shared) {
        let Some(oldest) = holders.iter().min_by_key(|i| age(i)) else { continue };
        for newer in holders.iter().filter(|i| *i != oldest) {
            if let Entry::Vacant(entry) = conflicts.entry(*newer) {
                entry.insert(format!("pool {}", list[*oldest].name));
            }
        }
    }
    conflicts
}

impl<'w> PoolView<'w> {
    fn new(name: &'w str, pool: &'w Pool) -> Self {
        let of = |family: Family, unusable: &[(u128, u128)], edges: bool| -> Ranges {
            let ranges = pool.blocks.iter().filter(|block| Family::of(block.first) == family).map(|block| {
                let (first, last) = (number(block.first), number(block.last));
                // Blocks of one or two addresses have no first and last to set aside.
                let keep = edges || block.cidr.is_none() || last.saturating_sub(first) < 2;
                if keep { (first, last) } else { (first + 1, last - 1) }
            });
            ranges.collect::<Ranges>().without(&unusable.iter().copied().collect())
        };
        let all = |edges| [of(Family::V4, &UNUSABLE_V4, edges), of(Family::V6, &UNUSABLE_V6, edges)];
        let conflict = overlaps_itself(pool).then(|| "another of its own blocks".to_owned());
        Self { name, pool, holds: all(true), gives: all(pool.allow_first_last), conflict }
    }

    /// Why the pool gives no new address; None: it gives.
    pub(super) fn closed(&self) -> Option<Closed> {
        let closed = |reason, why| Some(Closed { reason, why });
        if let Some(error) = self.pool.errors.first() {
            closed("pool_invalid", format!("{error}; correct the pool"))
        } else if let Some(other) = &self.conflict {
            closed("pool_conflict", format!("it overlaps {other}; change the blocks of one of them"))
        } else if self.pool.disabled {
            closed("pool_disabled", "it is disabled; set spec.disabled to false".to_owned())
        } else {
            None
        }
    }

    /// Whether the pool may give `ip` at all, whoever has it now.
    pub(super) fn gives(&self, ip: IpAddr) -> bool {
        self.gives[of_family(Family::of(ip))].contains(number(ip)) && !self.avoids(Family::of(ip), number(ip))
    }

    /// The lowest address that the pool may give, at or after `from`, and that `free` agrees to.
    pub(super) fn first_free(&self, family: Family, from: u128, free: impl Fn(IpAddr) -> bool) -> Option<u128> {
        let mut at = from;
        loop {
            let found = self.gives[of_family(family)].at_or_after(at)?;
            if !self.avoids(family, found) && free(address(family, found)) {
                return Some(found);
            }
            at = found.checked_add(1)?;
        }
    }

    /// How many addresses the pool may give.
    pub(super) fn total(&self, family: Family) -> u128 {
        let ranges = &self.gives[of_family(family)];
        let avoided = match family {
            Family::V4 if self.pool.avoid_buggy => {
                ranges.iter().map(|(first, last)| buggy_to(last) - first.checked_sub(1).map_or(0, buggy_to)).sum()
            }
            _ => 0,
        };
        ranges.len() - avoided
    }

    fn avoids(&self, family: Family, number: u128) -> bool {
        self.pool.avoid_buggy && family == Family::V4 && matches!(number & 0xff, 0 | 0xff)
    }
}

/// How many numbers up to and with `n` end in the byte 0 or 255.
fn buggy_to(n: u128) -> u128 {
    n / 256 + 1 + (n + 1) / 256
}

fn of_family(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

fn overlaps_itself(pool: &Pool) -> bool {
    let mut blocks: Vec<(IpAddr, IpAddr)> = pool.blocks.iter().map(|block| (block.first, block.last)).collect();
    blocks.sort_unstable();
    blocks.windows(2).any(|pair| pair[1].0 <= pair[0].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ipam::samples::{pool, world};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn given(view: &PoolView<'_>) -> Vec<String> {
        let mut from = 0;
        let mut all = Vec::new();
        while let Some(found) = view.first_free(Family::V4, from, |_| true) {
            all.push(address(Family::V4, found).to_string());
            from = found + 1;
        }
        all
    }

    #[test]
    fn first_and_last_of_a_network_are_set_aside_on_demand_but_not_of_ranges_and_tiny_networks() {
        let mut sample = pool(&["10.0.0.0/30", "10.0.1.0-10.0.1.1", "10.0.2.0/31", "10.0.3.0/32"]);
        sample.allow_first_last = false;
        let world = world([("p", sample)]);
        let pools = Pools::new(&world);
        let view = &pools.list[0];
        assert_eq!(given(view), ["10.0.0.1", "10.0.0.2", "10.0.1.0", "10.0.1.1", "10.0.2.0", "10.0.2.1", "10.0.3.0"]);
        assert_eq!(view.total(Family::V4), 7);
        assert_eq!(pools.holding(ip("10.0.0.0")), [0]);
        assert!(!view.gives(ip("10.0.0.0")) && view.gives(ip("10.0.0.1")));
    }

    #[test]
    fn addresses_that_old_devices_take_for_broadcasts_are_left_out_on_demand() {
        let mut sample = pool(&["10.0.0.254-10.0.1.1"]);
        sample.avoid_buggy = true;
        let world = world([("p", sample)]);
        let view = &Pools::new(&world).list[0];
        assert_eq!(given(view), ["10.0.0.254", "10.0.1.1"]);
        assert_eq!(view.total(Family::V4), 2);
    }

    #[test]
    fn loopback_and_multicast_are_never_given() {
        let world = world([("p", pool(&["126.255.255.255-128.0.0.0", "223.255.255.255-240.0.0.0"]))]);
        assert_eq!(given(&Pools::new(&world).list[0]), ["126.255.255.255", "128.0.0.0", "223.255.255.255"]);
    }

    #[test]
    fn the_newer_of_two_overlapping_pools_is_closed_and_names_the_older() {
        let mut newer = pool(&["10.0.0.128-10.0.1.5"]);
        newer.created = 5;
        newer.priority = -1;
        let world = world([("old", pool(&["10.0.0.0/24"])), ("a-newer", newer), ("apart", pool(&["10.9.0.0/24"]))]);
        let pools = Pools::new(&world);
        let closed: Vec<(&str, bool)> = pools.list.iter().map(|view| (view.name, view.closed().is_some())).collect();
        assert_eq!(closed, [("a-newer", true), ("apart", false), ("old", false)]);
        assert_eq!(pools.list[0].conflict.as_deref(), Some("pool old"));
    }

    #[test]
    fn a_pool_whose_blocks_overlap_each_other_is_closed() {
        let world = world([("p", pool(&["10.0.0.0/24", "10.0.0.200-10.0.0.210"]))]);
        assert_eq!(Pools::new(&world).list[0].closed().unwrap().reason, "pool_conflict");
    }

    #[test]
    fn huge_pools_are_counted_without_being_walked() {
        let world = world([("p", pool(&["10.0.0.0/8", "2000::/3"]))]);
        let pools = Pools::new(&world);
        assert_eq!(pools.list[0].total(Family::V4), 1 << 24);
        assert_eq!(pools.list[0].total(Family::V6), 1 << 125);
    }
}
