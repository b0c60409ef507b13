//! What is known, as plain data: no client types, no clocks, no I/O. The watchers fill it, the planners read it.
//!
//! Times are [`Moment`]s of the agent's own monotonic clock: what another machine's clock says is never compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::IpNet;

use crate::api::names;

use super::message::Kind;

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Time since the agent's monotonic clock began; an input of every decision that depends on time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// Time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// All that one agent knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    /// This node's name.
    pub me: String,
    /// UID of namespace kube-system: the cluster's identity, from which the flow key is derived.
    pub cluster_uid: Option<String>,
    pub services: BTreeMap<ObjectName, Service>,
    /// Endpoints by Service (all its slices merged, without duplicates, in a stable order).
    pub endpoints: BTreeMap<ObjectName, Vec<Endpoint>>,
    /// Labels of namespaces are not needed; nodes are.
    pub nodes: BTreeMap<String, Node>,
    pub pools: BTreeMap<String, Pool>,
    pub policies: BTreeMap<String, Policy>,
    /// The Lease of each VIP: its claim and its leader.
    pub claims: BTreeMap<IpAddr, Claim>,
    /// The heartbeat Lease of each node that runs announcer.
    pub heartbeats: BTreeMap<String, Heartbeat>,
    /// The allocator's Lease.
    pub allocator: Option<AllocatorLease>,
    /// This node's links that the settings name, by name.
    pub links: BTreeMap<String, Link>,
    /// Every address that this node's links have: never a VIP.
    pub own_addresses: BTreeSet<IpAddr>,
    /// Next hops of this node's default routes: never a VIP.
    pub gateways: BTreeSet<IpAddr>,
    /// Addresses of the API server as the kubeconfig and the kubernetes Service name it: never a VIP.
    pub api_endpoints: BTreeSet<IpAddr>,
    /// What the above is derived from; the planners need not look at it.
    pub sources: Sources,
}

/// What has been heard, before it is merged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sources {
    /// The kinds whose first list is in.
    pub listed: BTreeSet<Kind>,
    /// Watches that cannot go on at present, and what to do about it.
    pub troubles: BTreeMap<Kind, String>,
    /// The EndpointSlices of each Service, by name.
    pub slices: BTreeMap<ObjectName, BTreeMap<String, Vec<Endpoint>>>,
    /// The Service of each EndpointSlice: its label may change, and a deletion names only the slice.
    pub slice_of: BTreeMap<ObjectName, ObjectName>,
    /// The API server's addresses by the kubeconfig.
    pub api_server: BTreeSet<IpAddr>,
}

impl World {
    /// What is known to the agent of node `me` before it has heard anything.
    #[must_use]
    pub fn new(me: &str) -> Self {
        Self { me: me.to_owned(), ..Self::default() }
    }

    /// Whether the first list of every kind is in. Before that nothing may be deleted, taken over or given up.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.sources.listed.contains(kind))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// IP protocol number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FamilyPolicy {
    #[default]
    SingleStack,
    PreferDualStack,
    RequireDualStack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrafficPolicy {
    #[default]
    Cluster,
    Local,
}

/// A Service, whatever its type (one that left type LoadBalancer must be cleaned up).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Service {
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    /// Unix seconds by the API server's clock: orders Services, is never compared with a local clock.
    pub created: i64,
    pub deleting: bool,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// `spec.type` is LoadBalancer.
    pub load_balancer: bool,
    pub class: Option<String>,
    pub cluster_ips: Vec<IpAddr>,
    pub families: Vec<Family>,
    pub family_policy: FamilyPolicy,
    pub ports: Vec<ServicePort>,
    /// `spec.loadBalancerIP`, unparsed.
    pub load_balancer_ip: Option<String>,
    pub external_ips: Vec<IpAddr>,
    pub traffic_policy: TrafficPolicy,
    /// ClientIP affinity and its timeout.
    pub affinity: Option<Duration>,
    pub publish_not_ready: bool,
    pub health_check_node_port: Option<u16>,
    pub has_selector: bool,
    /// `status.loadBalancer.ingress` addresses (entries with a hostname only are left out).
    pub ingress: Vec<Ingress>,
    /// `status.conditions`.
    pub conditions: Vec<Condition>,
}

impl Service {
    /// The labels that selectors see: its own, and its namespace and name under synthetic keys (its own labels of
    /// those keys gain nothing).
    #[must_use]
    pub fn selectable_labels(&self, name: &ObjectName) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert(names::SELECTOR_NAMESPACE.to_owned(), name.namespace.clone());
        labels.insert(names::SELECTOR_NAME.to_owned(), name.name.clone());
        labels
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    pub ip: IpAddr,
    /// `VIP` or `Proxy`.
    pub ip_mode: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub kind: String,
    pub status: bool,
    pub reason: String,
    pub message: String,
    pub observed_generation: Option<i64>,
    /// `lastTransitionTime` in Unix seconds, kept when a condition is written again without a change of its status.
    pub last_transition: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort {
    /// Empty where the Service has one unnamed port.
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
}

/// One address of an EndpointSlice with one of its ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Name of the Service's port that it belongs to.
    pub port_name: String,
    pub protocol: Protocol,
    pub ip: IpAddr,
    pub port: u16,
    /// None: not on a node of the cluster.
    pub node: Option<String>,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    pub addresses: Vec<IpAddr>,
    pub pod_cidrs: Vec<IpNet>,
    pub ready: bool,
    pub unschedulable: bool,
    pub deleting: bool,
    pub network_unavailable: bool,
    /// (key, effect).
    pub taints: Vec<(String, String)>,
}

