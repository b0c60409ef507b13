//! The LAN that the rows play on, written into the maps straight from the `abi` types (not by the agent's code).
//!
//! Three nodes on link slot [`LINK`]: index 0 is this one, 1 and 2 are peers. A client, a VIP, pods of this node.

use std::net::Ipv4Addr;

use announcer_ebpf::abi::{
    ENDPOINT_PRESENT, ENDPOINT_READY, Earlier, EndpointEntry, Event, Filter, FlowEntry, FlowKey, LinkEntry, MAX_NODES,
    NODE_ALIVE, NODE_PRESENT, NODE_SELF, NodeEntry, PeerEntry, PeerKey, ReverseEntry, ReverseKey, Runtime,
    SLOTS_PER_WORD, ServiceEntry, ServiceKey, SourceKind, TICK_SHIFT, TableRef, Ticks, VipEntry, addr, addr_bit,
    mac_bit, map,
};
use anyhow::Result;
use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData, RingBuf};

use super::frames::Mac;
use super::rig::{Rig, monotonic_ns};

/// The link slot that rows run on; not 0, so that a program which forgets the stride is found out.
pub const LINK: u32 = 2;

pub const CLIENT_MAC: Mac = [0x02, 0xc1, 0x1e, 0x47, 0x00, 0x01];
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 25, 150, 77);
pub const CLIENT_PORT: u16 = 40_123;

/// MACs of the nodes by index; 0 is this node.
pub const NODE_MACS: [Mac; 3] =
    [[0x02, 0x0d, 0xe0, 0, 0, 0x10], [0x02, 0x0d, 0xe0, 0, 0, 0x11], [0x02, 0x0d, 0xe0, 0, 0, 0x12]];
pub const NODE_ADDRS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 25, 150, 10), Ipv4Addr::new(10, 25, 150, 11), Ipv4Addr::new(10, 25, 150, 12)];
pub const OWN: Mac = NODE_MACS[0];

pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 25, 150, 222);
pub const VIP_INDEX: u32 = 7;
/// A second VIP of this cluster.
pub const OTHER_VIP: Ipv4Addr = Ipv4Addr::new(10, 25, 150, 223);
pub const OTHER_VIP_INDEX: u32 = 8;
/// An address of the LAN that is nobody's VIP.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 25, 150, 99);
pub const STRANGER_MAC: Mac = [0x02, 0x57, 0x4a, 0, 0, 0x99];

pub const PORT: u16 = 80;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// Pods of this node by endpoint index + 1, all on port [`POD_PORT`].
pub const PODS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 244, 0, 21), Ipv4Addr::new(10, 244, 0, 22), Ipv4Addr::new(10, 244, 0, 23)];
pub const POD_PORT: u16 = 8_080;
/// A pod of another node, in the range of `SOURCES`.
pub const REMOTE_POD: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);

/// The cluster's flow key of every row.
pub const FLOW_KEY: [u64; 4] =
    [0x0123_4567_89ab_cdef, 0x0f1e_2d3c_4b5a_6978, 0xdead_beef_cafe_f00d, 0x5bd1_e995_9e37_79b1];

pub fn ready(pod: usize, generation: u32) -> EndpointEntry {
    EndpointEntry {
        addr: addr(PODS[pod]),
        port: POD_PORT.to_be(),
        flags: ENDPOINT_READY | ENDPOINT_PRESENT,
        generation,
        _pad: 0,
    }
}

/// A table with one owner.
pub fn one(owner: u32) -> TableRef {
    TableRef { base: owner, rows: 1 }
}

/// A Service of [`VIP`] whose newest owner is `owner`, with endpoint `local` on this node.
pub fn served_by(owner: u32, local: TableRef) -> ServiceEntry {
    ServiceEntry { newest: one(owner), vip: VIP_INDEX, local, ..ServiceEntry::default() }
}

