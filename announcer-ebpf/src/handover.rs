//! Who may have a flow, and to whom a node that does not know it hands it on.
//!
//! A Service has its newest table and a list of earlier ones. **A flow's owners are the owners of its rows in these
//! tables, newest first**, without duplicates, at most [`MAX_OWNERS`], without nodes whose data path is dead. Each node
//! uses its own list; with equal lists every owner is asked, and with any lists the walk ends after [`MAX_HOPS`] hops.

use core::hint::black_box;

use crate::abi::{
    Earlier, MAX_EARLIER, MAX_OWNERS, NO_NODE, ServiceEntry, TableRef, Ticks, UDP_TIMEOUT_MS, elapsed, ticks_of_ms,
};
use crate::hash::row;

/// Most hops of a frame (3 bits).
pub const MAX_HOPS: u32 = 7;

/// The owners of a flow, newest first: eight 16-bit lanes in two words, the newest in the highest lane in use, the rest
/// [`NO_NODE`]. So the programs need neither a stack array with a variable index nor a loop to find a duplicate, and
/// the verifier has few states to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owners {
    high: u64,
    low: u64,
    len: u64,
}

impl Default for Owners {
    #[inline(always)]
    fn default() -> Self {
        Self { high: u64::MAX, low: u64::MAX, len: 0 }
    }
}

const ONES: u64 = 0x0001_0001_0001_0001;
const TOPS: u64 = 0x8000_8000_8000_8000;

impl Owners {
    /// How many there are.
    #[inline(always)]
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len as u32
    }

    /// Whether there is none.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The owner at `place` (0 = newest); [`NO_NODE`] beyond the end.
    #[inline(always)]
    #[must_use]
    pub const fn get(&self, place: u32) -> u16 {
        let lane = (self.len as u32).wrapping_sub(1).wrapping_sub(place);
        if lane >= MAX_OWNERS as u32 {
            return NO_NODE;
        }
        let word = if lane >= 4 { self.high } else { self.low };
        (word >> ((lane & 3) * 16)) as u16
    }

    /// Adds an owner if `wanted` is 1 (not if 0), unless it is there or the list is full.
    ///
    /// Without a branch: the verifier walks on from every outcome of one, and it comes by here once for each table of
    /// the list.
    #[inline(always)]
    pub const fn push(&mut self, node: u16, wanted: u64) {
        let found = self.lanes_of(node);
        let found = found.0 | found.1;
        let found = found >> 32 | found;
        let found = (found >> 16 | found) >> 15;
        let full = self.len / MAX_OWNERS as u64;
        let add = wanted & !(found | full) & 1;
        // 16 or 0 places; all ones or none.
        let (shift, mask) = (add * 16, add.wrapping_neg());
        self.high = self.high << shift | (self.low >> 48) & mask;
        self.low = self.low << shift | node as u64 & mask;
        self.len += add;
    }

    /// The place of a node in the list.
    #[inline(always)]
    #[must_use]
    pub const fn position(&self, node: u16) -> Option<u32> {
        let (high, low) = self.lanes_of(node);
        if node == NO_NODE || high | low == 0 {
            return None;
        }
        let lane = if low != 0 { lane_of(low) } else { 4 + lane_of(high) };
        Some((self.len as u32).wrapping_sub(1).wrapping_sub(lane))
    }

    /// Whether a node is in the list.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, node: u16) -> bool {
        self.position(node).is_some()
    }

    /// The top bits of the lanes that hold a node, in `high` and `low`.
    #[inline(always)]
    const fn lanes_of(&self, node: u16) -> (u64, u64) {
        let pattern = node as u64 * ONES;
        (zero_lanes(self.high ^ pattern), zero_lanes(self.low ^ pattern))
    }

    /// The newest owner other than `node`; [`NO_NODE`] when there is none.
    #[inline(always)]
    #[must_use]
    pub const fn newest_other_than(&self, node: u16) -> u16 {
        let newest = self.get(0);
        if newest == node { self.get(1) } else { newest }
    }

    /// To whom node `me`, which does not know the flow, hands it on: the owner after itself, round the end, never the
    /// sender ([`NO_NODE`] = the frame is not a handed one). A node that is not in its own list begins at the newest.
    /// `None`: the list has ended, that is as many hops are done as it has owners, [`MAX_HOPS`] in any case.
    #[inline(always)]
    #[must_use]
    pub const fn next(&self, me: u16, sender: u16, hop: u32) -> Option<u16> {
        let (first, limit) = match self.position(me) {
            Some(place) => (place + 1, self.len()),
            None => (0, self.len() + 1),
        };
        if hop >= MAX_HOPS || self.len == 0 || hop >= limit {
            return None;
        }
        let place = if first >= self.len() { 0 } else { first };
        let mut node = self.get(place);
        if node == sender {
            node = self.get(if place + 1 >= self.len() { 0 } else { place + 1 });
        }
        if node == me || node == sender { None } else { Some(node) }
    }
}

