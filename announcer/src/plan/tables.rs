//! A Service's list of tables: the newest, by which new flows find their node, and the earlier ones that flows may still
//! need. See ARCHITECTURE.md, "Why connections survive".
//!
//! A table is named by its inputs, so that Services with equal inputs share it and all nodes mean the same by it. The
//! list is kept short in three ways: what nobody needs is dropped; changes that only add are gathered; and when it is
//! full, the oldest tables are replaced by what they say of at most [`MAX_OWNERS`] nodes: one table with one owner for
//! each node that they mention. Such a list leads every flow to its node, if by more hops, so that on so few nodes no
//! sequence of changes loses a flow.

use std::{collections::BTreeSet, time::Duration};

use announcer_ebpf::abi::{MAX_EARLIER, MAX_OWNERS, TableRef, Ticks, UDP_TIMEOUT_MS, ticks_of_ms};

use super::maglev::{NodeName, Weights, rows_for};
use crate::world::model::Moment;

/// How long changes that only add endpoints are gathered.
pub const GATHER: Duration = Duration::from_secs(1);

/// A table, by what it was made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Maglev over `weights` (in the smallest numbers of their proportion) with `rows` rows.
    Made { weights: Weights, rows: u32 },
    /// A table found in the maps whose inputs are not known any more.
    Found(TableRef),
}

impl Default for Table {
    fn default() -> Self {
        Self::Made { weights: Weights::default(), rows: 0 }
    }
}

impl Table {
    /// The table for `weights` where the newest one has `previous` rows.
    #[must_use]
    pub fn of(weights: &Weights, previous: u32) -> Self {
        Self::Made { weights: weights.reduced(), rows: rows_for(weights.len(), previous) }
    }

    /// One node has every flow.
    #[must_use]
    pub fn single(node: NodeName) -> Self {
        Self::Made { weights: [(node, 1)].into_iter().collect(), rows: 1 }
    }

    #[must_use]
    pub fn rows(&self) -> u32 {
        match self {
            Self::Made { rows, .. } => *rows,
            Self::Found(table) => table.rows,
        }
    }

    /// The nodes that it leads to; None: not known.
    fn nodes(&self) -> Option<impl Iterator<Item = &NodeName>> {
        match self {
            Self::Made { weights, .. } => Some(weights.iter().map(|(name, _)| name)),
            Self::Found(_) => None,
        }
    }
}

/// A table that is no longer the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    pub table: Table,
    /// When it ceased to be the newest.
    pub superseded: Ticks,
}

/// One Service port's tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    pub newest: Table,
    /// Newest first, no two equal, none equal to `newest`, at most [`MAX_EARLIER`].
    pub earlier: Vec<Earlier>,
    /// When the list last changed.
    pub changed: Ticks,
    /// The weights that `newest` was made for, not reduced.
    asked: Weights,
    /// Since when an addition waits.
    waiting: Option<Moment>,
}

/// What a change of a list depends on.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Ready endpoints by node.
    pub weights: &'a Weights,
    pub now: Moment,
    /// `now` as the data path counts.
    pub ticks: Ticks,
    /// Earlier tables are forgotten with the flows, after the UDP timeout.
    pub udp: bool,
    pub need: Need<'a>,
}

/// Who needs the earlier tables.
#[derive(Debug, Clone, Copy, Default)]
pub struct Need<'a> {
    /// Known flows that no other table of the list leads to, in the order of [`History::earlier`]; what is missing
    /// counts as 0.
    pub flows: &'a [u64],
    /// Every node that may have flows has been counted: what no flow needs can go at once. Without that, it goes only
    /// from a full list.
    pub complete: bool,
}

/// What [`History::step`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// The list differs from before.
    pub changed: bool,
    /// An addition waits; ask again then.
    pub look_again: Option<Moment>,
    /// A table was given up that so many known flows needed.
    pub lost: Option<u64>,
}

impl History {
    /// A list found in the maps.
    #[must_use]
    pub fn adopted(newest: Table, earlier: Vec<Earlier>, changed: Ticks) -> Self {
        let asked = match &newest {
            Table::Made { weights, .. } => weights.clone(),
            Table::Found(_) => Weights::default(),
        };
        Self { newest, earlier, changed, asked, waiting: None }
    }

