//! A cluster on the lab's LAN: API server, agents, Services with pods.

mod agent;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use announcer::api::names;
use anyhow::{Context, ensure};
use serde_json::{Value, json};

pub use agent::Agent;

use crate::{
    kube::{
        Api, ControlPlane, Kind,
        objects::{self, NAMESPACE, State},
    },
    lab::{Lab, Node, Pod, RunId, Shape},
    wait::wait_until,
};

/// Namespace of announcer's own Leases.
pub const SYSTEM: &str = names::NAMESPACE;

/// How long an agent may take from its start until it serves.
const AGENT_READY: Duration = Duration::from_secs(30);
/// How long a Service may take to get its address.
const ADDRESS_GIVEN: Duration = Duration::from_secs(20);

/// The lab with an API server and the project's manifests; agents are started by name.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: agents and pods end before the lab that they live in.
    pub agents: BTreeMap<String, Agent>,
    pub pods: Vec<Pod>,
    pub control: ControlPlane,
    pub lab: Lab,
}

impl Cluster {
    /// A LAN, an API server and Nodes, without agents.
    pub fn without_agents(run: RunId, shape: Shape) -> anyhow::Result<Self> {
        let lab = Lab::new(run, shape)?;
        let control = ControlPlane::start(&lab)?;
        control.apply_manifests()?;
        for node in &lab.nodes {
            control.api.apply(&objects::node(node))?;
            control.api.merge(Kind::Node, (None, &node.name), objects::node_status(node.address, true), true)?;
        }
        Ok(Self { agents: BTreeMap::new(), pods: Vec::new(), control, lab })
    }

    /// The same with an agent on every node, each ready, a pool (10.25.150.200 to .230) and a policy for all.
    pub fn new(run: RunId, shape: Shape) -> anyhow::Result<Self> {
        let mut cluster = Self::without_agents(run, shape)?;
        cluster.control.api.apply(&objects::pool(
            "lan",
            json!([{"start": pool_address(0).to_string(), "stop": pool_address(30).to_string()}]),
        ))?;
        cluster.control.api.apply(&objects::policy("all"))?;
        for number in 1..=shape.nodes {
            cluster.start_agent(number, &[])?;
        }
        cluster.wait_agents()?;
        Ok(cluster)
    }

    #[must_use]
    pub fn api(&self) -> &Api {
        &self.control.api
    }

    /// Starts (or starts again) the agent of node `number` with `extra` flags; does not wait for it.
    pub fn start_agent(&mut self, number: u8, extra: &[&str]) -> anyhow::Result<()> {
        let node = self.lab.node(number);
        let agent = match self.agents.remove(&node.name) {
            Some(agent) => agent.restart(&self.lab, node, extra)?,
            None => Agent::start(&self.lab, node, &self.control.agent_kubeconfig(&node.name)?, extra)?,
        };
        self.agents.insert(node.name.clone(), agent);
        Ok(())
    }

    /// Waits until every agent that runs is ready.
    pub fn wait_agents(&mut self) -> anyhow::Result<()> {
        self.agents.values_mut().try_for_each(|agent| agent.wait_ready(AGENT_READY))
    }

    /// The agent of the node with this name.
    pub fn agent(&mut self, node: &str) -> anyhow::Result<&mut Agent> {
        self.agents.get_mut(node).with_context(|| format!("no agent runs on {node}"))
    }

    /// The node with this name.
    pub fn node(&self, name: &str) -> anyhow::Result<&Node> {
        self.lab.nodes.iter().find(|n| n.name == name).with_context(|| format!("there is no node {name}"))
    }

    /// Starts one pod on each of these nodes (a node may be named more than once) and gives their places in `pods`.
    pub fn add_pods(&mut self, nodes: &[u8]) -> anyhow::Result<Vec<usize>> {
        let mut places = Vec::new();
        for number in nodes {
            let node = self.lab.node(*number);
            let taken =
                (1..u8::MAX).find(|n| !self.pods.iter().any(|p| p.address == crate::lab::pod_address(*number, *n)));
            self.pods.push(Pod::start(&self.lab, node, taken.context("no pod address is free")?)?);
            places.push(self.pods.len() - 1);
        }
        Ok(places)
    }

    /// Creates a Service with these pods and waits until it has an address.
    pub fn serve(&self, name: &str, pods: &[usize]) -> anyhow::Result<Ipv4Addr> {
        self.api().apply(&objects::service(name))?;
        self.set_pods(name, pods)?;
        self.address(name, ADDRESS_GIVEN)
    }

    /// Makes these pods the Service's ready endpoints.
    pub fn set_pods(&self, service: &str, pods: &[usize]) -> anyhow::Result<()> {
        let pods: Vec<_> = pods.iter().map(|at| (&self.pods[*at], State::Ready)).collect();
        self.api().apply(&objects::slice(service, &pods)).map(drop)
    }