/// The top bit of each 16-bit lane that is zero; no carry passes from lane to lane, so it is exact.
#[inline(always)]
const fn zero_lanes(word: u64) -> u64 {
    !(((word & !TOPS) + !TOPS) | word | !TOPS)
}

/// The lane (0 = lowest) whose top bit is the one bit of a word.
#[inline(always)]
const fn lane_of(top: u64) -> u32 {
    // The product's top lane is the factor's lane that is as far below it as the bit's lane is above the lowest.
    ((top >> 15).wrapping_mul(0x0000_0001_0002_0003) >> 48) as u32
}

/// The owner of a flow in a table, by `slot`, which reads the arena. `None`: nobody, or a slot that is not there.
#[inline(always)]
pub fn owner(table: TableRef, hash: u32, slot: impl Fn(u32) -> Option<u16>) -> Option<u16> {
    match table.rows {
        0 => None,
        1 => Some(table.base as u16),
        rows => slot(table.base.wrapping_add(row(hash, rows))),
    }
    .filter(|&owner| owner != NO_NODE)
}

/// The owners of a flow by a Service's entry. For UDP, tables that ceased to be the newest before its timeout are left
/// out: what they led to has been forgotten. `alive` says whether a node's data path lives on the link in question: 1 or
/// 0, a number for [`Owners::push`]'s sake; 0 for [`NO_NODE`].
#[inline(always)]
pub fn owners(
    service: &ServiceEntry,
    hash: u32,
    udp: bool,
    now: Ticks,
    slot: impl Fn(u32) -> Option<u16>,
    alive: impl Fn(u16) -> u64,
) -> Owners {
    // A black box: else the compiler would make a branch of it inside the loop, for one limit or the other, and the
    // verifier would walk the rest of the loop for each of them, in every round.
    let oldest = black_box(if udp { ticks_of_ms(UDP_TIMEOUT_MS) } else { Ticks::MAX });
    let mut owners = Owners::default();
    let mut table = service.newest;
    let mut place = 0;
    loop {
        let node = owner(table, hash, &slot).unwrap_or(NO_NODE);
        owners.push(node, alive(node));
        // Tables superseded before the limit are the oldest, so the list ends with the first of them.
        if place >= MAX_EARLIER || place >= service.earlier_len as usize {
            return owners;
        }
        let earlier: Earlier = service.earlier[place];
        if elapsed(now, earlier.superseded) > oldest {
            return owners;
        }
        table = earlier.table;
        place += 1;
    }
}

/// What a node that does not know a flow does with it, by its list: where the flow may go from here. [`NO_NODE`] =
/// nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ways {
    /// [`Owners::next`].
    pub next: u16,
    /// The newest owner.
    pub newest: u16,
    /// The newest owner that is not this node.
    pub other: u16,
}

impl Ways {
    /// By a list of owners.
    #[inline(always)]
    #[must_use]
    pub const fn of(owners: &Owners, me: u16, sender: u16, hop: u32) -> Self {
        let next = match owners.next(me, sender, hop) {
            Some(node) => node,
            None => NO_NODE,
        };
        Self { next, newest: owners.get(0), other: owners.newest_other_than(me) }
    }
}

/// How a handed frame is marked: an EtherType of its own, and hop and family where the IP version was.
pub mod mark {
    use super::MAX_HOPS;

    /// "Handed on": IEEE 802 local experimental EtherType 1, as loaded from the packet.
    pub const HANDED_ON: u16 = 0x88B5_u16.to_be();
    /// "Take it": IEEE 802 local experimental EtherType 2, as loaded from the packet.
    pub const TAKE_IT: u16 = 0x88B6_u16.to_be();

    /// The first byte of a handed IPv4 packet: family 0 (1 bit) and hop number (3 bits) in place of the version; the
    /// header's length stays.
    #[inline(always)]
    #[must_use]
    pub const fn ipv4(version_and_length: u8, hop: u32) -> u8 {
        let hop = if hop > MAX_HOPS { MAX_HOPS } else { hop };
        (hop as u8) << 4 | version_and_length & 0x0F
    }

    /// Reads such a byte: the byte as IPv4 has it, and the hop number. `None`: the other family.
    #[inline(always)]
    #[must_use]
    pub const fn restore_ipv4(marked: u8) -> Option<(u8, u32)> {
        if marked & 0x80 != 0 {
            return None;
        }
        Some((0x40 | marked & 0x0F, (marked >> 4) as u32))
    }
}

#[cfg(test)]
mod tests;
