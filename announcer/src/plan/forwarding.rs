//! What the data path shall do: VIPs, Services, weights of nodes, local endpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
};

use announcer_ebpf::abi::SourceKind;
use ipnet::Ipv4Net;

use super::{
    election::Election,
    maglev::{NodeName, Weights},
};
use crate::world::model::{Mac, ObjectName, Protocol, World};

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

/// What this node's data path shall hold. Pure, and the same Services, weights and nodes on every node that knows the
/// same.
#[must_use]
pub fn plan(world: &World, _election: &Election) -> Forwarding {
    Forwarding { cluster_uid: world.cluster_uid.clone(), ..Forwarding::default() }
}
