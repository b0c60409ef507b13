//! What the data path shall do: VIPs, Services, weights of nodes, local endpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
};

use announcer_ebpf::abi::SourceKind;
use ipnet::{IpNet, Ipv4Net};

use super::{
    election::Election,
    maglev::{NodeName, Weights},
};
use crate::world::model::{Endpoint, Link, Mac, NodeFacts, ObjectName, Protocol, Service, ServicePort, World};

/// All that one node's data path shall hold. IPv4, TCP and UDP.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forwarding {
    /// The cluster's identity, from which the flow key is derived; None: not known yet.
    pub cluster_uid: Option<String>,
    pub vips: BTreeMap<Ipv4Addr, Vip>,
    pub services: BTreeMap<Frontend, Backend>,
    /// Nodes with announcer, alive or not, this one too.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Addresses and ranges of nodes and pods: what comes from them began in the cluster.
    pub sources: BTreeMap<Ipv4Net, SourceKind>,
    /// What objects ask for and the data path does not do, with the reason.
    pub refused: BTreeSet<Refused>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vip {
    /// Names of own links on which this node leads the VIP.
    pub lead: BTreeSet<String>,
    /// The claim's term.
    pub term: u64,
    /// A Service of the VIP is left to the kernel: unknown ports are passed up.
    pub kernel_path: bool,
}

/// What a client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    pub vip: Ipv4Addr,
    pub protocol: Protocol,
    pub port: u16,
}

/// Who serves a frontend.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    pub service: ObjectName,
    /// Endpoints that take new flows, counted by node.
    pub weights: Weights,
    /// Endpoints on this node, with "takes new flows"; one that is not listed is gone, and its flows with it.
    pub local: BTreeMap<SocketAddrV4, bool>,
    /// Rows by client address alone.
    pub affinity: bool,
    pub kernel_path: bool,
}

/// How a node is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    pub me: bool,
    /// Its data path is alive: it may own flows.
    pub alive: bool,
    /// By own link's name: its MAC and address there.
    pub links: BTreeMap<String, (Mac, Ipv4Addr)>,
}

/// Why something is not programmed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refused {
    #[error("{vip} is {owner}: it is never used for a Service; give {service} another address")]
    NotForServices { vip: Ipv4Addr, owner: String, service: ObjectName },
    #[error("{vip} port {port}/{protocol} of {service} is already served for {first}")]
    PortTaken { vip: Ipv4Addr, port: u16, protocol: Protocol, service: ObjectName, first: ObjectName },
}

/// What this node's data path shall hold. Pure; Services' weights and kernel path are the same on every node that knows
/// the same, so that all make the same tables.
#[must_use]
pub fn plan(world: &World, election: &Election) -> Forwarding {
    let cluster = Cluster::new(world, election);
    let mut plan = Forwarding {
        cluster_uid: world.cluster_uid.clone(),
        sources: cluster.sources(),
        nodes: cluster.nodes,
        ..Forwarding::default()
    };
    let never = never_vips(world);
    for (address, claim) in &world.claims {
        let IpAddr::V4(vip) = *address else { continue };
        let mut services: Vec<(&ObjectName, &Service)> = claim
            .services
            .iter()
            .filter_map(|name| world.services.get_key_value(name))
            .filter(|(_, service)| service.load_balancer)
            .collect();
        if services.is_empty() {
            continue;
        }
        if let Some(owner) = never.get(&vip) {
            plan.refused.extend(services.iter().map(|(name, _)| Refused::NotForServices {
                vip,
                owner: owner.clone(),
                service: (*name).clone(),
            }));
            continue;
        }
        services.sort_by_key(|(name, service)| (service.created, *name));
        let decision = election.vips.get(address);
        let mut entry = Vip {
            lead: decision.map(|decision| decision.announce.clone()).unwrap_or_default(),
            term: decision.map_or(claim.term, |decision| decision.term),
            kernel_path: false,
        };
        for (name, service) in services {
            for port in &service.ports {
                if port.protocol == Protocol::Sctp {
                    entry.kernel_path = true;
                    continue;
                }
                let frontend = Frontend { vip, protocol: port.protocol, port: port.port };
                if let Some(first) = plan.services.get(&frontend) {
                    plan.refused.insert(Refused::PortTaken {
                        vip,
                        port: port.port,
                        protocol: port.protocol,
                        service: name.clone(),
                        first: first.service.clone(),
                    });
                    continue;
                }
                let backend = cluster.roles.backend(world, name, service, port);
                entry.kernel_path |= backend.kernel_path;
                plan.services.insert(frontend, backend);
            }
        }
        plan.vips.insert(vip, entry);
    }
    plan
}

