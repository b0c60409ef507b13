//! Typed views of the maps, and the seam behind which tests put maps of their own.

use std::{
    fmt,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use announcer_ebpf::abi::{
    EndpointEntry, Event, Filter, FlowEntry, FlowKey, LinkEntry, NodeEntry, Outcome, PeerEntry, PeerKey, Runtime,
    ServiceEntry, ServiceKey, VipCounters, VipEntry, addr, ip, map,
};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, RingBuf, lpm_trie::Key},
};
use ipnet::Ipv4Net;

use super::{Error, OBJECT, Pins, Sizes, Slots, load::load, sys};

/// What the agent writes into the data path. One call is one system call (or a copy, for slots): what a packet sees
/// changes with each.
pub trait Store {
    /// Everything that an earlier run left.
    ///
    /// # Errors
    /// A map cannot be read.
    fn contents(&self) -> Result<Contents, Error>;
    /// # Errors
    /// The map cannot be written; as in all that follow.
    fn set_filter(&mut self, filter: &Filter) -> Result<(), Error>;
    fn set_runtime(&mut self, runtime: &Runtime) -> Result<(), Error>;
    fn set_link(&mut self, slot: u32, link: &LinkEntry) -> Result<(), Error>;
    fn set_service(&mut self, key: &ServiceKey, entry: &ServiceEntry) -> Result<(), Error>;
    fn remove_service(&mut self, key: &ServiceKey) -> Result<(), Error>;
    /// `addr` in network byte order, as in all that follow.
    fn set_vip(&mut self, addr: u32, entry: &VipEntry) -> Result<(), Error>;
    fn remove_vip(&mut self, addr: u32) -> Result<(), Error>;
    fn clear_vip_counters(&mut self, index: u32) -> Result<(), Error>;
    fn set_node(&mut self, place: u32, entry: &NodeEntry) -> Result<(), Error>;
    fn set_peer(&mut self, key: &PeerKey, entry: &PeerEntry) -> Result<(), Error>;
    fn remove_peer(&mut self, key: &PeerKey) -> Result<(), Error>;
    fn set_source(&mut self, net: Ipv4Net, kind: u32) -> Result<(), Error>;
    fn remove_source(&mut self, net: Ipv4Net) -> Result<(), Error>;
    fn set_endpoint(&mut self, index: u32, entry: &EndpointEntry) -> Result<(), Error>;
    /// Writes slots of the arena from `base`, a multiple of four.
    fn write_slots(&mut self, base: u32, slots: &[u16]);
    /// A slot of the arena; None beyond it.
    fn slot(&self, slot: u32) -> Option<u16>;
    /// Calls `each` with every flow, half-open ones too (then with `true`).
    ///
    /// # Errors
    /// A map cannot be read.
    fn for_each_flow(&self, each: &mut dyn FnMut(&FlowKey, &FlowEntry, bool)) -> Result<(), Error>;
}

/// What the maps hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents {
    pub filter: Filter,
    pub runtime: Runtime,
    pub links: Vec<LinkEntry>,
    pub services: Vec<(ServiceKey, ServiceEntry)>,
    /// By address in network byte order.
    pub vips: Vec<(u32, VipEntry)>,
    pub nodes: Vec<NodeEntry>,
    pub peers: Vec<(PeerKey, PeerEntry)>,
    pub sources: Vec<(Ipv4Net, u32)>,
    pub endpoints: Vec<EndpointEntry>,
    /// Slots of the arena.
    pub slots: u32,
    /// Names this set of maps: the kernel's id of one of them, never given twice in a boot.
    pub id: u32,
}

/// The pinned maps.
pub struct Maps {
    filter: Array<MapData, Filter>,
    runtime: Array<MapData, Runtime>,
    links: Array<MapData, LinkEntry>,
    services: HashMap<MapData, ServiceKey, ServiceEntry>,
    services_id: u32,
    slots: Slots,
    slot_count: u32,
    vips: HashMap<MapData, u32, VipEntry>,
    vip_counters: PerCpuArray<MapData, VipCounters>,
    outcomes: PerCpuArray<MapData, u64>,
    nodes: Array<MapData, NodeEntry>,
    peers: HashMap<MapData, PeerKey, PeerEntry>,
    sources: LpmTrie<MapData, u32, u32>,
    endpoints: Array<MapData, EndpointEntry>,
    flows: MapData,
    half_open: MapData,
    events: RingBuf<MapData>,
}

impl fmt::Debug for Maps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maps").field("id", &self.services_id).field("slots", &self.slot_count).finish_non_exhaustive()
    }
}

