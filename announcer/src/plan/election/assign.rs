//! Shares VIPs among nodes: holders stay, the load is bounded, the rest goes by rank.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    rc::Rc,
};

use super::{ground::Candidates, rank};

/// A VIP that somebody may lead.
pub(super) struct Seat<'a> {
    pub(super) vip: IpAddr,
    /// The Lease's holder, if it may lead this VIP.
    pub(super) holder: Option<&'a str>,
    /// Never empty.
    pub(super) candidates: Rc<Candidates<'a>>,
}

/// Who should lead each VIP. Executing it changes nothing in it: the same call with the new holders gives the same.
pub(super) fn assign<'a>(seats: &[Seat<'a>], load_percent: u32) -> BTreeMap<IpAddr, &'a str> {
    let nodes: BTreeSet<&str> = seats.iter().flat_map(|seat| seat.candidates.keys().copied()).collect();
    let bound = bound(seats.len(), nodes.len(), load_percent);
    let mut load: BTreeMap<&str, usize> = BTreeMap::new();
    let mut leaders: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for seat in seats {
        if let Some(holder) = seat.holder {
            leaders.insert(seat.vip, holder);
            *load.entry(holder).or_default() += 1;
        }
    }
    for seat in seats.iter().filter(|seat| seat.holder.is_none()) {
        let room = |node: &&str| load.get(node).copied().unwrap_or(0) < bound;
        let by_rank = |node: &&'a str| rank::of_vip(seat.vip, node);
        let nodes = || seat.candidates.keys().copied();
        // All full, as only these nodes may lead it: the one with the least.
        let least = |node: &&'a str| (load.get(node).copied().unwrap_or(0), rank::of_vip(seat.vip, node));
        if let Some(node) = nodes().filter(room).min_by_key(by_rank).or_else(|| nodes().min_by_key(least)) {
            leaders.insert(seat.vip, node);
            *load.entry(node).or_default() += 1;
        }
    }
    shed(seats, bound, &mut load, &mut leaders);
    leaders
}

/// No node leads more: `percent` of an even share, rounded up.
pub(super) fn bound(vips: usize, nodes: usize, percent: u32) -> usize {
    let (vips, nodes, percent) = (vips as u128, nodes.max(1) as u128, u128::from(percent.max(100)));
    usize::try_from((vips * percent).div_ceil(nodes * 100)).unwrap_or(usize::MAX)
}

/// Nodes above the bound give what they rank lowest for to nodes that have room. Room only shrinks here, so that the
/// next call finds nothing more to move.
fn shed<'a>(
    seats: &[Seat<'a>],
    bound: usize,
    load: &mut BTreeMap<&'a str, usize>,
    leaders: &mut BTreeMap<IpAddr, &'a str>,
) {
    let overloaded: Vec<&str> = load.iter().filter(|(_, n)| **n > bound).map(|(node, _)| *node).collect();
    for node in overloaded {
        let mut held: Vec<&Seat<'a>> = seats.iter().filter(|seat| leaders.get(&seat.vip) == Some(&node)).collect();
        held.sort_by_key(|seat| std::cmp::Reverse(rank::of_vip(seat.vip, node)));
        for seat in held {
            if load.get(node).copied().unwrap_or(0) <= bound {
                break;
            }
            let taker = seat
                .candidates
                .keys()
                .copied()
                .filter(|other| load.get(other).copied().unwrap_or(0) < bound)
                .min_by_key(|other| rank::of_vip(seat.vip, other));
            if let Some(taker) = taker {
                leaders.insert(seat.vip, taker);
                *load.entry(taker).or_default() += 1;
                *load.entry(node).or_default() -= 1;
            }
        }
    }
}
