//! Nodes: their indices, how they are reached on each link, and which MACs are peers'.

use std::collections::{BTreeMap, BTreeSet};

use announcer_ebpf::abi::{
    MAX_LINKS, MAX_NODES, NODE_ALIVE, NODE_PRESENT, NODE_SELF, NodeEntry, PeerEntry, PeerKey, addr, map,
};

use super::{Pass, Refusal, ledger::Ledger};
use crate::{
    datapath::{Contents, Error, Extents, Store},
    plan::{forwarding::Node, maglev::NodeName},
};

/// The nodes as the maps have them.
#[derive(Debug)]
pub(super) struct Nodes {
    index_of: BTreeMap<NodeName, u16>,
    name_of: BTreeMap<u16, NodeName>,
    indices: Extents,
    entries: Vec<NodeEntry>,
    peers: BTreeMap<PeerKey, PeerEntry>,
}

impl Nodes {
    /// Takes over what the maps hold. `names` may know less than the maps: such an index keeps its entry until a node
    /// with its MAC claims it.
    pub(super) fn adopt(contents: &Contents, names: &BTreeMap<u16, String>) -> Self {
        let mut nodes = Self {
            index_of: BTreeMap::new(),
            name_of: BTreeMap::new(),
            indices: Extents::new(MAX_NODES),
            entries: contents.nodes.clone(),
            peers: contents.peers.iter().copied().collect(),
        };
        nodes.entries.resize((MAX_LINKS * MAX_NODES) as usize, NodeEntry::default());
        for (index, name) in names {
            if nodes.indices.reserve(u32::from(*index), 1) {
                nodes.name(*index, NodeName::from(name.as_str()));
            }
        }
        let present = nodes.entries.iter().enumerate().filter(|(_, entry)| entry.flags & NODE_PRESENT != 0);
        for (place, _) in present {
            // False where it is named: reserved already.
            nodes.indices.reserve(place as u32 % MAX_NODES, 1);
        }
        nodes
    }

    fn name(&mut self, index: u16, name: NodeName) {
        self.index_of.insert(name.clone(), index);
        self.name_of.insert(index, name);
    }

    pub(super) fn index(&self, name: &str) -> Option<u16> {
        self.index_of.get(name).copied()
    }

    pub(super) fn name_at(&self, index: u16) -> Option<&NodeName> {
        self.name_of.get(&index)
    }

    pub(super) fn named(&self) -> impl Iterator<Item = (u16, &NodeName)> {
        self.name_of.iter().map(|(index, name)| (*index, name))
    }

    /// Gives every node of the plan an index. `links`: slots of the attached links by name.
    pub(super) fn assign(
        &mut self,
        plan: &BTreeMap<NodeName, Node>,
        links: &BTreeMap<String, u32>,
        ledger: &mut Ledger,
        pass: &mut Pass,
    ) {
        for (name, node) in plan {
            if self.index_of.contains_key(name) {
                continue;
            }
            let Some(index) = self.nameless(node, links).or_else(|| self.indices.take(1).map(|index| index as u16))
            else {
                pass.refused.insert(Refusal::Full {
                    map: map::NODES,
                    most: MAX_NODES,
                    what: format!("node {name}"),
                    remedy: "announcer serves no more nodes in a cluster",
                    service: None,
                });
                continue;
            };
            ledger.node(index, name);
            self.name(index, name.clone());
        }
    }

    /// An index without a name whose entry has the node's MAC: what an earlier run called this node.
    fn nameless(&self, node: &Node, links: &BTreeMap<String, u32>) -> Option<u16> {
        let mut places = links.iter().filter_map(|(link, slot)| Some((*slot, node.links.get(link)?.0)));
        places.find_map(|(slot, mac)| {
            let first = (slot * MAX_NODES) as usize;
            let on_link = &self.entries[first..first + MAX_NODES as usize];
            let is_it = |entry: &NodeEntry| entry.flags & NODE_PRESENT != 0 && entry.mac == mac.0;
            let index = on_link.iter().position(is_it)? as u16;
            (!self.name_of.contains_key(&index)).then_some(index)
        })
    }

