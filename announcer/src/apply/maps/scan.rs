//! Which flows this node has, and which of the Services' tables lead to them.

use std::collections::BTreeMap;

use announcer_ebpf::{
    abi::{FlowKey, SERVICE_AFFINITY, ServiceKey},
    handover::owner,
    hash::flow_hash,
};

use super::{FlowScan, executor::Executor, services};
use crate::datapath::{Error, Store};

/// Flows of one Service by the place of the table that leads to them: 0 the newest, 1 the first earlier one.
type ByPlace = BTreeMap<usize, u64>;

impl<S: Store> Executor<S> {
    /// Counts flows, and notes for each list which of its tables they need: for each flow the newest that leads here.
    pub(super) fn scan(&mut self) -> Result<FlowScan, Error> {
        let mut scan = FlowScan::default();
        let mut needed = BTreeMap::<ServiceKey, ByPlace>::new();
        self.store.for_each_flow(&mut |flow, entry, half_open| {
            if !self.endpoints.is_current(entry.endpoint, entry.generation) {
                return;
            }
            let key = ServiceKey { addr: flow.vip, port: flow.port, protocol: flow.protocol, ..ServiceKey::default() };
            if half_open {
                scan.half_open += 1;
            } else {
                scan.flows += 1;
            }
            let by_place = needed.entry(key).or_default();
            if let Some(place) = self.place(&key, flow) {
                *by_place.entry(place).or_default() += 1;
            }
            *scan.by_frontend.entry(services::frontend(&key)).or_default() += 1;
        })?;
        for (key, held) in &mut self.services {
            let by_place = needed.remove(key).unwrap_or_default();
            let count = |place: usize| by_place.get(&place).copied().unwrap_or(0);
            held.need = held
                .history
                .earlier
                .iter()
                .enumerate()
                .map(|(at, earlier)| (earlier.table.clone(), count(at + 1)))
                .collect();
        }
        Ok(scan)
    }

    /// The first table of a Service's list that leads a flow to this node.
    fn place(&self, key: &ServiceKey, flow: &FlowKey) -> Option<usize> {
        let entry = &self.services.get(key)?.entry;
        let seed = &self.runtime.flow_key;
        let hash = if entry.flags & SERVICE_AFFINITY != 0 {
            flow_hash(seed, flow.client, flow.vip, 0, 0, 0)
        } else {
            flow_hash(seed, flow.client, flow.vip, flow.client_port, flow.port, flow.protocol)
        };
        let earlier = entry.earlier.iter().take(usize::from(entry.earlier_len)).map(|earlier| earlier.table);
        std::iter::once(entry.newest).chain(earlier).position(|table| {
            owner(table, hash, |slot| self.store.slot(slot))
                .is_some_and(|node| u32::from(node) == self.runtime.own_node)
        })
    }
}
