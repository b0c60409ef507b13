//! What `announcer status|vips|services` show: the JSON of the control socket, whose field names are a contract.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::world::model::{AttachMode, Mac};

/// Answer of `status`: this node's agent as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub node: String,
    pub version: String,
    pub pid: u32,
    pub uptime_seconds: u64,
    /// Every first list of the API server is in.
    pub complete: bool,
    /// The maps hold the plan made of it.
    pub programmed: bool,
    /// What is being waited for, or what is wrong; empty: nothing.
    pub problems: Vec<String>,
    pub links: Vec<LinkStatus>,
    pub nodes: Vec<NodeStatus>,
    /// The node that gives out addresses.
    pub allocator: Option<String>,
    pub vips: usize,
    /// VIPs that this node leads.
    pub vips_led: usize,
    pub services: usize,
    pub endpoints: usize,
    pub maps: Vec<MapStatus>,
}

/// A link that announcer serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkStatus {
    pub name: String,
    pub mac: Mac,
    pub mtu: u32,
    pub up: bool,
    /// None: the programs are not attached.
    pub mode: Option<AttachMode>,
    pub addresses: Vec<String>,
}

/// A node that runs announcer, as its heartbeat says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    pub name: String,
    /// Its heartbeat was seen to change lately.
    pub alive: bool,
    /// It says that its data path takes traffic.
    pub ready: bool,
    pub leaving: bool,
    pub version: String,
}

/// Fill of a map (`flows`: the flow table).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MapStatus {
    pub name: String,
    pub used: u64,
    pub capacity: u64,
}

/// Answer of `vips`: one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VipStatus {
    pub address: IpAddr,
    /// None: nobody may lead; `reason` says why.
    pub leader: Option<String>,
    pub term: u64,
    pub reason: String,
    /// Links on which this node answers for it; empty: another node leads, or none.
    pub announced_on: Vec<String>,
    /// `namespace/name` of the Services that have it.
    pub services: Vec<String>,
}

/// Answer of `services`: one Service that announcer serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    pub namespace: String,
    pub name: String,
    pub addresses: Vec<IpAddr>,
    pub path: PathStatus,
    pub ports: Vec<PortStatus>,
    pub conditions: Vec<ConditionStatus>,
}

/// Who forwards a Service's traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathStatus {
    pub kind: PathKind,
    /// Why, in plain words; empty where there is nothing to say.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathKind {
    /// announcer's programs.
    Datapath,
    /// The node's kernel (kube-proxy, Cilium).
    Kernel,
    /// Nobody: it has no address yet.
    None,
}

/// One (address, port, protocol) of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortStatus {
    pub address: IpAddr,
    pub port: u16,
    pub protocol: String,
    pub nodes: Vec<NodeWeight>,
    /// Endpoints on this node.
    pub local: Vec<SocketAddr>,
    /// Tables in its list, the newest included.
    pub tables: usize,
    /// Flows that pods of this node have, counted every few seconds.
    pub flows: u64,
}

/// A node's share of new flows: its ready endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeWeight {
    pub name: String,
    pub weight: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionStatus {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: bool,
    pub reason: String,
    pub message: String,
}
