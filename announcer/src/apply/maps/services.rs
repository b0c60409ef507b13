//! Services' entries: lists of tables, local endpoints, flags. One update of an entry publishes all of it together.

use std::{collections::BTreeMap, net::SocketAddrV4};

use announcer_ebpf::abi::{
    Earlier, MAX_EARLIER, MAX_SERVICES, SERVICE_AFFINITY, SERVICE_KERNEL_PATH, ServiceEntry, ServiceKey, TableRef,
    addr, ip, map,
};

use super::{
    Dropped, Pass, Refusal,
    endpoints::Endpoints,
    ledger::Ledger,
    nodes::Nodes,
    placed::{Full, Placed},
};
use crate::{
    datapath::{Error, Store},
    plan::{
        forwarding::{Backend, Forwarding, Frontend},
        tables::{self, History, Inputs, Need, Table},
    },
    world::model::{ObjectName, Protocol},
};

/// An entry as the map has it, with what it stands for.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) entry: ServiceEntry,
    pub(super) history: History,
    /// Endpoint indices of `entry.local`.
    local: Vec<u16>,
    /// Flows that need each earlier table, as the last scan counted; a table that it did not see counts as needed.
    pub(super) need: BTreeMap<Table, u64>,
}

/// An entry ready to be written.
struct Staged {
    key: ServiceKey,
    held: Held,
}

/// All that placing a Service's tables touches.
pub(super) struct Places<'a, S> {
    pub(super) nodes: &'a Nodes,
    pub(super) endpoints: &'a Endpoints,
    pub(super) placed: &'a mut Placed,
    pub(super) ledger: &'a mut Ledger,
    pub(super) store: &'a mut S,
    /// Index of each VIP, by address in network byte order.
    pub(super) vips: &'a dyn Fn(u32) -> Option<u32>,
    /// This node is the only one that may have flows.
    pub(super) alone: bool,
}

/// The key of a frontend.
pub(super) fn key(frontend: &Frontend) -> ServiceKey {
    ServiceKey {
        addr: addr(frontend.vip),
        port: frontend.port.to_be(),
        protocol: frontend.protocol.number(),
        ..ServiceKey::default()
    }
}

/// The frontend of a key.
pub(super) fn frontend(key: &ServiceKey) -> Frontend {
    let protocol = match key.protocol {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => Protocol::Sctp,
    };
    Frontend { vip: ip(key.addr), protocol, port: u16::from_be(key.port) }
}

/// Brings the entries to the plan: tables and slices first, then the ledger, then the entries. Entries that the plan
/// does not have stay for [`remove`].
pub(super) fn write<S: Store>(
    held: &mut BTreeMap<ServiceKey, Held>,
    plan: &Forwarding,
    mut places: Places<'_, S>,
    pass: &mut Pass,
) -> Result<(), Error> {
    let mut staged = Vec::new();
    let mut new = 0;
    for (frontend, backend) in &plan.services {
        let key = key(frontend);
        let Some(vip) = (places.vips)(key.addr) else { continue };
        let before = held.get(&key);
        if before.is_none() {
            if held.len() + new >= MAX_SERVICES as usize {
                pass.refused.insert(full(map::SERVICES, MAX_SERVICES, frontend, &backend.service, "use fewer ports"));
                continue;
            }
            new += 1;
        }
        if let Some(next) = stage(before, frontend, backend, vip, &mut places, pass) {
            staged.push(Staged { key, held: next });
        }
    }
    let mut written = places.ledger.flush();
    for Staged { key, held: next } in staged {
        if written.is_ok() && held.get(&key).is_none_or(|before| before.entry != next.entry) {
            written = places.store.set_service(&key, &next.entry);
            pass.writes += 1;
        }
        // What both use was counted once more when the next was staged, so one of the two is given up: the earlier,
        // or after a failure the one that was not written.
        if written.is_err() {
            release(&next, held.get(&key), places.placed, pass);
        } else if let Some(before) = held.insert(key, next) {
            release(&before, held.get(&key), places.placed, pass);
        }
    }
    written
}

/// Gives up what `unused` uses and `kept` does not.
fn release(unused: &Held, kept: Option<&Held>, placed: &mut Placed, pass: &Pass) {
    unused.history.tables().for_each(|table| placed.release(table, pass.ticks));
    if kept.is_none_or(|kept| kept.entry.local != unused.entry.local) {
        placed.retire(unused.entry.local, pass.ticks);
    }
}