    /// What `NODES` shall hold, by place.
    fn wanted(&self, plan: &BTreeMap<NodeName, Node>, links: &BTreeMap<String, u32>) -> BTreeMap<usize, NodeEntry> {
        let mut wanted = BTreeMap::new();
        for (name, node) in plan {
            let Some(index) = self.index(name) else { continue };
            for (link, (mac, address)) in &node.links {
                let Some(slot) = links.get(link) else { continue };
                let flags =
                    NODE_PRESENT | if node.alive { NODE_ALIVE } else { 0 } | if node.me { NODE_SELF } else { 0 };
                let entry = NodeEntry { mac: mac.0, flags, addr: addr(*address), ..NodeEntry::default() };
                wanted.insert((slot * MAX_NODES) as usize + usize::from(index), entry);
            }
        }
        wanted
    }

    /// Writes entries that are new or differ, and peers: before any table may lead to them.
    pub(super) fn write(
        &mut self,
        plan: &BTreeMap<NodeName, Node>,
        links: &BTreeMap<String, u32>,
        store: &mut impl Store,
        pass: &mut Pass,
    ) -> Result<(), Error> {
        for (place, entry) in self.wanted(plan, links) {
            if self.entries[place] != entry {
                store.set_node(place as u32, &entry)?;
                self.entries[place] = entry;
                pass.writes += 1;
            }
        }
        for (key, entry) in self.wanted_peers(plan, links) {
            if self.peers.get(&key) != Some(&entry) {
                store.set_peer(&key, &entry)?;
                self.peers.insert(key, entry);
                pass.writes += 1;
            }
        }
        Ok(())
    }

    /// Removes what is not in the plan: after the tables no longer lead there.
    pub(super) fn remove(
        &mut self,
        plan: &BTreeMap<NodeName, Node>,
        links: &BTreeMap<String, u32>,
        store: &mut impl Store,
        pass: &mut Pass,
    ) -> Result<(), Error> {
        let wanted = self.wanted(plan, links);
        for place in 0..self.entries.len() {
            if self.entries[place].flags != 0 && !wanted.contains_key(&place) {
                store.set_node(place as u32, &NodeEntry::default())?;
                self.entries[place] = NodeEntry::default();
                pass.writes += 1;
            }
        }
        let wanted = self.wanted_peers(plan, links);
        let gone: Vec<PeerKey> = self.peers.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            store.remove_peer(&key)?;
            self.peers.remove(&key);
            pass.writes += 1;
        }
        Ok(())
    }

    fn wanted_peers(
        &self,
        plan: &BTreeMap<NodeName, Node>,
        links: &BTreeMap<String, u32>,
    ) -> BTreeMap<PeerKey, PeerEntry> {
        let mut peers = BTreeMap::new();
        for (name, node) in plan.iter().filter(|(_, node)| !node.me) {
            let Some(index) = self.index(name) else { continue };
            for (link, (mac, _)) in &node.links {
                if let Some(slot) = links.get(link) {
                    let entry = PeerEntry { node: index, ..PeerEntry::default() };
                    peers.insert(PeerKey { mac: mac.0, link: *slot as u16 }, entry);
                }
            }
        }
        peers
    }

    /// MACs of peers.
    pub(super) fn peer_macs(&self) -> impl Iterator<Item = [u8; 6]> {
        self.peers.keys().map(|key| key.mac)
    }

    /// Frees the indices of nodes that the plan no longer has; `mentioned` are those that tables still lead to (None:
    /// not known, nothing is freed).
    pub(super) fn release(
        &mut self,
        plan: &BTreeMap<NodeName, Node>,
        mentioned: impl FnOnce() -> Option<BTreeSet<NodeName>>,
    ) {
        let mut gone: Vec<NodeName> = self.index_of.keys().filter(|name| !plan.contains_key(*name)).cloned().collect();
        if gone.is_empty() {
            return;
        }
        let Some(mentioned) = mentioned() else { return };
        gone.retain(|name| !mentioned.contains(name));
        for name in gone {
            if let Some(index) = self.index_of.remove(&name) {
                self.name_of.remove(&index);
                self.indices.give(u32::from(index), 1);
            }
        }
    }
}
