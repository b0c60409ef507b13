//! What the cases on a working cluster share: three nodes with an agent and a pod each, Service `web` on all three.

use std::{net::Ipv4Addr, net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};

use crate::{
    cluster::{Agent, Cluster},
    lab::{Shape, traffic, wire},
    runner::Scope,
    wait::wait_for,
};

/// A request's patience: below the first retransmission of a SYN, so that a lost packet shows.
pub(super) const SOON: Duration = Duration::from_millis(800);

#[derive(Debug)]
pub(super) struct Served {
    pub(super) cluster: Cluster,
    pub(super) vip: Ipv4Addr,
}

impl Served {
    /// The group's cluster, with Service `web` as it was made, whatever the case before did.
    pub(super) fn of(scope: &mut Scope) -> anyhow::Result<&mut Self> {
        let served = scope.shared(|scope| {
            let mut cluster = Cluster::new(scope.run, Shape::default())?;
            let pods = cluster.add_pods(&[1, 2, 3])?;
            let vip = cluster.serve("web", &pods)?;
            Ok(Self { cluster, vip })
        })?;
        served.cluster.ensure_agents_run()?;
        served.cluster.wait_served(served.vip)?;
        Ok(served)
    }

    /// The Service's TCP port.
    pub(super) fn http(&self) -> SocketAddr {
        (self.vip, 80).into()
    }

    /// The Service's UDP port.
    pub(super) fn dns(&self) -> SocketAddr {
        (self.vip, 53).into()
    }

    /// Makes one request.
    pub(super) fn fetch(&self) -> anyhow::Result<traffic::Answer> {
        traffic::fetch(self.cluster.lab.client(), self.http(), SOON)
    }

    /// Waits until new connections reach exactly these pods, by name.
    pub(super) fn wait_pods(&self, pods: &[&str]) -> anyhow::Result<()> {
        let mut wanted: Vec<&str> = pods.to_vec();
        wanted.sort_unstable();
        wait_for(&format!("new connections reach exactly {wanted:?}"), Duration::from_secs(20), || {
            let mut seen = std::collections::BTreeSet::new();
            // With even shares of 6 pods, 90 connections leave one unseen once in two million times.
            for _ in 0..90 {
                seen.insert(self.fetch()?.pod);
                if seen.iter().any(|pod| !wanted.contains(&pod.as_str())) {
                    return Ok(false);
                }
            }
            Ok(seen.len() == wanted.len())
        })
    }

    /// Checks that exactly one machine answers for the VIP and gives its node's name.
    pub(super) fn answered_by(&self) -> anyhow::Result<String> {
        let answers = wire::arp_answers(self.cluster.lab.client(), self.vip, Duration::from_millis(300))?;
        ensure!(answers.len() == 1, "one ARP request for {} got the answers {answers:?}", self.vip);
        let answer = answers[0];
        ensure!(answer.frame_source == answer.sender_mac, "the answer names another MAC than its own: {answer:?}");
        let node = self.cluster.lab.nodes.iter().find(|n| n.mac == answer.sender_mac);
        Ok(node.with_context(|| format!("the answer is from no node: {answer:?}"))?.name.clone())
    }
}

/// `announcer_packets_total` of the agent, by outcome.
pub(super) fn outcome(agent: &Agent, outcome: &str) -> anyhow::Result<u64> {
    let metrics = agent.metrics()?;
    let series = format!("announcer_packets_total{{outcome=\"{outcome}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
    Ok(line.with_context(|| format!("no metric {series}"))?.trim().parse()?)
}
