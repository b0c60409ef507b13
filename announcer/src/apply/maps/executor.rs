//! The order of writes. A packet sees each write by itself, so what leads somewhere comes after what it leads to:
//!
//! 1. nodes and peers, sources, VIPs without leadership where new, endpoints;
//! 2. tables and slices in the arena, the ledger, Services' entries (each publishes all of a Service at once);
//! 3. leadership, and the filter's new bits: what is new becomes visible;
//! 4. the filter without what is gone, then Services, VIPs, endpoints, nodes that are gone;
//! 5. freed slots after a grace period.
//!
//! It keeps a copy of what the maps hold, so a pass writes the difference and reads nothing.

use std::collections::BTreeMap;

use announcer_ebpf::abi::{
    Filter, MAX_SOURCES, MAX_VIPS, Runtime, ServiceKey, Ticks, VIP_KERNEL_PATH, VipEntry, addr, addr_bit, ip, mac_bit,
    map,
};
use ipnet::Ipv4Net;
use tracing::warn;

use super::{
    Applied, Refusal, adopt,
    endpoints::{self, Endpoints},
    flow_key,
    ledger::{Ledger, Names},
    links::Links,
    nodes::Nodes,
    placed::Placed,
    services::{self, Held, Places},
};
use crate::{
    datapath::{Contents, Error, Extents, Store},
    plan::{
        forwarding::{Forwarding, Vip},
        maglev::NodeName,
        tables::Table,
    },
    world::model::Moment,
};

/// One pass over the maps, and what it came to.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) now: Moment,
    pub(super) ticks: Ticks,
    pub(super) applied: Applied,
}

impl Pass {
    /// Asks to be called again.
    pub(super) fn look_again(&mut self, at: Option<Moment>) {
        self.applied.look_again = self.applied.look_again.into_iter().chain(at).min();
    }
}

impl std::ops::Deref for Pass {
    type Target = Applied;

    fn deref(&self) -> &Applied {
        &self.applied
    }
}

impl std::ops::DerefMut for Pass {
    fn deref_mut(&mut self) -> &mut Applied {
        &mut self.applied
    }
}

/// The maps, by way of a store, with a copy of what they hold.
#[derive(Debug)]
pub(super) struct Executor<S> {
    pub(super) store: S,
    pub(super) ledger: Ledger,
    pub(super) runtime: Runtime,
    pub(super) links: Links,
    pub(super) vips: BTreeMap<u32, VipEntry>,
    pub(super) services: BTreeMap<ServiceKey, Held>,
    pub(super) placed: Placed,
    pub(super) nodes: Nodes,
    pub(super) endpoints: Endpoints,
    filter: Filter,
    vip_indices: Extents,
    sources: BTreeMap<Ipv4Net, u32>,
    id: u32,
    run_dir: std::path::PathBuf,
    warned_of_key: bool,
}

impl<S: Store> Executor<S> {
    /// Takes over what the store holds, with the names of the ledger in `run_dir`.
    pub(super) fn open(store: S, run_dir: &std::path::Path) -> Result<Self, Error> {
        let contents = store.contents()?;
        let names = Ledger::read(run_dir, contents.id)?;
        if names.is_none() && !contents.services.is_empty() {
            warn!(
                "the ledger of assignments is missing: tables in use are kept for their flows, nodes are known again \
                 by their MACs"
            );
        }
        let names = names.unwrap_or_default();
        let nodes = Nodes::adopt(&contents, &names.nodes);
        let mut placed = Placed::new(contents.slots);
        let services = adopt::services(&contents, &names, &nodes, &mut placed, &store);
        let mut vip_indices = Extents::new(MAX_VIPS);
        contents.vips.iter().for_each(|(_, entry)| _ = vip_indices.reserve(entry.index, 1));
        let Contents { filter, runtime, vips, sources, id, .. } = &contents;
        Ok(Self {
            ledger: Ledger::create(run_dir, *id, &names)?,
            runtime: *runtime,
            links: Links::adopt(&contents, &names.links),
            vips: vips.iter().copied().collect(),
            services,
            placed,
            nodes,
            endpoints: Endpoints::adopt(&contents),
            filter: *filter,
            vip_indices,
            sources: sources.iter().copied().collect(),
            id: *id,
            run_dir: run_dir.to_owned(),
            warned_of_key: false,
            store,
        })
    }

