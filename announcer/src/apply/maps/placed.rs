//! Where tables lie in the arena. Services with equal tables share one; what nobody uses is free again after a grace
//! period, since a program may still be reading it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use announcer_ebpf::abi::{NO_NODE, SLOTS_PER_WORD, TableRef, Ticks, ticks_of_ms};

use super::{ledger::Ledger, nodes::Nodes};
use crate::{
    datapath::{Extents, Store},
    plan::{
        maglev::{self, NodeName},
        tables::Table,
    },
};

/// A program run takes microseconds; this is for one that was interrupted at the worst moment.
const GRACE: Ticks = ticks_of_ms(1_000);

/// The arena is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug)]
struct Use {
    at: TableRef,
    users: u32,
}

/// The arena and what lies in it.
#[derive(Debug)]
pub(super) struct Placed {
    /// In words of four slots.
    arena: Extents,
    words: u32,
    tables: BTreeMap<Table, Use>,
    /// Freed, not yet for reuse: since when, first word, words.
    retired: VecDeque<(Ticks, u32, u32)>,
}

fn words(slots: u32) -> u32 {
    slots.div_ceil(SLOTS_PER_WORD)
}

impl Placed {
    pub(super) fn new(slots: u32) -> Self {
        let words = slots / SLOTS_PER_WORD;
        Self { arena: Extents::new(words), words, tables: BTreeMap::new(), retired: VecDeque::new() }
    }

    /// Slots in use, and all.
    pub(super) fn slots(&self) -> [u32; 2] {
        [self.arena.used() * SLOTS_PER_WORD, self.words * SLOTS_PER_WORD]
    }

    /// Distinct tables in use.
    pub(super) fn len(&self) -> usize {
        self.tables.len()
    }

    /// Makes room of what was freed long enough ago.
    pub(super) fn reclaim(&mut self, now: Ticks) {
        while let Some((since, first, words)) = self.retired.front().copied()
            && now.wrapping_sub(since) > GRACE
        {
            self.retired.pop_front();
            self.arena.give(first, words);
        }
    }

    /// Whether room will be free without anyone's doing.
    pub(super) fn is_reclaiming(&self) -> bool {
        !self.retired.is_empty()
    }

    /// One more user of a table that lies at `at` already; false where another lies there.
    pub(super) fn adopt(&mut self, table: &Table, at: TableRef) -> bool {
        if at.rows < 2 {
            return true;
        }
        if let Some(held) = self.tables.get_mut(table) {
            held.users += 1;
            return held.at == at;
        }
        if !at.base.is_multiple_of(SLOTS_PER_WORD) || !self.arena.reserve(at.base / SLOTS_PER_WORD, words(at.rows)) {
            return false;
        }
        self.tables.insert(table.clone(), Use { at, users: 1 });
        true
    }

    /// One more user of a table, which is made where nobody has it yet.
    pub(super) fn place(
        &mut self,
        table: &Table,
        nodes: &Nodes,
        store: &mut impl Store,
        ledger: &mut Ledger,
    ) -> Result<TableRef, Full> {
        let (weights, rows) = match table {
            Table::Found(at) => {
                if let Some(held) = self.tables.get_mut(table) {
                    held.users += 1;
                }
                return Ok(*at);
            }
            Table::Made { weights, rows } => (weights, *rows),
        };
        let index = |name: &NodeName| nodes.index(name).unwrap_or(NO_NODE);
        if rows < 2 {
            let owner = weights.iter().next().map_or(NO_NODE, |(name, _)| index(name));
            return Ok(TableRef { base: if rows == 0 { 0 } else { owner.into() }, rows });
        }
        if let Some(held) = self.tables.get_mut(table) {
            held.users += 1;
            return Ok(held.at);
        }
        let at = TableRef { base: self.take(rows)?, rows };
        let names: Vec<u16> = weights.iter().map(|(name, _)| index(name)).collect();
        let slots: Vec<u16> = maglev::table(weights, rows).into_iter().map(|owner| names[usize::from(owner)]).collect();
        store.write_slots(at.base, &slots);
        ledger.table(at.base, rows, weights);
        self.tables.insert(table.clone(), Use { at, users: 1 });
        Ok(at)
    }

    /// One user less.
    pub(super) fn release(&mut self, table: &Table, now: Ticks) {
        let Some(held) = self.tables.get_mut(table) else { return };
        held.users = held.users.saturating_sub(1);
        if held.users == 0
            && let Some(held) = self.tables.remove(table)
        {
            self.retire(held.at, now);
        }
    }

    /// Takes over a slice of a Service's own; false where something else lies there.
    pub(super) fn adopt_slice(&mut self, at: TableRef) -> bool {
        at.rows < 2
            || at.base.is_multiple_of(SLOTS_PER_WORD) && self.arena.reserve(at.base / SLOTS_PER_WORD, words(at.rows))
    }

    /// Writes a slice of a Service's own: `values` in order, none shared.
    pub(super) fn place_slice(&mut self, values: &[u16], store: &mut impl Store) -> Result<TableRef, Full> {
        let rows = values.len() as u32;
        match values {
            [] => Ok(TableRef::default()),
            [only] => Ok(TableRef { base: (*only).into(), rows }),
            _ => {
                let base = self.take(rows)?;
                store.write_slots(base, values);
                Ok(TableRef { base, rows })
            }
        }
    }

    /// Frees a slice, or a table.
    pub(super) fn retire(&mut self, at: TableRef, now: Ticks) {
        if at.rows >= 2 {
            self.retired.push_back((now, at.base / SLOTS_PER_WORD, words(at.rows)));
        }
    }

    fn take(&mut self, slots: u32) -> Result<u32, Full> {
        self.arena.take(words(slots)).map(|word| word * SLOTS_PER_WORD).ok_or(Full)
    }

    /// Tables of which the ledger must know: first slot, rows, table.
    pub(super) fn tables(&self) -> impl Iterator<Item = (TableRef, &Table)> {
        self.tables.iter().map(|(table, held)| (held.at, table))
    }

    /// Nodes that tables in the arena lead to; None where that is not known of one of them.
    pub(super) fn mentioned(&self) -> Option<BTreeSet<NodeName>> {
        let mut mentioned = BTreeSet::new();
        for table in self.tables.keys() {
            let Table::Made { weights, .. } = table else { return None };
            mentioned.extend(weights.iter().map(|(name, _)| name.clone()));
        }
        Some(mentioned)
    }
}
