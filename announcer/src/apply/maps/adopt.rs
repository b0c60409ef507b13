//! Understanding the Services' entries that an earlier run left: which tables their lists hold, by name where the ledger
//! and the arena agree, else as they were found.

use std::collections::BTreeMap;

use announcer_ebpf::abi::{ServiceKey, TableRef};
use tracing::warn;

use super::{ledger::Names, nodes::Nodes, placed::Placed, services::Held};
use crate::{
    datapath::{Contents, Store},
    plan::{
        maglev::{self, NodeName, Weights},
        tables::{Earlier, History, Table},
    },
};

/// Every entry with its list. An entry whose slots overlap another's is left out (its key will be written anew).
pub(super) fn services(
    contents: &Contents,
    names: &Names,
    nodes: &Nodes,
    placed: &mut Placed,
    store: &impl Store,
) -> BTreeMap<ServiceKey, Held> {
    let mut known = BTreeMap::<TableRef, Table>::new();
    let mut table = |at: TableRef, placed: &mut Placed| {
        let table = known.entry(at).or_insert_with(|| named(at, names, nodes, store)).clone();
        if placed.adopt(&table, at) { Some(table) } else { None }
    };
    let mut services = BTreeMap::new();
    for (key, entry) in &contents.services {
        let newest = table(entry.newest, placed);
        let earlier: Option<Vec<Earlier>> = entry
            .earlier
            .iter()
            .take(usize::from(entry.earlier_len))
            .map(|earlier| Some(Earlier { table: table(earlier.table, placed)?, superseded: earlier.superseded }))
            .collect();
        let (Some(newest), Some(earlier), true) = (newest, earlier, placed.adopt_slice(entry.local)) else {
            warn!(?key, "an entry of the data path contradicts another and is written anew");
            continue;
        };
        let history = History::adopted(newest, earlier, entry.changed);
        services.insert(*key, Held::adopted(*entry, history, slice(entry.local, store)));
    }
    services
}

/// The table at a place: by name, if what the ledger says of it is what the arena holds.
fn named(at: TableRef, names: &Names, nodes: &Nodes, store: &impl Store) -> Table {
    match at.rows {
        0 => Table::default(),
        1 => match nodes.name_at(at.base as u16) {
            Some(owner) => Table::single(owner.clone()),
            None => Table::Found(at),
        },
        rows => match names.tables.get(&at.base) {
            Some((said, weights)) if *said == rows && holds(at, weights, nodes, store) => {
                Table::Made { weights: weights.clone(), rows }
            }
            _ => Table::Found(at),
        },
    }
}

fn holds(at: TableRef, weights: &Weights, nodes: &Nodes, store: &impl Store) -> bool {
    let index = |(name, _): (&NodeName, u32)| nodes.index(name);
    let Some(indices) = weights.iter().map(index).collect::<Option<Vec<u16>>>() else { return false };
    let table = maglev::table(weights, at.rows);
    table.len() == at.rows as usize
        && (at.base..).zip(table).all(|(slot, owner)| store.slot(slot) == Some(indices[usize::from(owner)]))
}

fn slice(at: TableRef, store: &impl Store) -> Vec<u16> {
    match at.rows {
        0 => Vec::new(),
        1 => vec![at.base as u16],
        rows => (at.base..at.base.saturating_add(rows)).map_while(|slot| store.slot(slot)).collect(),
    }
}