    /// Brings the store to `plan`.
    pub(super) fn apply(&mut self, plan: &Forwarding, now: Moment, ticks: Ticks) -> Result<Applied, Error> {
        let mut pass = Pass { now, ticks, applied: Applied::default() };
        let slots = self.links.slots();
        self.placed.reclaim(ticks);
        self.nodes.assign(&plan.nodes, &slots, &mut self.ledger, &mut pass);
        self.ledger.flush()?;
        pass.applied.writes += self.links.follow_macs(plan, &mut self.store)?;
        self.set_runtime(plan, &mut pass)?;
        self.nodes.write(&plan.nodes, &slots, &mut self.store, &mut pass)?;
        self.add_sources(plan, &mut pass)?;
        if self.runtime.flow_key == [0; 4] {
            // Rows would differ from the other nodes'. The cluster's identity comes with the first list of namespaces.
            return Ok(pass.applied);
        }
        let endpoints = endpoints::wanted(plan);
        self.add_vips(plan, &mut pass)?;
        self.endpoints.write(&endpoints, &mut self.store, &mut pass)?;
        let vips = &self.vips;
        let places = Places {
            nodes: &self.nodes,
            endpoints: &self.endpoints,
            placed: &mut self.placed,
            ledger: &mut self.ledger,
            store: &mut self.store,
            vips: &|addr| vips.get(&addr).map(|vip| vip.index),
            alone: plan.nodes.len() < 2,
        };
        services::write(&mut self.services, plan, places, &mut pass)?;
        self.lead(plan, &slots, &mut pass)?;

        let exact = self.wanted_filter(plan, &endpoints);
        self.set_filter(union(&self.filter, &exact), &mut pass)?;
        self.set_filter(exact, &mut pass)?;
        services::remove(&mut self.services, plan, &mut self.placed, &mut self.store, &mut pass)?;
        self.remove_vips(plan, &mut pass)?;
        self.endpoints.remove(&endpoints, &mut self.store, &mut pass)?;
        self.nodes.remove(&plan.nodes, &slots, &mut self.store, &mut pass)?;
        self.remove_sources(plan, &mut pass)?;
        // The MACs of peers that are gone went with the nodes.
        self.set_filter(self.wanted_filter(plan, &endpoints), &mut pass)?;
        self.release_nodes(plan);
        self.shorten_ledger()?;
        Ok(pass.applied)
    }

    fn set_runtime(&mut self, plan: &Forwarding, pass: &mut Pass) -> Result<(), Error> {
        let mut runtime = self.runtime;
        if let Some(uid) = &plan.cluster_uid {
            let key = flow_key(uid);
            if runtime.flow_key == [0; 4] {
                runtime.flow_key = key;
            } else if runtime.flow_key != key && !self.warned_of_key {
                self.warned_of_key = true;
                warn!(
                    uid,
                    "the data path has another cluster's flow key and keeps it for its flows: if this node changed \
                     clusters, run `announcer cleanup` on it"
                );
            }
        }
        let me = plan.nodes.iter().find(|(_, node)| node.me).and_then(|(name, _)| self.nodes.index(name));
        runtime.own_node = me.map_or(runtime.own_node, u32::from);
        if runtime != self.runtime {
            self.store.set_runtime(&runtime)?;
            self.runtime = runtime;
            pass.writes += 1;
        }
        Ok(())
    }

    /// Until when the data path goes on by itself, in ns of CLOCK_MONOTONIC; 0: none was set yet.
    pub(super) fn deadline(&self) -> u64 {
        self.runtime.deadline
    }

    /// Sets the time of CLOCK_MONOTONIC, in ns, until which the data path goes on by itself.
    pub(super) fn push_deadline(&mut self, deadline: u64) -> Result<(), Error> {
        let runtime = Runtime { deadline, expired: 0, ..self.runtime };
        self.store.set_runtime(&runtime)?;
        self.runtime = runtime;
        Ok(())
    }

    fn add_sources(&mut self, plan: &Forwarding, pass: &mut Pass) -> Result<(), Error> {
        for (net, kind) in &plan.sources {
            let kind = *kind as u32;
            if self.sources.get(net) == Some(&kind) {
                continue;
            }
            if self.sources.len() >= MAX_SOURCES as usize && !self.sources.contains_key(net) {
                pass.refused.insert(Refusal::Full {
                    map: map::SOURCES,
                    most: MAX_SOURCES,
                    what: format!("traffic from {net}"),
                    remedy: "give nodes pod CIDRs that hold their pods' addresses",
                    service: None,
                });
                continue;
            }
            self.store.set_source(*net, kind)?;
            self.sources.insert(*net, kind);
            pass.writes += 1;
        }
        Ok(())
    }

    fn remove_sources(&mut self, plan: &Forwarding, pass: &mut Pass) -> Result<(), Error> {
        let gone: Vec<Ipv4Net> = self.sources.keys().filter(|net| !plan.sources.contains_key(net)).copied().collect();
        for net in gone {
            self.store.remove_source(net)?;
            self.sources.remove(&net);
            pass.writes += 1;
        }
        Ok(())
    }