/// The same with earlier owners, newest first. The list has been so for 10 s: settled, and young enough for UDP.
pub fn with_list(owners: &[u32], local: TableRef) -> Result<ServiceEntry> {
    let mut entry = served_by(owners[0], local);
    entry.changed = ago(10_000)?;
    for (place, owner) in entry.earlier.iter_mut().zip(&owners[1..]) {
        // Within UDP's timeout.
        *place = Earlier { table: one(*owner), superseded: ago(30_000)? };
    }
    entry.earlier_len = u16::try_from(owners.len() - 1)?;
    Ok(entry)
}

pub fn service_key(vip: Ipv4Addr, port: u16, protocol: u8) -> ServiceKey {
    ServiceKey { addr: addr(vip), port: port.to_be(), protocol, _pad: 0 }
}

/// The key of the client's flow to [`VIP`]:[`PORT`].
pub fn flow_key(client_port: u16, protocol: u8) -> FlowKey {
    FlowKey {
        client: addr(CLIENT),
        vip: addr(VIP),
        client_port: client_port.to_be(),
        port: PORT.to_be(),
        protocol,
        _pad: [0; 3],
    }
}

/// The key of a pod's reply to the client.
pub fn reverse_key(pod: usize, client_port: u16, protocol: u8) -> ReverseKey {
    ReverseKey {
        pod: addr(PODS[pod]),
        client: addr(CLIENT),
        pod_port: POD_PORT.to_be(),
        client_port: client_port.to_be(),
        protocol,
        _pad: [0; 3],
    }
}

/// The coarse time `ms` milliseconds ago.
pub fn ago(ms: u64) -> Result<Ticks> {
    let now = monotonic_ns()? >> TICK_SHIFT;
    Ok((now as Ticks).wrapping_sub(announcer_ebpf::abi::ticks_of_ms(ms)))
}

/// Where a row may look for a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Half,
    Full,
}

impl Rig {
    /// The scene of [`self`](super::scene) without any VIP.
    pub fn lan() -> Result<Self> {
        let mut rig = Self::load(LINK)?;
        rig.set_up()?;
        Ok(rig)
    }

    /// Takes back what an earlier row wrote, counters apart. Loading anew would cost a hundred times as much.
    pub fn clear(&mut self) -> Result<()> {
        remove_all(self.map::<HashMap<_, ServiceKey, ServiceEntry>>(map::SERVICES)?)?;
        remove_all(self.map::<HashMap<_, u32, VipEntry>>(map::VIPS)?)?;
        remove_all(self.map::<HashMap<_, PeerKey, PeerEntry>>(map::PEERS)?)?;
        for name in [map::FLOWS, map::HALF_OPEN] {
            remove_all(self.map::<HashMap<_, FlowKey, FlowEntry>>(name)?)?;
        }
        for name in [map::REVERSE, map::REVERSE_HALF] {
            remove_all(self.map::<HashMap<_, ReverseKey, ReverseEntry>>(name)?)?;
        }
        let mut endpoints: Array<_, EndpointEntry> = self.map(map::ENDPOINTS)?;
        for index in 0..=PODS.len() as u32 {
            endpoints.set(index, EndpointEntry::default(), 0)?;
        }
        *self.filter = Filter::default();
        self.write_filter()?;
        self.events()?;
        Ok(())
    }

    /// Writes nodes, peers, sources, own link and a deadline ten minutes ahead.
    pub fn set_up(&mut self) -> Result<()> {
        self.runtime(Runtime {
            flow_key: FLOW_KEY,
            deadline: monotonic_ns()? + 600_000_000_000,
            expired: 0,
            own_node: 0,
        })?;
        self.map::<Array<_, LinkEntry>>(map::LINKS)?.set(LINK, LinkEntry { mac: OWN, _pad: 0, ifindex: 4 }, 0)?;
        for index in 0..3 {
            let own = if index == 0 { NODE_SELF } else { 0 };
            self.node(index, NODE_PRESENT | NODE_ALIVE | own)?;
        }
        for index in 1..3_u16 {
            let mac = NODE_MACS[usize::from(index)];
            self.filter.peers[(mac_bit(mac) / 64) as usize] |= 1 << (mac_bit(mac) % 64);
            let key = PeerKey { mac, link: u16::try_from(LINK)? };
            let peer = PeerEntry { node: index, _pad: 0 };
            self.map::<HashMap<_, PeerKey, PeerEntry>>(map::PEERS)?.insert(key, peer, 0)?;
        }
        self.write_filter()?;
        let mut sources: LpmTrie<&mut MapData, u32, u32> = self.map(map::SOURCES)?;
        for node in NODE_ADDRS {
            sources.insert(&Key::new(32, addr(node)), SourceKind::Node as u32, 0)?;
        }
        sources.insert(&Key::new(16, addr(Ipv4Addr::new(10, 244, 0, 0))), SourceKind::Pod as u32, 0)?;
        Ok(())
    }

