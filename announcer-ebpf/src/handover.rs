//! Who may have a flow, and to whom a node that does not know it hands it on.
//!
//! A Service has its newest table and a list of earlier ones. **A flow's owners are the owners of its rows in these
//! tables, newest first**, without duplicates, at most [`MAX_OWNERS`], without nodes whose data path is dead. Each node
//! uses its own list; with equal lists every owner is asked, and with any lists the walk ends after [`MAX_HOPS`] hops.

use crate::abi::{
    Earlier, MAX_EARLIER, MAX_OWNERS, NO_NODE, ServiceEntry, TableRef, Ticks, UDP_TIMEOUT_MS, ticks_of_ms,
};
use crate::hash::row;

/// Most hops of a frame (3 bits).
pub const MAX_HOPS: u32 = 7;

/// The owners of a flow, newest first: eight 16-bit lanes in two words, so that the programs need neither a stack
/// array with a variable index nor a loop to find a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owners {
    lanes: [u64; 2],
    len: u32,
}

const ONES: u64 = 0x0001_0001_0001_0001;
const TOPS: u64 = 0x8000_8000_8000_8000;

impl Owners {
    /// How many there are.
    #[inline(always)]
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
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
        if place >= self.len {
            return NO_NODE;
        }
        let word = if place < 4 { self.lanes[0] } else { self.lanes[1] };
        (word >> ((place & 3) * 16)) as u16
    }

    /// Adds an owner unless it is there or the list is full.
    #[inline(always)]
    pub const fn push(&mut self, node: u16) {
        if self.len >= MAX_OWNERS as u32 || self.contains(node) {
            return;
        }
        let bits = (node as u64) << ((self.len & 3) * 16);
        if self.len < 4 {
            self.lanes[0] |= bits;
        } else {
            self.lanes[1] |= bits;
        }
        self.len += 1;
    }

    /// The place of a node in the list.
    #[inline(always)]
    #[must_use]
    pub const fn position(&self, node: u16) -> Option<u32> {
        let mut place = 0;
        while place < MAX_OWNERS as u32 {
            if place < self.len && self.get(place) == node {
                return Some(place);
            }
            place += 1;
        }
        None
    }

    /// Whether a node is in the list. Unused lanes hold 0, which is a node's index too: they are masked out.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, node: u16) -> bool {
        let pattern = node as u64 * ONES;
        let low = zero_lanes(self.lanes[0] ^ pattern) & used_lanes(self.len);
        let high = zero_lanes(self.lanes[1] ^ pattern) & used_lanes(self.len.saturating_sub(4));
        low | high != 0
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
            Some(place) => (place + 1, self.len),
            None => (0, self.len + 1),
        };
        if hop >= MAX_HOPS || self.len == 0 || hop >= limit {
            return None;
        }
        let place = if first >= self.len { 0 } else { first };
        let mut node = self.get(place);
        if node == sender {
            node = self.get(if place + 1 >= self.len { 0 } else { place + 1 });
        }
        if node == me || node == sender { None } else { Some(node) }
    }
}

/// The top bit of each 16-bit lane that is zero; no carry passes from lane to lane, so it is exact.
#[inline(always)]
const fn zero_lanes(word: u64) -> u64 {
    !(((word & !TOPS) + !TOPS) | word | !TOPS)
}

/// The top bits of the first `count` lanes of a word.
#[inline(always)]
const fn used_lanes(count: u32) -> u64 {
    if count >= 4 { TOPS } else { TOPS & ((1 << (count * 16)) - 1) }
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
/// out: what they led to has been forgotten. `alive` says whether a node's data path lives on the link in question.
#[inline(always)]
pub fn owners(
    service: &ServiceEntry,
    hash: u32,
    udp: bool,
    now: Ticks,
    slot: impl Fn(u32) -> Option<u16>,
    alive: impl Fn(u16) -> bool,
) -> Owners {
    let mut owners = Owners::default();
    if let Some(node) = owner(service.newest, hash, &slot)
        && alive(node)
    {
        owners.push(node);
    }
    let mut place = 0;
    while place < MAX_EARLIER {
        if place >= service.earlier_len as usize {
            break;
        }
        let earlier: Earlier = service.earlier[place];
        place += 1;
        if udp && now.wrapping_sub(earlier.superseded) > ticks_of_ms(UDP_TIMEOUT_MS) {
            continue;
        }
        if let Some(node) = owner(earlier.table, hash, &slot)
            && alive(node)
        {
            owners.push(node);
        }
    }
    owners
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