/// Addresses that are never a VIP, whatever an object says, with whose they are.
fn never_vips(world: &World) -> BTreeMap<Ipv4Addr, String> {
    let nodes = world.nodes.iter().flat_map(|(name, node)| {
        node.addresses.iter().map(move |address| (*address, format!("an address of node {name}")))
    });
    let links = world.heartbeats.iter().flat_map(|(name, heartbeat)| {
        let addresses = heartbeat.facts.links.iter().flat_map(|link| &link.addresses);
        addresses.map(move |net| (net.addr(), format!("an address of node {name}")))
    });
    let own = world.own_addresses.iter().map(|address| (*address, "an address of this node".to_owned()));
    let gateways = world.gateways.iter().map(|address| (*address, "the default gateway".to_owned()));
    let api = world.api_endpoints.iter().map(|address| (*address, "the API server".to_owned()));
    own.chain(nodes)
        .chain(links)
        .chain(gateways)
        .chain(api)
        .filter_map(|(address, owner)| match address {
            IpAddr::V4(address) => Some((address, owner)),
            IpAddr::V6(_) => None,
        })
        .collect()
}

/// The nodes, as this one sees them.
struct Cluster<'w> {
    world: &'w World,
    nodes: BTreeMap<NodeName, Node>,
    roles: Roles,
}

impl<'w> Cluster<'w> {
    fn new(world: &'w World, election: &Election) -> Self {
        let mut nodes = BTreeMap::new();
        let mut takes_rows = BTreeSet::new();
        for (name, heartbeat) in &world.heartbeats {
            let me = *name == world.me;
            let links: BTreeMap<String, (Mac, Ipv4Addr)> = world
                .links
                .values()
                .filter_map(|own| {
                    Some((own.name.clone(), if me { itself(own)? } else { reach(own, &heartbeat.facts)? }))
                })
                .collect();
            let name = NodeName::from(name.as_str());
            let alive = election.alive.contains(&*name);
            if alive && heartbeat.facts.ready && !links.is_empty() {
                takes_rows.insert(name.clone());
            }
            nodes.insert(name, Node { me, alive: me || alive, links });
        }
        let roles = Roles { with_announcer: nodes.keys().cloned().collect(), takes_rows };
        Self { world, nodes, roles }
    }

    /// Addresses of nodes, and what pods can have.
    fn sources(&self) -> BTreeMap<Ipv4Net, SourceKind> {
        let mut sources = BTreeMap::new();
        let pods = self.world.nodes.values().flat_map(|node| &node.pod_cidrs);
        let ranges: BTreeSet<Ipv4Net> = pods
            .filter_map(|net| match net {
                IpNet::V4(net) => Some(net.trunc()),
                IpNet::V6(_) => None,
            })
            .collect();
        // Most pods are in their node's range; only the others need an entry of their own.
        for endpoint in self.world.endpoints.values().flatten() {
            if let (IpAddr::V4(address), Some(node)) = (endpoint.ip, &endpoint.node)
                && self.world.nodes.contains_key(node)
                && !ranges.iter().any(|range| range.contains(&address))
            {
                sources.insert(Ipv4Net::from(address), SourceKind::Pod);
            }
        }
        sources.extend(ranges.into_iter().map(|range| (range, SourceKind::Pod)));
        let addresses = self.world.nodes.values().flat_map(|node| node.addresses.iter().copied());
        let links = self.world.heartbeats.values().flat_map(|heartbeat| &heartbeat.facts.links);
        let links = links.flat_map(|link| link.addresses.iter().map(IpNet::addr));
        for address in addresses.chain(links) {
            if let IpAddr::V4(address) = address {
                sources.insert(Ipv4Net::from(address), SourceKind::Node);
            }
        }
        sources
    }
}