    /// Peer `index` has its MAC on the link after [`LINK`] instead.
    pub fn move_peer(&mut self, index: u16) -> Result<()> {
        let mac = NODE_MACS[usize::from(index)];
        let mut peers: HashMap<_, PeerKey, PeerEntry> = self.map(map::PEERS)?;
        peers.remove(&PeerKey { mac, link: u16::try_from(LINK)? })?;
        Ok(peers.insert(PeerKey { mac, link: u16::try_from(LINK)? + 1 }, PeerEntry { node: index, _pad: 0 }, 0)?)
    }

    pub fn runtime(&mut self, runtime: Runtime) -> Result<()> {
        Ok(self.map::<Array<_, Runtime>>(map::RUNTIME)?.set(0, runtime, 0)?)
    }

    pub fn read_runtime(&mut self) -> Result<Runtime> {
        Ok(self.map::<Array<_, Runtime>>(map::RUNTIME)?.get(&0, 0)?)
    }

    /// Writes node `index` of the link with these `NODE_*` flags.
    pub fn node(&mut self, index: u32, flags: u16) -> Result<()> {
        let entry =
            NodeEntry { mac: NODE_MACS[index as usize], flags, addr: addr(NODE_ADDRS[index as usize]), _pad: 0 };
        Ok(self.map::<Array<_, NodeEntry>>(map::NODES)?.set(LINK * MAX_NODES + index, entry, 0)?)
    }

    fn write_filter(&mut self) -> Result<()> {
        let filter = *self.filter;
        Ok(self.map::<Array<_, Filter>>(map::FILTER)?.set(0, filter, 0)?)
    }

    /// Sets the filter's bit of an address without any entry for it.
    pub fn filter_vip(&mut self, vip: Ipv4Addr) -> Result<()> {
        let bit = addr_bit(addr(vip));
        self.filter.vips[(bit / 64) as usize] |= 1 << (bit % 64);
        self.write_filter()
    }

    /// Writes a VIP; `lead`: this node leads it on [`LINK`].
    pub fn vip(&mut self, vip: Ipv4Addr, index: u32, lead: bool, flags: u32) -> Result<()> {
        self.vip_entry(vip, VipEntry { index, lead: u32::from(lead) << LINK, flags, term: 1 })
    }

    pub fn vip_entry(&mut self, vip: Ipv4Addr, entry: VipEntry) -> Result<()> {
        self.map::<HashMap<_, u32, VipEntry>>(map::VIPS)?.insert(addr(vip), entry, 0)?;
        self.filter_vip(vip)
    }

    /// [`VIP`], led by this node.
    pub fn led(&mut self) -> Result<()> {
        self.vip(VIP, VIP_INDEX, true, 0)
    }

    /// [`VIP`], led by another node.
    pub fn led_elsewhere(&mut self) -> Result<()> {
        self.vip(VIP, VIP_INDEX, false, 0)
    }

    pub fn service(&mut self, key: ServiceKey, entry: ServiceEntry) -> Result<()> {
        Ok(self.map::<HashMap<_, ServiceKey, ServiceEntry>>(map::SERVICES)?.insert(key, entry, 0)?)
    }

    /// The Service of [`VIP`]:[`PORT`] for both protocols.
    pub fn services(&mut self, entry: ServiceEntry) -> Result<()> {
        self.service(service_key(VIP, PORT, TCP), entry)?;
        self.service(service_key(VIP, PORT, UDP), entry)
    }