    /// New VIPs get an index and an entry that leads nowhere; the filter still hides them.
    fn add_vips(&mut self, plan: &Forwarding, pass: &mut Pass) -> Result<(), Error> {
        for (vip, wanted) in &plan.vips {
            let addr = addr(*vip);
            if self.vips.contains_key(&addr) {
                continue;
            }
            let Some(index) = self.vip_indices.take(1) else {
                let service = plan.services.iter().find(|(frontend, _)| frontend.vip == *vip);
                pass.refused.insert(Refusal::Full {
                    map: map::VIPS,
                    most: MAX_VIPS,
                    what: vip.to_string(),
                    remedy: "let Services share addresses",
                    service: service.map(|(_, backend)| backend.service.clone()),
                });
                continue;
            };
            self.store.clear_vip_counters(index)?;
            let entry = VipEntry { index, lead: 0, ..entry(wanted, index, &BTreeMap::new()) };
            self.store.set_vip(addr, &entry)?;
            self.vips.insert(addr, entry);
            pass.writes += 1;
        }
        Ok(())
    }

    /// Leadership, term and flags.
    fn lead(&mut self, plan: &Forwarding, slots: &BTreeMap<String, u32>, pass: &mut Pass) -> Result<(), Error> {
        for (vip, wanted) in &plan.vips {
            let addr = addr(*vip);
            let Some(held) = self.vips.get_mut(&addr) else { continue };
            let entry = entry(wanted, held.index, slots);
            if *held != entry {
                self.store.set_vip(addr, &entry)?;
                *held = entry;
                pass.writes += 1;
            }
        }
        Ok(())
    }

    fn remove_vips(&mut self, plan: &Forwarding, pass: &mut Pass) -> Result<(), Error> {
        let gone: Vec<u32> = self.vips.keys().filter(|addr| !plan.vips.contains_key(&ip(**addr))).copied().collect();
        for addr in gone {
            self.store.remove_vip(addr)?;
            if let Some(entry) = self.vips.remove(&addr) {
                self.vip_indices.give(entry.index, 1);
            }
            pass.writes += 1;
        }
        Ok(())
    }

    /// The filter for the plan's VIPs and endpoints, and for the peers that the map has.
    fn wanted_filter(&self, plan: &Forwarding, endpoints: &endpoints::Wanted<'_>) -> Filter {
        let mut filter = Filter::default();
        let held = |vip: &&u32| plan.vips.contains_key(&ip(**vip));
        self.vips.keys().filter(held).for_each(|vip| set(&mut filter.vips, addr_bit(*vip)));
        let present = endpoints.keys().filter(|address| self.endpoints.index(address).is_some());
        present.for_each(|address| set(&mut filter.endpoints, addr_bit(addr(*address.ip()))));
        self.nodes.peer_macs().for_each(|mac| set(&mut filter.peers, mac_bit(mac)));
        filter
    }

    fn set_filter(&mut self, filter: Filter, pass: &mut Pass) -> Result<(), Error> {
        if self.filter != filter {
            self.store.set_filter(&filter)?;
            self.filter = filter;
            pass.writes += 1;
        }
        Ok(())
    }

    /// Indices of nodes that are gone and that no table leads to are free again; none while a table is not understood.
    fn release_nodes(&mut self, plan: &Forwarding) {
        let (placed, services) = (&self.placed, &self.services);
        self.nodes.release(&plan.nodes, || {
            let mut mentioned = placed.mentioned()?;
            let tables = services.values().flat_map(|held| held.history.tables());
            mentioned.extend(tables.filter(|table| table.rows() == 1).flat_map(owners));
            Some(mentioned)
        });
    }

    fn shorten_ledger(&mut self) -> Result<(), Error> {
        if !self.ledger.has_outgrown(self.placed.len()) {
            return Ok(());
        }
        let tables = self.placed.tables().filter_map(|(at, table)| match table {
            Table::Made { weights, rows } => Some((at.base, (*rows, weights.clone()))),
            Table::Found(_) => None,
        });
        let names = Names {
            links: self.links.names(),
            nodes: self.nodes.named().map(|(index, name)| (index, name.to_string())).collect(),
            tables: tables.collect(),
        };
        self.ledger = Ledger::create(&self.run_dir, self.id, &names)?;
        Ok(())
    }
}

fn owners(table: &Table) -> Vec<NodeName> {
    match table {
        Table::Made { weights, .. } => weights.iter().map(|(name, _)| name.clone()).collect(),
        Table::Found(_) => Vec::new(),
    }
}

fn entry(vip: &Vip, index: u32, slots: &BTreeMap<String, u32>) -> VipEntry {
    VipEntry {
        index,
        lead: vip.lead.iter().filter_map(|link| slots.get(link)).fold(0, |lead, slot| lead | 1 << slot),
        flags: if vip.kernel_path { VIP_KERNEL_PATH } else { 0 },
        term: vip.term as u32,
    }
}

fn set(bits: &mut [u64], bit: u32) {
    bits[(bit / 64) as usize] |= 1 << (bit % 64);
}

fn union(a: &Filter, b: &Filter) -> Filter {
    let mut union = *a;
    union.vips.iter_mut().zip(&b.vips).for_each(|(to, from)| *to |= from);
    union.endpoints.iter_mut().zip(&b.endpoints).for_each(|(to, from)| *to |= from);
    union.peers.iter_mut().zip(&b.peers).for_each(|(to, from)| *to |= from);
    union
}
