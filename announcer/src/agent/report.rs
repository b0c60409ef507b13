//! Answers to the questions of the control socket and of a scrape.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use announcer_ebpf::abi;

use super::state::Agent;
use crate::{
    api::names,
    apply::maps::Counters,
    observe::{
        Query,
        metrics::{Readings, VipReading},
        status::{
            ConditionStatus, LinkStatus, MapStatus, NodeStatus, NodeWeight, PathKind, PathStatus, PortStatus,
            ServiceStatus, Status, VipStatus,
        },
    },
    plan::forwarding::{Backend, Frontend},
    world::model::{Link, ObjectName, Service},
};

impl Agent {
    /// Answers `query`; who asked may have gone.
    pub(super) fn answer(&self, query: Query) {
        match query {
            Query::Status(to) => drop(to.send(self.status())),
            Query::Vips(to) => drop(to.send(self.vips())),
            Query::Services(to) => drop(to.send(self.services())),
            Query::Readings(to) => drop(to.send(self.readings())),
        }
    }

    fn status(&self) -> Status {
        let world = &self.world;
        let mut problems: Vec<String> = self.problems.iter().map(str::to_owned).collect();
        problems.extend(world.sources.troubles.iter().map(|(kind, trouble)| format!("watch of {kind}: {trouble}")));
        problems.extend(self.waiting());
        Status {
            node: self.settings.node_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.clock.elapsed().as_secs(),
            complete: world.is_complete(),
            programmed: self.programmed,
            problems,
            links: world.links.values().map(link).collect(),
            nodes: world
                .heartbeats
                .iter()
                .map(|(name, heartbeat)| NodeStatus {
                    name: name.clone(),
                    alive: world.is_alive(name, self.clock.now()),
                    ready: heartbeat.facts.ready,
                    leaving: heartbeat.facts.leaving,
                    version: heartbeat.facts.version.clone(),
                })
                .collect(),
            allocator: world.allocator.as_ref().and_then(|lease| lease.holder.clone()),
            vips: self.election.vips.len(),
            vips_led: self.led().len(),
            services: self.served().count(),
            endpoints: self.endpoints(),
            maps: self.counters().map(|counters| self.maps(&counters)).unwrap_or_default(),
        }
    }

    fn vips(&self) -> Vec<VipStatus> {
        let of = |ip: &IpAddr| self.world.claims.get(ip).map(|claim| &claim.services);
        self.election
            .vips
            .iter()
            .map(|(ip, decision)| VipStatus {
                address: *ip,
                leader: decision.leader.clone(),
                term: decision.term,
                reason: decision.reason.to_string(),
                announced_on: decision.announce.iter().cloned().collect(),
                services: of(ip).into_iter().flatten().map(ToString::to_string).collect(),
            })
            .collect()
    }

    fn services(&self) -> Vec<ServiceStatus> {
        let mut backends = BTreeMap::<&ObjectName, Vec<(&Frontend, &Backend)>>::new();
        for (frontend, backend) in &self.forwarding.services {
            backends.entry(&backend.service).or_default().push((frontend, backend));
        }
        self.served()
            .map(|(name, service)| self.service(name, service, backends.remove(name).unwrap_or_default()))
            .collect()
    }

    fn service(&self, name: &ObjectName, service: &Service, backends: Vec<(&Frontend, &Backend)>) -> ServiceStatus {
        let addresses: Vec<IpAddr> = service.ingress.iter().map(|ingress| ingress.ip).collect();
        let (kind, why) = if let Some((_, backend)) = backends.first() {
            if backend.kernel_path {
                (PathKind::Kernel, "none of its endpoints is on a node that runs announcer".to_owned())
            } else {
                (PathKind::Datapath, String::new())
            }
        } else if addresses.is_empty() {
            (PathKind::None, String::new())
        } else {
            (PathKind::None, "its addresses are not forwarded by this node".to_owned())
        };
        ServiceStatus {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            addresses,
            path: PathStatus { kind, why },
            ports: backends.into_iter().map(|(frontend, backend)| self.port(frontend, backend)).collect(),
            conditions: service
                .conditions
                .iter()
                .map(|condition| ConditionStatus {
                    kind: condition.kind.clone(),
                    status: condition.status,
                    reason: condition.reason.clone(),
                    message: condition.message.clone(),
                })
                .collect(),
        }
    }

    fn port(&self, frontend: &Frontend, backend: &Backend) -> PortStatus {
        PortStatus {
            address: frontend.vip.into(),
            port: frontend.port,
            protocol: frontend.protocol.to_string(),
            nodes: backend.weights.iter().map(|(name, weight)| NodeWeight { name: name.to_string(), weight }).collect(),
            local: backend.local.keys().copied().map(SocketAddr::V4).collect(),
            tables: self.forwarder.tables(frontend),
            flows: self.flows.by_frontend.get(frontend).copied().unwrap_or(0),
        }
    }

    /// Services that have an address of ours, or wait for one.
    fn served(&self) -> impl Iterator<Item = (&ObjectName, &Service)> {
        let claimed: BTreeSet<&ObjectName> = self.world.claims.values().flat_map(|claim| &claim.services).collect();
        self.world.services.iter().filter(move |(name, service)| {
            let ours = |kind: &str| kind == names::CONDITION_IPAM;
            service.load_balancer
                && (service.class.as_deref() == Some(names::CLASS)
                    || claimed.contains(name)
                    || service.conditions.iter().any(|condition| ours(&condition.kind)))
        })
    }

    /// Endpoints of the Services served, each counted once.
    fn endpoints(&self) -> usize {
        self.served().filter_map(|(name, _)| self.world.endpoints.get(name)).map(Vec::len).sum()
    }

    fn counters(&self) -> Option<Counters> {
        self.forwarder.counters().inspect_err(|error| tracing::warn!("cannot read the counters: {error}")).ok()
    }

    fn maps(&self, counters: &Counters) -> Vec<MapStatus> {
        let map = |name: &str, used: u64, capacity: u32| MapStatus {
            name: name.to_owned(),
            used,
            capacity: u64::from(capacity),
        };
        let [slots, all_slots] = counters.slots;
        let len = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        vec![
            map("flows", self.flows.flows, self.settings.flows),
            map("half_open", self.flows.half_open, abi::HALF_OPEN_FLOWS),
            map("services", len(self.forwarding.services.len()), abi::MAX_SERVICES),
            map("vips", len(self.forwarding.vips.len()), abi::MAX_VIPS),
            map("slots", u64::from(slots), all_slots),
        ]
    }

    fn readings(&self) -> Readings {
        let counters = self.counters().unwrap_or_default();
        let vips = counters
            .vips
            .iter()
            .map(|(ip, vip)| VipReading {
                address: (*ip).into(),
                traffic: [
                    ("forwarded", vip.forwarded_packets, vip.forwarded_bytes),
                    ("delivered", vip.delivered_packets, vip.delivered_bytes),
                    ("replied", vip.replied_packets, vip.replied_bytes),
                ],
                answers: vip.answers,
                dropped: vip.dropped,
            })
            .collect();
        Readings {
            maps: self.maps(&counters),
            outcomes: counters.outcomes,
            vips,
            vips_led: self.led().len(),
            services: self.served().count(),
            endpoints: self.endpoints(),
        }
    }
}

fn link(link: &Link) -> LinkStatus {
    LinkStatus {
        name: link.name.clone(),
        mac: link.mac,
        mtu: link.mtu,
        up: link.up,
        mode: link.attached,
        addresses: link.addresses.iter().map(ToString::to_string).collect(),
    }
}
