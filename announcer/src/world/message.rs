//! The one type of message by which the watching tasks tell what they see.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    ops::BitOrAssign,
};

use super::model::{AllocatorLease, Claim, Endpoint, Link, Node, NodeFacts, ObjectName, Policy, Pool, Service};

/// One piece of news from a watching task.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Services(Update<ObjectName, Service>),
    /// By the slice's own name; several slices make a Service's endpoints.
    Slices(Update<ObjectName, Slice>),
    Nodes(Update<String, Node>),
    Pools(Update<String, Pool>),
    Policies(Update<String, Policy>),
    /// By the Lease's name, in announcer's own namespace.
    Leases(Update<String, Lease>),
    /// UID of namespace kube-system.
    Cluster(String),
    /// Addresses at which this agent reaches the API server.
    ApiServer(BTreeSet<IpAddr>),
    /// All links and addresses of this node as they are now.
    Links(LinkTable),
    /// A watch cannot go on (why, and what to do), or goes on again (None). What it told before stands.
    Trouble(Kind, Option<String>),
}

/// News of one kind of object.
#[derive(Debug, Clone, PartialEq)]
pub enum Update<K, V> {
    /// The whole list: at the start, and after a watch had to begin anew. What is not in it is gone.
    All(Vec<(K, V)>),
    Set(K, V),
    Gone(K),
}

/// What is watched. A [`World`](super::model::World) is complete when the first list of each is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Services,
    Slices,
    Nodes,
    Pools,
    Policies,
    Leases,
    Cluster,
    Links,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Services,
        Self::Slices,
        Self::Nodes,
        Self::Pools,
        Self::Policies,
        Self::Leases,
        Self::Cluster,
        Self::Links,
    ];

    /// The name by which kubectl knows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Slices => "endpointslices.discovery.k8s.io",
            Self::Nodes => "nodes",
            Self::Pools => "loadbalancerippools.announcer.dev",
            Self::Policies => "l2announcementpolicies.announcer.dev",
            Self::Leases => "leases.coordination.k8s.io",
            Self::Cluster => "namespace kube-system",
            Self::Links => "links",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// By label `kubernetes.io/service-name`.
    pub service: ObjectName,
    pub endpoints: Vec<Endpoint>,
}

/// A Lease of announcer's namespace, by its label `announcer.dev/kind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    Vip {
        ip: IpAddr,
        claim: Claim,
    },
    /// `beat` changes with every beat of the node.
    Node {
        node: String,
        resource_version: String,
        beat: String,
        facts: NodeFacts,
    },
    Allocator(AllocatorLease),
}

/// This node's links, addresses and default routes, read at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkTable {
    /// The links that the settings name. `attached` is None here: the netlink task does not know it.
    pub links: BTreeMap<String, Link>,
    /// Addresses of every link of the node.
    pub addresses: BTreeSet<IpAddr>,
    /// Next hops of default routes.
    pub gateways: BTreeSet<IpAddr>,
}

/// What a message changed; several are joined by `|=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "a set of topics, each asked for by its name")]
pub struct Change {
    pub services: bool,
    pub endpoints: bool,
    /// An endpoint is gone or no longer ready, or a Service, node or claim is gone: applied at once, where changes that
    /// only add may be gathered.
    pub loss: bool,
    pub nodes: bool,
    pub pools: bool,
    pub policies: bool,
    pub claims: bool,
    /// A heartbeat Lease came, went, came back after a gap, or its facts changed. A mere beat is no change.
    pub heartbeats: bool,
    /// This node's own heartbeat Lease is gone although nobody here removed it: beat again at once.
    pub own_heartbeat_lost: bool,
    pub allocator: bool,
    pub links: bool,
    /// The cluster's UID or the API server's addresses.
    pub cluster: bool,
    /// The last first list is in: the World is complete from now on.
    pub completed: bool,
    /// A watch's trouble began or ended.
    pub troubles: bool,
}

impl Change {
    /// Whether anything changed that a plan depends on.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self { troubles: self.troubles, ..Self::default() }
    }
}

impl BitOrAssign for Change {
    fn bitor_assign(&mut self, other: Self) {
        self.services |= other.services;
        self.endpoints |= other.endpoints;
        self.loss |= other.loss;
        self.nodes |= other.nodes;
        self.pools |= other.pools;
        self.policies |= other.policies;
        self.claims |= other.claims;
        self.heartbeats |= other.heartbeats;
        self.own_heartbeat_lost |= other.own_heartbeat_lost;
        self.allocator |= other.allocator;
        self.links |= other.links;
        self.cluster |= other.cluster;
        self.completed |= other.completed;
        self.troubles |= other.troubles;
    }
}