impl Maps {
    /// Opens the pinned maps, making those that are missing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(pins: &Pins, sizes: Sizes) -> Result<Self, Error> {
        if OBJECT.is_empty() {
            return Err(Error::NoObject);
        }
        pins.create()?;
        let mut object = load(pins, sizes, 0)?;
        // Opened by pin: a map's own data (its size above all) comes from the kernel then.
        let services =
            MapData::from_pin(pins.map(map::SERVICES)).map_err(|error| Error::of_map(map::SERVICES, error))?;
        let services_id = services.info().map_err(|error| Error::of_map(map::SERVICES, error))?.id();
        let slots = Array::<_, u64>::try_from(take(&mut object, map::SLOTS)?)
            .map_err(|error| Error::of_map(map::SLOTS, error))?;
        let words = slots.len();
        let slots_data = MapData::from_pin(pins.map(map::SLOTS)).map_err(|error| Error::of_map(map::SLOTS, error))?;
        let slots = Slots::map(slots_data.fd().as_fd(), words)
            .map_err(|error| Error::of_bpf("mapping the arena SLOTS", error))?;
        let flows = |name| MapData::from_pin(pins.map(name)).map_err(|error| Error::of_map(name, error));
        Ok(Self {
            filter: view(&mut object, map::FILTER)?,
            runtime: view(&mut object, map::RUNTIME)?,
            links: view(&mut object, map::LINKS)?,
            services: view(&mut object, map::SERVICES)?,
            services_id,
            slots,
            slot_count: words.saturating_mul(announcer_ebpf::abi::SLOTS_PER_WORD),
            vips: view(&mut object, map::VIPS)?,
            vip_counters: view(&mut object, map::VIP_COUNTERS)?,
            outcomes: view(&mut object, map::OUTCOMES)?,
            nodes: view(&mut object, map::NODES)?,
            peers: view(&mut object, map::PEERS)?,
            sources: view(&mut object, map::SOURCES)?,
            endpoints: view(&mut object, map::ENDPOINTS)?,
            flows: flows(map::FLOWS)?,
            half_open: flows(map::HALF_OPEN)?,
            events: view(&mut object, map::EVENTS)?,
        })
    }

    /// Packets by outcome, all CPUs together.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn outcomes(&self) -> Result<Vec<(Outcome, u64)>, Error> {
        let count = |outcome: &Outcome| {
            let by_cpu =
                self.outcomes.get(&(*outcome as u32), 0).map_err(|error| Error::of_map(map::OUTCOMES, error))?;
            Ok((*outcome, by_cpu.iter().sum()))
        };
        Outcome::ALL.iter().map(count).collect()
    }

    /// A VIP's counters, all CPUs together.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn vip_counters(&self, index: u32) -> Result<VipCounters, Error> {
        let by_cpu = self.vip_counters.get(&index, 0).map_err(|error| Error::of_map(map::VIP_COUNTERS, error))?;
        Ok(by_cpu.iter().fold(VipCounters::default(), |sum, cpu| VipCounters {
            forwarded_packets: sum.forwarded_packets + cpu.forwarded_packets,
            forwarded_bytes: sum.forwarded_bytes + cpu.forwarded_bytes,
            delivered_packets: sum.delivered_packets + cpu.delivered_packets,
            delivered_bytes: sum.delivered_bytes + cpu.delivered_bytes,
            replied_packets: sum.replied_packets + cpu.replied_packets,
            replied_bytes: sum.replied_bytes + cpu.replied_bytes,
            answers: sum.answers + cpu.answers,
            dropped: sum.dropped + cpu.dropped,
        }))
    }

    /// The next message of the programs.
    pub fn next_event(&mut self) -> Option<Event> {
        let item = self.events.next()?;
        let bytes: &[u8] = &item;
        // SAFETY: an Event is plain data, and there are as many bytes as it has; read unaligned.
        (bytes.len() >= size_of::<Event>()).then(|| unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() })
    }

    /// Readable when there is a message.
    #[must_use]
    pub fn events_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring buffer keeps its descriptor open as long as it lives, and `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.events.as_raw_fd()) }
    }
}

fn take(object: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    let missing = || Error::Map { map: name, source: anyhow::anyhow!("the eBPF object does not have it") };
    object.take_map(name).ok_or_else(missing)
}

fn view<V: TryFrom<Map, Error = MapError>>(object: &mut Ebpf, name: &'static str) -> Result<V, Error> {
    V::try_from(take(object, name)?).map_err(|error| Error::of_map(name, error))
}

fn collect<T>(name: &'static str, items: impl Iterator<Item = Result<T, MapError>>) -> Result<Vec<T>, Error> {
    items.collect::<Result<_, _>>().map_err(|error| Error::of_map(name, error))
}

/// Removing what is not there is done already.
fn gone(name: &'static str, result: Result<(), MapError>) -> Result<(), Error> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(error) if super::error::os_error(&error) == Some(libc::ENOENT) => Ok(()),
        other => other.map_err(|error| Error::of_map(name, error)),
    }
}

fn done(name: &'static str, result: Result<(), MapError>) -> Result<(), Error> {
    result.map_err(|error| Error::of_map(name, error))
}

impl Store for Maps {
    fn contents(&self) -> Result<Contents, Error> {
        let one = |error| Error::of_map(map::FILTER, error);
        Ok(Contents {
            filter: self.filter.get(&0, 0).map_err(one)?,
            runtime: self.runtime.get(&0, 0).map_err(one)?,
            links: collect(map::LINKS, self.links.iter())?,
            services: collect(map::SERVICES, self.services.iter())?,
            vips: collect(map::VIPS, self.vips.iter())?,
            nodes: collect(map::NODES, self.nodes.iter())?,
            peers: collect(map::PEERS, self.peers.iter())?,
            sources: collect(map::SOURCES, self.sources.iter())?
                .into_iter()
                .filter_map(|(key, kind)| Some((Ipv4Net::new(ip(key.data()), key.prefix_len() as u8).ok()?, kind)))
                .collect(),
            endpoints: collect(map::ENDPOINTS, self.endpoints.iter())?,
            slots: self.slot_count,
            id: self.services_id,
        })
    }

    fn set_filter(&mut self, filter: &Filter) -> Result<(), Error> {
        done(map::FILTER, self.filter.set(0, filter, 0))
    }

    fn set_runtime(&mut self, runtime: &Runtime) -> Result<(), Error> {
        done(map::RUNTIME, self.runtime.set(0, runtime, 0))
    }

    fn set_link(&mut self, slot: u32, link: &LinkEntry) -> Result<(), Error> {
        done(map::LINKS, self.links.set(slot, link, 0))
    }

    fn set_service(&mut self, key: &ServiceKey, entry: &ServiceEntry) -> Result<(), Error> {
        done(map::SERVICES, self.services.insert(key, entry, 0))
    }

    fn remove_service(&mut self, key: &ServiceKey) -> Result<(), Error> {
        gone(map::SERVICES, self.services.remove(key))
    }

    fn set_vip(&mut self, addr: u32, entry: &VipEntry) -> Result<(), Error> {
        done(map::VIPS, self.vips.insert(addr, entry, 0))
    }

    fn remove_vip(&mut self, addr: u32) -> Result<(), Error> {
        gone(map::VIPS, self.vips.remove(&addr))
    }

    fn clear_vip_counters(&mut self, index: u32) -> Result<(), Error> {
        let name = map::VIP_COUNTERS;
        let cpus = self.vip_counters.get(&index, 0).map_err(|error| Error::of_map(name, error))?.len();
        let zeros = aya::maps::PerCpuValues::try_from(vec![VipCounters::default(); cpus])
            .map_err(|error| Error::of_map(name, error))?;
        done(name, self.vip_counters.set(index, zeros, 0))
    }

    fn set_node(&mut self, place: u32, entry: &NodeEntry) -> Result<(), Error> {
        done(map::NODES, self.nodes.set(place, entry, 0))
    }

    fn set_peer(&mut self, key: &PeerKey, entry: &PeerEntry) -> Result<(), Error> {
        done(map::PEERS, self.peers.insert(key, entry, 0))
    }

    fn remove_peer(&mut self, key: &PeerKey) -> Result<(), Error> {
        gone(map::PEERS, self.peers.remove(key))
    }

    fn set_source(&mut self, net: Ipv4Net, kind: u32) -> Result<(), Error> {
        done(map::SOURCES, self.sources.insert(&source_key(net), kind, 0))
    }

    fn remove_source(&mut self, net: Ipv4Net) -> Result<(), Error> {
        gone(map::SOURCES, self.sources.remove(&source_key(net)))
    }

    fn set_endpoint(&mut self, index: u32, entry: &EndpointEntry) -> Result<(), Error> {
        done(map::ENDPOINTS, self.endpoints.set(index, entry, 0))
    }

    fn write_slots(&mut self, base: u32, slots: &[u16]) {
        self.slots.write(base, slots);
    }

    fn slot(&self, slot: u32) -> Option<u16> {
        self.slots.read(slot)
    }

    fn for_each_flow(&self, each: &mut dyn FnMut(&FlowKey, &FlowEntry, bool)) -> Result<(), Error> {
        read_all(map::FLOWS, &self.flows, |key, entry| each(key, entry, false))?;
        read_all(map::HALF_OPEN, &self.half_open, |key, entry| each(key, entry, true))
    }
}

fn source_key(net: Ipv4Net) -> Key<u32> {
    Key::new(u32::from(net.prefix_len()), addr(net.network()))
}

fn read_all<K: Pod, V: Pod>(name: &'static str, map: &MapData, each: impl FnMut(&K, &V)) -> Result<(), Error> {
    sys::for_each(map.fd().as_fd(), each).map_err(|error| Error::of_map(name, error))
}