/// The next state of a Service; None: as it is.
fn stage<S: Store>(
    before: Option<&Held>,
    frontend: &Frontend,
    backend: &Backend,
    vip: u32,
    places: &mut Places<'_, S>,
    pass: &mut Pass,
) -> Option<Held> {
    let mut next = before.cloned().unwrap_or_default();
    let flows: Vec<u64> =
        next.history.earlier.iter().map(|earlier| next.need.get(&earlier.table).copied().unwrap_or(1)).collect();
    let step = next.history.step(&Inputs {
        weights: &backend.weights,
        now: pass.now,
        ticks: pass.ticks,
        udp: frontend.protocol == Protocol::Udp,
        need: Need { flows: &flows, complete: places.alone },
    });
    pass.look_again(step.look_again);
    let mut counted = false;
    if step.changed || before.is_none() {
        match place(&next.history, places) {
            Ok((newest, earlier_len, earlier)) => {
                next.entry = ServiceEntry { newest, earlier_len, earlier, changed: next.history.changed, ..next.entry };
                counted = true;
                if let Some(flows) = step.lost {
                    pass.dropped.push(Dropped { frontend: *frontend, flows });
                }
            }
            Err(Full) => {
                arena_full(frontend, backend, places, pass);
                // All stays as before; a new Service is not served at all.
                next.history = before?.history.clone();
            }
        }
    }
    let local = local_indices(&backend.local, places.endpoints);
    if local != next.local {
        match places.placed.place_slice(&local, places.store) {
            Ok(at) => (next.entry.local, next.local) = (at, local),
            Err(Full) => arena_full(frontend, backend, places, pass),
        }
    }
    next.entry.vip = vip;
    next.entry.flags =
        if backend.affinity { SERVICE_AFFINITY } else { 0 } | if backend.kernel_path { SERVICE_KERNEL_PATH } else { 0 };
    if before.is_some_and(|before| before.entry == next.entry && before.history == next.history) {
        return None;
    }
    if !counted {
        next.history.tables().for_each(|table| again(table, places));
    }
    Some(next)
}

/// One more user of a table that is placed.
fn again<S: Store>(table: &Table, places: &mut Places<'_, S>) {
    // It is there, so it is not full.
    let _placed: Result<TableRef, Full> = places.placed.place(table, places.nodes, places.store, places.ledger);
}

type List = (TableRef, u16, [Earlier; MAX_EARLIER]);

/// Places every table of a list, or none.
fn place<S: Store>(history: &History, places: &mut Places<'_, S>) -> Result<List, Full> {
    let mut done = Vec::new();
    for table in history.tables() {
        match places.placed.place(table, places.nodes, places.store, places.ledger) {
            Ok(at) => done.push((table, at)),
            Err(Full) => {
                done.into_iter().for_each(|(table, _)| places.placed.release(table, history.changed));
                return Err(Full);
            }
        }
    }
    let mut earlier = [Earlier::default(); MAX_EARLIER];
    let newest = done.first().map(|(_, at)| *at).unwrap_or_default();
    for ((to, (_, at)), from) in earlier.iter_mut().zip(done.iter().skip(1)).zip(&history.earlier) {
        *to = Earlier { table: *at, superseded: from.superseded };
    }
    Ok((newest, history.earlier.len().min(MAX_EARLIER) as u16, earlier))
}

/// Endpoints that take new flows, in the order of their addresses.
fn local_indices(local: &BTreeMap<SocketAddrV4, bool>, endpoints: &Endpoints) -> Vec<u16> {
    local.iter().filter(|(_, takes_new)| **takes_new).filter_map(|(address, _)| endpoints.index(address)).collect()
}

fn arena_full<S: Store>(frontend: &Frontend, backend: &Backend, places: &Places<'_, S>, pass: &mut Pass) {
    let [_, most] = places.placed.slots();
    pass.refused.insert(full(map::SLOTS, most, frontend, &backend.service, "give the agent more slots"));
    if places.placed.is_reclaiming() {
        pass.look_again(Some(crate::world::model::Moment(pass.now.0 + tables::GATHER)));
    }
}

fn full(map: &'static str, most: u32, frontend: &Frontend, service: &ObjectName, remedy: &'static str) -> Refusal {
    let what = format!("the newest state of {service} at {}:{}/{}", frontend.vip, frontend.port, frontend.protocol);
    Refusal::Full { map, most, what, remedy, service: Some(service.clone()) }
}

/// Removes entries that the plan does not have.
pub(super) fn remove(
    held: &mut BTreeMap<ServiceKey, Held>,
    plan: &Forwarding,
    placed: &mut Placed,
    store: &mut impl Store,
    pass: &mut Pass,
) -> Result<(), Error> {
    let gone: Vec<ServiceKey> =
        held.keys().filter(|key| !plan.services.contains_key(&frontend(key))).copied().collect();
    for key in gone {
        store.remove_service(&key)?;
        pass.writes += 1;
        if let Some(before) = held.remove(&key) {
            release(&before, None, placed, pass);
        }
    }
    Ok(())
}

impl Held {
    /// An entry found in the map.
    pub(super) fn adopted(entry: ServiceEntry, history: History, local: Vec<u16>) -> Self {
        Self { entry, history, local, need: BTreeMap::new() }
    }
}