fn itself(own: &Link) -> Option<(Mac, Ipv4Addr)> {
    own.ipv4().filter(|_| own.up).map(|address| (own.mac, address))
}

/// The peer's MAC and address on the segment of an own link: the first link of it that has an address in the same
/// subnet.
fn reach(own: &Link, facts: &NodeFacts) -> Option<(Mac, Ipv4Addr)> {
    let subnets: Vec<&IpNet> = own.addresses.iter().filter(|net| net.addr().is_ipv4()).collect();
    facts.links.iter().filter(|link| link.up).find_map(|link| {
        link.addresses.iter().find_map(|net| match net.addr() {
            IpAddr::V4(address) if subnets.iter().any(|subnet| subnet.contains(&net.addr())) => {
                Some((link.mac, address))
            }
            _ => None,
        })
    })
}

/// Which nodes count for what.
struct Roles {
    /// Their heartbeat Lease exists, alive or not.
    with_announcer: BTreeSet<NodeName>,
    /// Alive, programmed, and reached on a link.
    takes_rows: BTreeSet<NodeName>,
}

impl Roles {
    fn backend(&self, world: &World, name: &ObjectName, service: &Service, port: &ServicePort) -> Backend {
        let endpoints: Vec<&Endpoint> = world
            .endpoints
            .get(name)
            .into_iter()
            .flatten()
            .filter(|endpoint| endpoint.port_name == port.name && endpoint.protocol == port.protocol)
            .collect();
        let on = |endpoint: &Endpoint, nodes: &BTreeSet<NodeName>| {
            endpoint.node.as_deref().and_then(|node| nodes.get(node)).cloned()
        };
        let ready = |endpoint: &Endpoint| endpoint.ready || service.publish_not_ready;
        let last_resort = |endpoint: &Endpoint| endpoint.serving && endpoint.terminating;

        let counted: Vec<(NodeName, &Endpoint)> = endpoints
            .iter()
            .filter(|endpoint| endpoint.ip.is_ipv4())
            .filter_map(|endpoint| Some((on(endpoint, &self.takes_rows)?, *endpoint)))
            .collect();
        let any_ready = counted.iter().any(|(_, endpoint)| ready(endpoint));
        let weights = counted
            .into_iter()
            .filter(|(_, endpoint)| if any_ready { ready(endpoint) } else { last_resort(endpoint) })
            .map(|(node, _)| (node, 1))
            .collect();

        let mut local = BTreeMap::<SocketAddrV4, bool>::new();
        for endpoint in &endpoints {
            if let (IpAddr::V4(address), Some(node)) = (endpoint.ip, &endpoint.node)
                && *node == world.me
            {
                let takes_new = ready(endpoint) || (!any_ready && last_resort(endpoint));
                *local.entry(SocketAddrV4::new(address, endpoint.port)).or_default() |= takes_new;
            }
        }
        Backend {
            service: name.clone(),
            weights,
            local,
            affinity: service.affinity.is_some(),
            kernel_path: !endpoints.is_empty()
                && endpoints.iter().all(|endpoint| on(endpoint, &self.with_announcer).is_none()),
        }
    }
}

#[cfg(test)]
#[path = "forwarding_tests.rs"]
mod tests;
