//! Maps in memory that look at themselves after every write, as a packet might.

use std::{cell::RefCell, collections::BTreeMap, net::Ipv4Addr, rc::Rc};

use announcer_ebpf::abi::{
    ENDPOINT_PRESENT, EndpointEntry, Filter, FlowEntry, FlowKey, LinkEntry, MAX_ENDPOINTS, MAX_LINKS, MAX_NODES,
    NO_NODE, NODE_PRESENT, NodeEntry, PeerEntry, PeerKey, Runtime, ServiceEntry, ServiceKey, TableRef, Ticks, VipEntry,
    addr_bit, ticks_of_ms,
};
use ipnet::Ipv4Net;

use crate::datapath::{Contents, Error, Store};

/// What outlives the agent.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    pub(super) filter: Filter,
    pub(super) runtime: Runtime,
    pub(super) links: BTreeMap<u32, LinkEntry>,
    pub(super) services: BTreeMap<ServiceKey, ServiceEntry>,
    pub(super) vips: BTreeMap<u32, VipEntry>,
    pub(super) nodes: BTreeMap<u32, NodeEntry>,
    pub(super) peers: BTreeMap<PeerKey, PeerEntry>,
    pub(super) sources: BTreeMap<Ipv4Net, u32>,
    pub(super) endpoints: BTreeMap<u32, EndpointEntry>,
    pub(super) slots: Vec<u16>,
    pub(super) flows: Vec<(FlowKey, FlowEntry)>,
    /// The next writes succeed; then one fails.
    pub(super) fails_after: Option<usize>,
    pub(super) now: Ticks,
    /// When slots were last named by an entry.
    named: BTreeMap<u32, Ticks>,
    pub(super) writes: usize,
}

/// A handle on the maps.
#[derive(Debug, Clone)]
pub(super) struct Fake(pub(super) Rc<RefCell<Kernel>>);

impl Fake {
    pub(super) fn new(slots: usize) -> Self {
        Self(Rc::new(RefCell::new(Kernel { slots: vec![0; slots], ..Kernel::default() })))
    }

    fn write(&self, change: impl FnOnce(&mut Kernel)) -> Result<(), Error> {
        let mut kernel = self.0.borrow_mut();
        if kernel.fails_after == Some(0) {
            kernel.fails_after = None;
            return Err(Error::Map { map: "FAKE", source: anyhow::anyhow!("as asked") });
        }
        kernel.fails_after = kernel.fails_after.map(|left| left - 1);
        kernel.writes += 1;
        change(&mut kernel);
        kernel.check();
        Ok(())
    }
}

impl Kernel {
    fn tables(entry: &ServiceEntry) -> impl Iterator<Item = TableRef> {
        let earlier = entry.earlier.into_iter().take(entry.earlier_len.into());
        std::iter::once(entry.newest).chain(earlier.map(|earlier| earlier.table))
    }

    fn named_slots(entry: &ServiceEntry) -> impl Iterator<Item = u32> {
        let tables = Self::tables(entry).chain([entry.local]).filter(|table| table.rows > 1);
        tables.flat_map(|table| table.base..table.base + table.rows)
    }

    /// No packet may meet half a state.
    fn check(&mut self) {
        let present = |node: u16| {
            (0..MAX_LINKS).any(|link| {
                let entry = self.nodes.get(&(link * MAX_NODES + u32::from(node)));
                entry.is_some_and(|entry| entry.flags & NODE_PRESENT != 0)
            })
        };
        for (key, entry) in &self.services {
            assert!(self.vips.get(&key.addr).is_some_and(|vip| vip.index == entry.vip), "{key:?} has its VIP");
            let newest = entry.newest;
            let owners = match newest.rows {
                0 => Vec::new(),
                1 => vec![newest.base as u16],
                rows => self.slots[newest.base as usize..(newest.base + rows) as usize].to_vec(),
            };
            for owner in owners {
                assert!(owner != NO_NODE && present(owner), "{key:?} leads to node {owner}, which is there");
            }
            let local = match entry.local.rows {
                0 => Vec::new(),
                1 => vec![entry.local.base as u16],
                rows => self.slots[entry.local.base as usize..(entry.local.base + rows) as usize].to_vec(),
            };
            for endpoint in local {
                let entry = self.endpoints.get(&endpoint.into()).copied().unwrap_or_default();
                assert!(entry.flags & ENDPOINT_PRESENT != 0, "{key:?} leads to endpoint {endpoint}, which is there");
            }
        }
        for entry in self.services.values() {
            for slot in Self::named_slots(entry) {
                self.named.insert(slot, self.now);
            }
        }
    }

    pub(super) fn sees(&self, vip: Ipv4Addr) -> bool {
        let bit = addr_bit(announcer_ebpf::abi::addr(vip));
        self.filter.vips[(bit / 64) as usize] >> (bit % 64) & 1 == 1
    }
}

