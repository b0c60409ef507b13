//! Links: a slot each, by which the programs on them know where they are.

use std::collections::{BTreeMap, BTreeSet};

use announcer_ebpf::abi::{LinkEntry, MAX_LINKS};

use super::ledger::Ledger;
use crate::{
    datapath::{Contents, Error, Store},
    plan::forwarding::Forwarding,
    world::model::AttachMode,
};

/// A link that has, or had, the programs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    slot: u32,
    mode: Option<AttachMode>,
    /// The programs are on it.
    attached: bool,
    /// As the map has it.
    entry: LinkEntry,
}

/// The links as the maps have them, by name.
#[derive(Debug)]
pub(super) struct Links {
    held: BTreeMap<String, Held>,
    /// `LINKS` as it was found.
    found: Vec<LinkEntry>,
}

impl Links {
    /// Takes over what the maps hold, by the names of the ledger.
    pub(super) fn adopt(contents: &Contents, names: &BTreeMap<u32, (String, Option<AttachMode>)>) -> Self {
        let held = names.iter().map(|(slot, (name, mode))| {
            let entry = contents.links.get(*slot as usize).copied().unwrap_or_default();
            (name.clone(), Held { slot: *slot, mode: *mode, attached: false, entry })
        });
        Self { held: held.collect(), found: contents.links.clone() }
    }

    /// The programs of an earlier run are pinned for link `name` and attached to interface `index`. Their slot is that
    /// of the ledger, else the one whose entry has this interface; where neither fits, the link is as if it had none.
    pub(super) fn adopt_pinned(&mut self, name: &str, index: u32) {
        if let Some(held) = self.held.get_mut(name)
            && held.entry.ifindex == index
        {
            held.attached = true;
        } else if let Some(found) = self.found.iter().position(|entry| entry.ifindex == index && index != 0)
            && self.held.values().all(|held| held.slot != found as u32)
        {
            let held = Held { slot: found as u32, mode: None, attached: true, entry: self.found[found] };
            self.held.insert(name.to_owned(), held);
        }
    }

    /// The slot of a link, a new one where it has none, with its entry written; None: all are taken.
    pub(super) fn slot(
        &mut self,
        name: &str,
        entry: LinkEntry,
        store: &mut impl Store,
        ledger: &mut Ledger,
    ) -> Result<Option<u32>, Error> {
        let known = self.held.get(name).map(|held| held.slot);
        let taken: BTreeSet<u32> = self.held.values().map(|held| held.slot).collect();
        let Some(slot) = known.or_else(|| (0..MAX_LINKS).find(|slot| !taken.contains(slot))) else { return Ok(None) };
        let new = Held { slot, mode: None, attached: false, entry: LinkEntry::default() };
        let held = self.held.entry(name.to_owned()).or_insert(new);
        if known.is_none() {
            ledger.link(slot, name, None);
            ledger.flush()?;
        }
        if held.entry != entry {
            store.set_link(slot, &entry)?;
            held.entry = entry;
        }
        Ok(Some(slot))
    }

    /// How an earlier run, or this one, attached the programs.
    pub(super) fn mode(&self, name: &str) -> Option<AttachMode> {
        self.held.get(name)?.mode
    }

    /// The programs are on a link now.
    pub(super) fn set_attached(&mut self, name: &str, mode: AttachMode, ledger: &mut Ledger) -> Result<(), Error> {
        if let Some(held) = self.held.get_mut(name) {
            (held.mode, held.attached) = (Some(mode), true);
            ledger.link(held.slot, name, held.mode);
        }
        ledger.flush()
    }

    /// The programs are off a link, for good.
    pub(super) fn remove(&mut self, name: &str, store: &mut impl Store) -> Result<(), Error> {
        match self.held.remove(name) {
            Some(held) => store.set_link(held.slot, &LinkEntry::default()),
            None => Ok(()),
        }
    }

    /// Links with programs, with their mode.
    pub(super) fn attached(&self) -> impl Iterator<Item = (&String, Option<AttachMode>)> {
        self.held.iter().filter(|(_, held)| held.attached).map(|(name, held)| (name, held.mode))
    }

    /// Slots of links with programs.
    pub(super) fn slots(&self) -> BTreeMap<String, u32> {
        let attached = self.held.iter().filter(|(_, held)| held.attached);
        attached.map(|(name, held)| (name.clone(), held.slot)).collect()
    }

    /// A link's MAC may change while it is attached; how many did.
    pub(super) fn follow_macs(&mut self, plan: &Forwarding, store: &mut impl Store) -> Result<usize, Error> {
        let mut writes = 0;
        let own = plan.nodes.values().filter(|node| node.me).flat_map(|node| &node.links);
        for (name, (mac, _)) in own {
            if let Some(held) = self.held.get_mut(name)
                && held.attached
                && held.entry.mac != mac.0
            {
                held.entry.mac = mac.0;
                store.set_link(held.slot, &held.entry)?;
                writes += 1;
            }
        }
        Ok(writes)
    }

    /// For the ledger.
    pub(super) fn names(&self) -> BTreeMap<u32, (String, Option<AttachMode>)> {
        self.held.iter().map(|(name, held)| (held.slot, (name.clone(), held.mode))).collect()
    }
}