    /// All tables, newest first.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.newest).chain(self.earlier.iter().map(|earlier| &earlier.table))
    }

    /// Brings the list to `inputs`: losses at once, additions when they have been gathered.
    pub fn step(&mut self, inputs: &Inputs<'_>) -> Step {
        let mut need = inputs.need.flows.to_vec();
        need.resize(self.earlier.len(), 0);
        let mut step = Step { changed: self.forget(inputs, &mut need), ..Step::default() };
        let as_before = *inputs.weights == self.asked && matches!(self.newest, Table::Made { .. });
        let wanted = if as_before { self.newest.clone() } else { Table::of(inputs.weights, self.newest.rows()) };
        if wanted == self.newest {
            self.asked = inputs.weights.clone();
            self.waiting = None;
        } else {
            let adds = !self.asked.is_empty() && inputs.weights.only_adds_to(&self.asked);
            let due = Moment(self.waiting.unwrap_or(inputs.now).0 + GATHER);
            if adds && inputs.now < due {
                self.waiting.get_or_insert(inputs.now);
                step.look_again = Some(due);
            } else if let Some(earlier) = self.superseding(&wanted, inputs.ticks, need, adds, &mut step.lost) {
                *self = Self { earlier, ..Self::adopted(wanted, Vec::new(), inputs.ticks) };
                self.asked = inputs.weights.clone();
                step.changed = true;
            } else {
                step.look_again = Some(Moment(inputs.now.0 + GATHER));
            }
        }
        if step.changed {
            self.changed = inputs.ticks;
        }
        step
    }

    /// Drops what no flow can need any more; whether there was any.
    fn forget(&mut self, inputs: &Inputs<'_>, need: &mut Vec<u64>) -> bool {
        let needed = |earlier: &Earlier, flows: u64| {
            let age = inputs.ticks.wrapping_sub(earlier.superseded);
            let (timed_out, unused) =
                (inputs.udp && age > ticks_of_ms(UDP_TIMEOUT_MS), inputs.need.complete && flows == 0);
            !timed_out && !unused
        };
        let before = self.earlier.len();
        let all = std::mem::take(&mut self.earlier).into_iter().zip(std::mem::take(need));
        (self.earlier, *need) = all.filter(|(earlier, flows)| needed(earlier, *flows)).unzip();
        self.earlier.len() < before
    }

    /// The list of earlier tables once `wanted` is the newest; None: there is no room, and `adds` can wait.
    fn superseding(
        &self,
        wanted: &Table,
        ticks: Ticks,
        need: Vec<u64>,
        adds: bool,
        lost: &mut Option<u64>,
    ) -> Option<Vec<Earlier>> {
        let mut list: Vec<(Earlier, u64)> = self.earlier.iter().cloned().zip(need).collect();
        list.retain(|(earlier, _)| earlier.table != *wanted);
        if self.newest.rows() > 0 {
            // Flows that need it are not counted while it is the newest.
            list.insert(0, (Earlier { table: self.newest.clone(), superseded: ticks }, u64::MAX));
        }
        if list.len() > MAX_EARLIER {
            if let Some(gathered) = gathered(&list, wanted) {
                return Some(gathered);
            }
            let (oldest_of_least, flows) =
                list.iter().enumerate().rev().map(|(at, (_, flows))| (at, *flows)).min_by_key(|(_, flows)| *flows)?;
            if flows > 0 {
                if adds {
                    return None;
                }
                *lost = Some(flows);
            }
            list.remove(oldest_of_least);
        }
        Some(list.into_iter().map(|(earlier, _)| earlier).collect())
    }
}

/// A list that fits: its oldest tables replaced by one with one owner for each node that the list leads to. None where
/// these are more than a flow can have owners.
fn gathered(list: &[(Earlier, u64)], wanted: &Table) -> Option<Vec<Earlier>> {
    let mut nodes: BTreeSet<&NodeName> = wanted.nodes()?.collect();
    for (earlier, _) in list {
        nodes.extend(earlier.table.nodes()?);
    }
    if nodes.len() > MAX_OWNERS {
        return None;
    }
    let is_single = |table: &Table| matches!(table, Table::Made { rows: 1, .. });
    let (kept, replaced): (Vec<_>, Vec<_>) = {
        let mut room = MAX_EARLIER - nodes.len();
        list.iter().map(|(earlier, _)| earlier).partition(|earlier| {
            let fits = room > 0 && !is_single(&earlier.table);
            room -= usize::from(fits);
            fits
        })
    };
    // As old as the newest of what it stands for, so that UDP forgets neither too early.
    let superseded = replaced.first()?.superseded;
    let singles = nodes.into_iter().map(|node| Earlier { table: Table::single(node.clone()), superseded });
    let singles = singles.filter(|single| single.table != *wanted);
    Some(kept.into_iter().cloned().chain(singles).collect())
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