    /// Removes a Service with its slice and waits until its address is free again.
    pub fn remove(&self, service: &str) -> anyhow::Result<()> {
        let address = self.ingress(service)?;
        self.api().delete(Kind::EndpointSlice, Some(NAMESPACE), &format!("{service}-lab"))?;
        self.api().delete(Kind::Service, Some(NAMESPACE), service)?;
        if let Some(address) = address {
            wait_until("the claim of a deleted Service is gone", Duration::from_secs(20), || {
                Ok(self.lease(address)?.is_none().then_some(()))
            })?;
        }
        Ok(())
    }

    /// Waits for the Service's address.
    pub fn address(&self, service: &str, limit: Duration) -> anyhow::Result<Ipv4Addr> {
        wait_until(&format!("Service {service} has an address"), limit, || self.ingress(service))
            .with_context(|| format!("its status: {}", self.service_status(service).unwrap_or_default()))
    }

    /// `status.loadBalancer.ingress[0].ip`.
    pub fn ingress(&self, service: &str) -> anyhow::Result<Option<Ipv4Addr>> {
        let status = self.service_status(service)?;
        Ok(status["loadBalancer"]["ingress"][0]["ip"].as_str().map(str::parse).transpose()?)
    }

    /// The Service's status; null when there is no such Service.
    pub fn service_status(&self, service: &str) -> anyhow::Result<Value> {
        Ok(self.api().get(Kind::Service, Some(NAMESPACE), service)?.map_or(Value::Null, |s| s["status"].clone()))
    }

    /// The condition that says whether the Service has what it asks for: (status, reason, message).
    pub fn condition(&self, service: &str) -> anyhow::Result<Option<(String, String, String)>> {
        let status = self.service_status(service)?;
        let found = status["conditions"]
            .as_array()
            .and_then(|all| all.iter().find(|c| c["type"] == names::CONDITION_IPAM))
            .map(|c| ["status", "reason", "message"].map(|key| c[key].as_str().unwrap_or_default().to_owned()));
        Ok(found.map(|[status, reason, message]| (status, reason, message)))
    }

    /// The VIP's Lease.
    pub fn lease(&self, vip: Ipv4Addr) -> anyhow::Result<Option<Value>> {
        self.api().get(Kind::Lease, Some(SYSTEM), &names::vip_lease(IpAddr::V4(vip)))
    }

    /// The node that the VIP's Lease names as leader, once it names one.
    pub fn leader(&self, vip: Ipv4Addr) -> anyhow::Result<String> {
        wait_until(&format!("{vip} has a leader"), Duration::from_secs(20), || {
            Ok(self.lease(vip)?.and_then(|l| l["spec"]["holderIdentity"].as_str().map(str::to_owned)))
        })
    }

    /// Waits until a request to the VIP is answered: address given, leader elected, data path in place.
    pub fn wait_served(&self, vip: Ipv4Addr) -> anyhow::Result<()> {
        let to = SocketAddr::from((vip, 80));
        wait_until(&format!("{vip} answers"), Duration::from_secs(20), || {
            crate::lab::traffic::fetch(self.lab.client(), to, Duration::from_millis(500)).map(Some)
        })
        .map(drop)
    }

    /// Events about the object with this name: (type, reason, note).
    pub fn events_about(&self, name: &str) -> anyhow::Result<Vec<(String, String, String)>> {
        let events = self.api().list(Kind::Event, None)?;
        Ok(events
            .iter()
            .filter(|e| e["regarding"]["name"] == name)
            .map(|e| ["type", "reason", "note"].map(|key| e[key].as_str().unwrap_or_default().to_owned()))
            .map(|[kind, reason, note]| (kind, reason, note))
            .collect())
    }

    /// Writes what the agents logged last to standard error.
    pub fn explain(&self) {
        for (node, agent) in &self.agents {
            let log = agent.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- agent on {node}, last lines:");
            for line in &lines[lines.len().saturating_sub(15)..] {
                eprintln!("{line}");
            }
        }
    }

    /// Leaves everything running after this value.
    pub fn keep(&mut self) -> anyhow::Result<()> {
        self.control.detach();
        self.pods.iter_mut().for_each(Pod::detach);
        self.agents.values_mut().for_each(Agent::detach);
        self.lab.keep()
    }

    /// Checks that the agents still run.
    pub fn ensure_agents_run(&mut self) -> anyhow::Result<()> {
        for (node, agent) in &mut self.agents {
            ensure!(agent.ended()?.is_none(), "the agent on {node} ended: {}", agent.last_line());
        }
        Ok(())
    }
}

/// Address `number` (from 0) of the pool that [`Cluster::new`] makes.
#[must_use]
pub fn pool_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 25, 150, 200 + number)
}