impl Store for Fake {
    fn contents(&self) -> Result<Contents, Error> {
        let kernel = self.0.borrow();
        let all = |size: u32| 0..size;
        Ok(Contents {
            filter: kernel.filter,
            runtime: kernel.runtime,
            links: all(MAX_LINKS).map(|slot| kernel.links.get(&slot).copied().unwrap_or_default()).collect(),
            services: kernel.services.iter().map(|(key, entry)| (*key, *entry)).collect(),
            vips: kernel.vips.iter().map(|(addr, entry)| (*addr, *entry)).collect(),
            nodes: all(MAX_LINKS * MAX_NODES).map(|at| kernel.nodes.get(&at).copied().unwrap_or_default()).collect(),
            peers: kernel.peers.iter().map(|(key, entry)| (*key, *entry)).collect(),
            sources: kernel.sources.iter().map(|(net, kind)| (*net, *kind)).collect(),
            endpoints: all(MAX_ENDPOINTS).map(|at| kernel.endpoints.get(&at).copied().unwrap_or_default()).collect(),
            slots: kernel.slots.len() as u32,
            id: 1,
        })
    }

    fn set_filter(&mut self, filter: &Filter) -> Result<(), Error> {
        self.write(|kernel| kernel.filter = *filter)
    }

    fn set_runtime(&mut self, runtime: &Runtime) -> Result<(), Error> {
        self.write(|kernel| kernel.runtime = *runtime)
    }

    fn set_link(&mut self, slot: u32, link: &LinkEntry) -> Result<(), Error> {
        self.write(|kernel| _ = kernel.links.insert(slot, *link))
    }

    fn set_service(&mut self, key: &ServiceKey, entry: &ServiceEntry) -> Result<(), Error> {
        self.write(|kernel| _ = kernel.services.insert(*key, *entry))
    }

    fn remove_service(&mut self, key: &ServiceKey) -> Result<(), Error> {
        self.write(|kernel| _ = kernel.services.remove(key))
    }

    fn set_vip(&mut self, addr: u32, entry: &VipEntry) -> Result<(), Error> {
        self.write(|kernel| _ = kernel.vips.insert(addr, *entry))
    }

    fn remove_vip(&mut self, addr: u32) -> Result<(), Error> {
        self.write(|kernel| {
            assert!(kernel.services.keys().all(|key| key.addr != addr), "its Services go first");
            kernel.vips.remove(&addr);
        })
    }

    fn clear_vip_counters(&mut self, _index: u32) -> Result<(), Error> {
        Ok(())
    }

    fn set_node(&mut self, place: u32, entry: &NodeEntry) -> Result<(), Error> {
        self.write(|kernel| _ = kernel.nodes.insert(place, *entry))
    }

    fn set_peer(&mut self, key: &PeerKey, entry: &PeerEntry) -> Result<(), Error> {
        self.write(|kernel| _ = kernel.peers.insert(*key, *entry))
    }

    fn remove_peer(&mut self, key: &PeerKey) -> Result<(), Error> {
        self.write(|kernel| _ = kernel.peers.remove(key))
    }

    fn set_source(&mut self, net: Ipv4Net, kind: u32) -> Result<(), Error> {
        self.write(|kernel| _ = kernel.sources.insert(net, kind))
    }

    fn remove_source(&mut self, net: Ipv4Net) -> Result<(), Error> {
        self.write(|kernel| _ = kernel.sources.remove(&net))
    }

    fn set_endpoint(&mut self, index: u32, entry: &EndpointEntry) -> Result<(), Error> {
        self.write(|kernel| {
            let held = kernel.endpoints.insert(index, *entry).unwrap_or_default();
            let same_tenant = (held.addr, held.port) == (entry.addr, entry.port);
            assert!(same_tenant && held.generation == entry.generation || held.generation < entry.generation);
        })
    }

    fn write_slots(&mut self, base: u32, slots: &[u16]) {
        let mut kernel = self.0.borrow_mut();
        for (slot, value) in (base..).zip(slots) {
            let named = kernel.services.values().flat_map(Kernel::named_slots).any(|named| named == slot);
            assert!(!named, "slot {slot} is in use");
            if let Some(since) = kernel.named.get(&slot) {
                assert!(kernel.now.wrapping_sub(*since) >= ticks_of_ms(1_000), "slot {slot} may still be read");
            }
            kernel.slots[slot as usize] = *value;
        }
    }

    fn slot(&self, slot: u32) -> Option<u16> {
        self.0.borrow().slots.get(slot as usize).copied()
    }

    fn for_each_flow(&self, each: &mut dyn FnMut(&FlowKey, &FlowEntry, bool)) -> Result<(), Error> {
        self.0.borrow().flows.iter().for_each(|(key, entry)| each(key, entry, false));
        Ok(())
    }
}
