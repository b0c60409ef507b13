//! Which flows this node has, and which of the Services' tables lead to them.

use std::collections::BTreeMap;

use announcer_ebpf::{
    abi::{
        CLOSED_TIMEOUT_MS, FLOW_CLIENT_FIN, FLOW_POD_FIN, FLOW_RESET, FlowEntry, FlowKey, SERVICE_AFFINITY, ServiceKey,
        Ticks, UDP_TIMEOUT_MS, ticks_of_ms,
    },
    handover::owner,
    hash::flow_hash,
};

use super::{FlowScan, executor::Executor, services};
use crate::datapath::{Error, Store};

/// Flows of one Service by the place of the table that leads to them: 0 the newest, 1 the first earlier one.
type ByPlace = BTreeMap<usize, u64>;

impl<S: Store> Executor<S> {
    /// Counts flows that are not over at `now`, and notes for each list which of its tables they need: for each flow the
    /// newest that leads here.
    pub(super) fn scan(&mut self, now: Ticks) -> Result<FlowScan, Error> {
        let mut scan = FlowScan::default();
        let mut needed = BTreeMap::<ServiceKey, ByPlace>::new();
        self.store.for_each_flow(&mut |flow, entry, half_open| {
            if !self.endpoints.is_current(entry.endpoint, entry.generation) || is_over(flow, entry, half_open, now) {
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

/// Whether a flow has ended, though its entry stays until another takes its place. A TCP flow that was not closed may
/// be idle for as long as it likes; one that never got beyond its first packet may not.
fn is_over(flow: &FlowKey, entry: &FlowEntry, half_open: bool, now: Ticks) -> bool {
    let fins = FLOW_CLIENT_FIN | FLOW_POD_FIN;
    let closed = entry.state & FLOW_RESET != 0 || entry.state & fins == fins;
    let limit = match (closed, half_open || flow.protocol != TCP) {
        (true, _) => CLOSED_TIMEOUT_MS,
        (false, true) => UDP_TIMEOUT_MS,
        (false, false) => return false,
    };
    let age = now.wrapping_sub(entry.seen);
    // The programs may have seen it after `now` was read.
    age < Ticks::MAX / 2 && age > ticks_of_ms(limit)
}

const TCP: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_flows_and_silent_udp_are_over_and_idle_tcp_is_not() {
        let now = 5_u32;
        let after = |ms: u64, protocol: u8, state: u32, half_open: bool| {
            let entry = FlowEntry { seen: now.wrapping_sub(ticks_of_ms(ms)), state, ..FlowEntry::default() };
            is_over(&FlowKey { protocol, ..FlowKey::default() }, &entry, half_open, now)
        };
        let (tcp, udp, both) = (6, 17, FLOW_CLIENT_FIN | FLOW_POD_FIN);
        assert!(!after(86_400_000, tcp, 0, false), "idle for a day");
        assert!(!after(86_400_000, tcp, FLOW_CLIENT_FIN, false), "half closed");
        assert!(after(11_000, tcp, both, false) && !after(9_000, tcp, both, false));
        assert!(after(11_000, tcp, FLOW_RESET, false));
        assert!(after(121_000, tcp, 0, true) && !after(119_000, tcp, 0, true), "half open");
        assert!(after(121_000, udp, 0, false) && !after(119_000, udp, 0, false));
        let later = FlowEntry { seen: now + 1, state: both, ..FlowEntry::default() };
        assert!(!is_over(&FlowKey::default(), &later, false, now), "seen a moment after now");
    }
}
