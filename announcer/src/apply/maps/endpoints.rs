//! This node's pods, as far as Services lead to them: an index each, and a generation that voids an earlier tenant's
//! flows.

use std::{collections::BTreeMap, net::SocketAddrV4};

use announcer_ebpf::abi::{ENDPOINT_PRESENT, ENDPOINT_READY, EndpointEntry, MAX_ENDPOINTS, addr, ip, map};

use super::{Pass, Refusal};
use crate::{
    datapath::{Contents, Error, Extents, Store},
    plan::forwarding::Forwarding,
    world::model::ObjectName,
};

/// The endpoints as the maps have them.
#[derive(Debug)]
pub(super) struct Endpoints {
    index_of: BTreeMap<SocketAddrV4, u16>,
    indices: Extents,
    entries: Vec<EndpointEntry>,
}

/// Endpoints that the plan has: whether they take new flows, and a Service that leads there.
pub(super) type Wanted<'p> = BTreeMap<SocketAddrV4, (bool, &'p ObjectName)>;

/// An endpoint of several Services takes new flows if it does so for one of them.
pub(super) fn wanted(plan: &Forwarding) -> Wanted<'_> {
    let mut wanted = Wanted::new();
    for backend in plan.services.values() {
        for (address, takes_new) in &backend.local {
            wanted.entry(*address).or_insert((false, &backend.service)).0 |= takes_new;
        }
    }
    wanted
}

impl Endpoints {
    /// Takes over what the maps hold; what is not present is free, with its generation kept.
    pub(super) fn adopt(contents: &Contents) -> Self {
        let mut entries = contents.endpoints.clone();
        entries.resize(MAX_ENDPOINTS as usize, EndpointEntry::default());
        let mut endpoints = Self { index_of: BTreeMap::new(), indices: Extents::new(MAX_ENDPOINTS), entries };
        for (index, entry) in endpoints.entries.iter().enumerate() {
            if entry.flags & ENDPOINT_PRESENT != 0 {
                endpoints.indices.reserve(index as u32, 1);
                let address = SocketAddrV4::new(ip(entry.addr), u16::from_be(entry.port));
                endpoints.index_of.insert(address, index as u16);
            }
        }
        endpoints
    }

    pub(super) fn index(&self, address: &SocketAddrV4) -> Option<u16> {
        self.index_of.get(address).copied()
    }

    /// Whether a flow's endpoint is still the one that it began with.
    pub(super) fn is_current(&self, index: u32, generation: u32) -> bool {
        self.entries
            .get(index as usize)
            .is_some_and(|entry| entry.generation == generation && entry.flags & ENDPOINT_PRESENT != 0)
    }

    /// Writes endpoints that are new, or whose readiness changed: before any Service leads to them.
    pub(super) fn write(&mut self, wanted: &Wanted<'_>, store: &mut impl Store, pass: &mut Pass) -> Result<(), Error> {
        for (address, (takes_new, service)) in wanted {
            let flags = ENDPOINT_PRESENT | if *takes_new { ENDPOINT_READY } else { 0 };
            let known = self.index(address);
            let Some(index) = known.or_else(|| self.indices.take(1).map(|index| index as u16)) else {
                pass.refused.insert(Refusal::Full {
                    map: map::ENDPOINTS,
                    most: MAX_ENDPOINTS,
                    what: format!("endpoint {address}"),
                    remedy: "run fewer endpoints of LoadBalancer Services on one node",
                    service: Some((*service).clone()),
                });
                continue;
            };
            let held = self.entries[usize::from(index)];
            let entry = if known.is_some() {
                EndpointEntry { flags, ..held }
            } else {
                let generation = held.generation.wrapping_add(1);
                let port = address.port().to_be();
                EndpointEntry { addr: addr(*address.ip()), port, flags, generation, ..EndpointEntry::default() }
            };
            if entry != held {
                store.set_endpoint(index.into(), &entry)?;
                self.entries[usize::from(index)] = entry;
                pass.writes += 1;
            }
            self.index_of.insert(*address, index);
        }
        Ok(())
    }

    /// Voids endpoints that are gone: after no Service leads to them any more.
    pub(super) fn remove(&mut self, wanted: &Wanted<'_>, store: &mut impl Store, pass: &mut Pass) -> Result<(), Error> {
        let gone: Vec<(SocketAddrV4, u16)> = self
            .index_of
            .iter()
            .filter(|(address, _)| !wanted.contains_key(address))
            .map(|(address, index)| (*address, *index))
            .collect();
        for (address, index) in gone {
            let entry = EndpointEntry { flags: 0, ..self.entries[usize::from(index)] };
            store.set_endpoint(index.into(), &entry)?;
            self.entries[usize::from(index)] = entry;
            self.index_of.remove(&address);
            self.indices.give(index.into(), 1);
            pass.writes += 1;
        }
        Ok(())
    }
}