    pub fn endpoint(&mut self, index: u32, entry: EndpointEntry) -> Result<()> {
        let bit = addr_bit(entry.addr);
        self.filter.endpoints[(bit / 64) as usize] |= 1 << (bit % 64);
        self.write_filter()?;
        Ok(self.map::<Array<_, EndpointEntry>>(map::ENDPOINTS)?.set(index, entry, 0)?)
    }

    /// The three pods of this node at endpoint indices 1 to 3, generation 1, and the VIP led.
    pub fn pods(&mut self) -> Result<()> {
        self.led()?;
        for pod in 0..PODS.len() {
            self.endpoint(pod as u32 + 1, ready(pod, 1))?;
        }
        Ok(())
    }

    /// Writes `owners` as consecutive slots from `base`, a multiple of [`SLOTS_PER_WORD`].
    pub fn table(&mut self, base: u32, owners: &[u16]) -> Result<TableRef> {
        let mut slots: Array<_, u64> = self.map(map::SLOTS)?;
        for (word, owners) in owners.chunks(SLOTS_PER_WORD as usize).enumerate() {
            let mut value = [u16::MAX; SLOTS_PER_WORD as usize];
            value[..owners.len()].copy_from_slice(owners);
            let value = value.iter().rev().fold(0, |word, slot| word << 16 | u64::from(*slot));
            slots.set(base / SLOTS_PER_WORD + word as u32, value, 0)?;
        }
        Ok(TableRef { base, rows: u32::try_from(owners.len())? })
    }

    pub fn flow(&mut self, table: Table, key: FlowKey) -> Result<Option<FlowEntry>> {
        let name = if table == Table::Half { map::HALF_OPEN } else { map::FLOWS };
        found(self.map::<HashMap<_, FlowKey, FlowEntry>>(name)?.get(&key, 0))
    }

    pub fn set_flow(&mut self, table: Table, key: FlowKey, entry: FlowEntry) -> Result<()> {
        let name = if table == Table::Half { map::HALF_OPEN } else { map::FLOWS };
        Ok(self.map::<HashMap<_, FlowKey, FlowEntry>>(name)?.insert(key, entry, 0)?)
    }

    pub fn reverse(&mut self, table: Table, key: ReverseKey) -> Result<Option<ReverseEntry>> {
        let name = if table == Table::Half { map::REVERSE_HALF } else { map::REVERSE };
        found(self.map::<HashMap<_, ReverseKey, ReverseEntry>>(name)?.get(&key, 0))
    }

    pub fn set_reverse(&mut self, table: Table, key: ReverseKey, entry: ReverseEntry) -> Result<()> {
        let name = if table == Table::Half { map::REVERSE_HALF } else { map::REVERSE };
        Ok(self.map::<HashMap<_, ReverseKey, ReverseEntry>>(name)?.insert(key, entry, 0)?)
    }

    /// Events in the ring since the last call.
    pub fn events(&mut self) -> Result<Vec<Event>> {
        let mut ring: RingBuf<_> = self.map(map::EVENTS)?;
        let mut events = Vec::new();
        while let Some(item) = ring.next() {
            anyhow::ensure!(item.len() == size_of::<Event>(), "an event of {} bytes", item.len());
            let word = |at: usize| u32::from_ne_bytes([item[at], item[at + 1], item[at + 2], item[at + 3]]);
            let mac = [item[12], item[13], item[14], item[15], item[16], item[17]];
            events.push(Event { kind: word(0), link: word(4), addr: word(8), mac, _pad: 0 });
        }
        Ok(events)
    }
}

fn remove_all<K: Pod, V: Pod>(mut map: HashMap<&mut MapData, K, V>) -> Result<()> {
    let keys = map.keys().collect::<std::result::Result<Vec<_>, _>>()?;
    for key in keys {
        map.remove(&key)?;
    }
    Ok(())
}

fn found<T>(result: std::result::Result<T, aya::maps::MapError>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(aya::maps::MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
