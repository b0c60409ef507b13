//! What the programs report: another MAC that announces an address which this node leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use announcer_ebpf::abi::{self, Event, EventKind};
use tracing::{debug, warn};

use super::state::Agent;
use crate::{
    apply::announce::Spot,
    world::model::{Mac, Moment},
};

/// An address is defended at most this often (RFC 5227, DEFEND_INTERVAL).
const DEFEND_EVERY: Duration = Duration::from_secs(10);

/// When each VIP was last defended.
#[derive(Debug, Default)]
pub(super) struct Defences(BTreeMap<Ipv4Addr, Moment>);

impl Defences {
    /// Whether it is time to defend `vip` again; notes that it is done.
    fn due(&mut self, vip: Ipv4Addr, now: Moment) -> bool {
        self.0.retain(|_, at| now.since(*at) < DEFEND_EVERY);
        !self.0.contains_key(&vip) && self.0.insert(vip, now).is_none()
    }
}

impl Agent {
    /// Reads what the programs reported.
    pub(super) fn take_events(&mut self) {
        while let Some(event) = self.forwarder.next_event() {
            if event.kind == EventKind::ForeignClaim as u32 {
                self.foreign_claim(event);
            }
        }
    }

    fn foreign_claim(&mut self, event: Event) {
        let (vip, mac) = (abi::ip(event.addr), Mac(event.mac));
        let peer = self
            .world
            .heartbeats
            .iter()
            .find(|(_, heartbeat)| heartbeat.facts.links.iter().any(|link| link.mac == mac))
            .map(|(node, _)| node);
        if let Some(node) = peer {
            // A node that takes over announces before its Lease is seen here: the Lease decides.
            debug!(%vip, node, "another node announces a VIP that this node leads");
            return;
        }
        if self.defences.due(vip, self.clock.now()) {
            warn!(
                %vip, %mac,
                "a host outside the cluster says that it has this VIP: free the address there, or take it out of the pool"
            );
            let links = self.election.vips.get(&vip.into()).map(|decision| decision.announce.clone());
            let spots: BTreeSet<Spot> = links.unwrap_or_default().into_iter().map(|link| Spot { vip, link }).collect();
            self.announcer.again(&spots);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_defended_once_in_ten_seconds() {
        let mut defences = Defences::default();
        let vip = Ipv4Addr::new(192, 0, 2, 1);
        let at = |seconds| Moment(Duration::from_secs(seconds));
        assert!(defences.due(vip, at(0)));
        assert!(!defences.due(vip, at(9)));
        assert!(defences.due(vip, at(10)));
    }
}