/// A pool as its spec says, blocks already parsed (the CRD's schema refuses bad ones; what came by anyway is in
/// `errors`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pool {
    pub uid: String,
    pub generation: i64,
    pub created: i64,
    pub blocks: Vec<Block>,
    pub selector: Selector,
    pub disabled: bool,
    pub allow_first_last: bool,
    pub avoid_buggy: bool,
    pub auto_assign: bool,
    /// Lower comes first; ties by creation, then name.
    pub priority: i32,
    pub conditions: Vec<Condition>,
    pub counts: Option<PoolCounts>,
    /// Why parts of the spec cannot be used, field named.
    pub errors: Vec<String>,
}

/// An inclusive range of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    pub first: IpAddr,
    pub last: IpAddr,
    /// Given as a CIDR: `allowFirstLastIPs` applies.
    pub cidr: Option<IpNet>,
}

/// `status` counts of a pool, per family: [total, available, used].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolCounts {
    pub v4: [u128; 3],
    pub v6: [u128; 3],
}

/// A Kubernetes label selector; empty selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    pub match_labels: BTreeMap<String, String>,
    pub expressions: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.expressions.is_empty()
    }

    /// Whether `labels` satisfy every part (Kubernetes semantics: NotIn and DoesNotExist hold for an absent key).
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(k, v)| labels.get(k) == Some(v))
            && self.expressions.iter().all(|r| {
                let value = labels.get(&r.key);
                match r.operator {
                    Operator::In => value.is_some_and(|v| r.values.contains(v)),
                    Operator::NotIn => value.is_none_or(|v| !r.values.contains(v)),
                    Operator::Exists => value.is_some(),
                    Operator::DoesNotExist => value.is_none(),
                }
            })
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    pub uid: String,
    pub generation: i64,
    pub service_selector: Selector,
    pub node_selector: Selector,
    /// Anchored regular expressions of link names; empty: every link that the agent serves.
    pub interfaces: Vec<String>,
    pub external_ips: bool,
    pub load_balancer_ips: bool,
    pub conditions: Vec<Condition>,
    /// `status` counts: Services and nodes that it selects.
    pub counts: Option<[u64; 2]>,
    /// Why the policy cannot be used, field named; one with errors selects nothing.
    pub errors: Vec<String>,
}

/// The Lease of a VIP (`vip-10-25-150-222`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    pub resource_version: String,
    /// Services that have the address.
    pub services: BTreeSet<ObjectName>,
    /// `spec.holderIdentity`: the leading node.
    pub holder: Option<String>,
    /// `spec.leaseTransitions`.
    pub term: u64,
}

/// A node's heartbeat Lease (`node-<name>`): what it says of itself, and when a change was last seen here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    pub resource_version: String,
    /// Changes with every beat; its content means nothing.
    pub beat: String,
    /// When `beat` was last seen to change, by this agent's clock.
    pub observed: Moment,
    /// The Lease was there when this agent first listed: how old its last beat is, is unknown.
    pub first_seen: Moment,
    pub facts: NodeFacts,
}

/// Annotation `announcer.dev/node` of a heartbeat Lease, JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeFacts {
    /// Version of the agent.
    pub version: String,
    /// The data path is programmed and takes rows.
    pub ready: bool,
    /// The agent hands its VIPs over and takes none.
    pub leaving: bool,
    pub links: Vec<LinkFacts>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LinkFacts {
    pub name: String,
    /// `02:00:00:00:00:01`.
    pub mac: Mac,
    /// Addresses with their prefixes.
    pub addresses: Vec<IpNet>,
    /// Up, with carrier, programs attached.
    pub up: bool,
}

/// A link-layer address; written with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Mac {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bytes: Vec<u8> = s
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2))
            .collect::<Option<_>>()
            .ok_or_else(|| format!("{s:?} is not a MAC"))?;
        bytes.try_into().map(Self).map_err(|_| format!("{s:?} is not a MAC"))
    }
}

impl serde::Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllocatorLease {
    pub resource_version: String,
    pub holder: Option<String>,
    pub term: u64,
}

/// A local link that announcer serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub name: String,
    pub index: u32,
    pub mac: Mac,
    pub mtu: u32,
    /// Administratively up and with carrier.
    pub up: bool,
    pub addresses: Vec<IpNet>,
    /// How the programs are attached; None: not (yet).
    pub attached: Option<AttachMode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachMode {
    Native,
    NativeFrags,
    Generic,
}

impl Link {
    /// The first IPv4 address, by which peers reach this node on the link.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|net| match net {
            IpNet::V4(net) => Some(net.addr()),
            IpNet::V6(_) => None,
        })
    }
}
