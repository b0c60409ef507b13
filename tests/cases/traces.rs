//! What announcer leaves on a node, and what it asks of the API server when nothing happens.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use aya::programs::{SchedClassifier, TcAttachType};

use super::served::Served;
use crate::{
    cluster::Cluster,
    kube::objects::{self, NAMESPACE},
    lab::Node,
    runner::{Case, Scope, Suite},
    wait::wait_for,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(Suite::Lab, "cleanup_leaves_no_pin_no_xdp_and_no_tcx", cleanup).group("agents"),
        Case::new(Suite::Lab, "idle_agents_ask_little_of_the_api_server_whatever_the_number_of_services", idle)
            .limit(150)
            .alone(),
    ]
}

fn cleanup(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let node = served.cluster.lab.node(1);
    ensure!(programs(node)? == (true, 1), "attached are {:?}", programs(node)?);
    let agent = &served.cluster.agents[&node.name];
    let refused = agent.cli(&["cleanup"])?;
    ensure!(!refused.status.success(), "cleanup ran beside a running agent");
    for number in 1..=3 {
        let name = served.cluster.lab.node(number).name.clone();
        served.cluster.agent(&name)?.terminate(Duration::from_secs(10))?;
        let node = served.cluster.lab.node(number);
        let agent = &served.cluster.agents[&name];
        ensure!(programs(node)?.0, "SIGTERM took the programs away");
        for round in ["first", "second"] {
            let output = agent.cli(&["cleanup"])?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "the {round} cleanup: {said}");
        }
        ensure!(programs(node)? == (false, 0), "attached are still {:?}", programs(node)?);
        let pins = files(agent.bpffs());
        ensure!(pins.is_empty(), "pins are left: {pins:?}");
    }
    Ok(())
}

/// Whether an XDP program is on the node's link, and how many programs on its tcx egress.
fn programs(node: &Node) -> anyhow::Result<(bool, usize)> {
    let link = node.namespace.text("ip -details link show dev eth0")?;
    let tcx = node.namespace.run(|| SchedClassifier::query_tcx("eth0", TcAttachType::Egress))?;
    Ok((link.contains("xdp"), tcx.1.len()))
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() { files(&path) } else { vec![path.display().to_string()] }
        })
        .collect()
}

fn idle(scope: &mut Scope) -> anyhow::Result<()> {
    const WINDOW: Duration = Duration::from_secs(30);
    const MANY: usize = 25;
    const MOST: f64 = 0.2;
    let served = Served::of(scope)?;
    let cluster = &served.cluster;
    let one = rate(cluster, WINDOW)?;
    eprintln!("1 Service: {one:.3} requests a second and agent");
    for number in 0..MANY {
        cluster.api().apply(&objects::service(&format!("more-{number}")))?;
    }
    for number in 0..MANY {
        let vip = cluster.address(&format!("more-{number}"), Duration::from_secs(30))?;
        cluster.leader(vip)?;
    }
    let many = rate(cluster, WINDOW)?;
    eprintln!("{} Services: {many:.3} requests a second and agent", MANY + 1);
    ensure!(one <= MOST && many <= MOST, "with 1 Service {one:.3}, with {} {many:.3} requests a second", MANY + 1);
    ensure!(cluster.api().list(crate::kube::Kind::Service, Some(NAMESPACE))?.len() > MANY);
    Ok(())
}

/// Requests a second and agent that the API server counts in a window without changes.
fn rate(cluster: &Cluster, window: Duration) -> anyhow::Result<f64> {
    // What the last change set off has to be over: one heartbeat's time without anything but heartbeats.
    let mut last = requests(cluster)?;
    let mut since = Instant::now();
    wait_for("the API server comes to rest", Duration::from_secs(60), || {
        let now = requests(cluster)?;
        if total(&now) > total(&last) + 1 {
            since = Instant::now();
        }
        last = now;
        Ok(since.elapsed() > Duration::from_secs(3))
    })?;
    let (before, begun) = (requests(cluster)?, Instant::now());
    wait_for("the window is over", window * 2, || Ok(begun.elapsed() >= window))?;
    let after = requests(cluster)?;
    for (what, count) in &after {
        let more = count - before.get(what).copied().unwrap_or(0);
        if more > 0 {
            eprintln!("  {more:4} {what}");
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are small")]
    Ok((total(&after) - total(&before)) as f64 / begun.elapsed().as_secs_f64() / cluster.agents.len() as f64)
}

fn total(requests: &BTreeMap<String, u64>) -> u64 {
    requests.values().sum()
}

/// `apiserver_request_total` of resources (this client's own reads of /metrics have none).
fn requests(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, u64>> {
    let metrics = cluster.api().text("/metrics")?;
    let mut requests = BTreeMap::new();
    for line in metrics.lines().filter(|l| l.starts_with("apiserver_request_total{")) {
        let (labels, value) = line.rsplit_once(' ').context("a metric without a value")?;
        let label = |name: &str| {
            let start = labels.find(&format!(",{name}=\""))? + name.len() + 3;
            labels[start..].split('"').next()
        };
        let resource = label("resource").unwrap_or_default();
        if !resource.is_empty() {
            let what = format!("{} {resource}", label("verb").unwrap_or_default());
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let count = value.parse::<f64>()? as u64;
            *requests.entry(what).or_default() += count;
        }
    }
    Ok(requests)
}
