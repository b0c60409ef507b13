//! A node leaves the LAN, or its agent for good.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use super::served::{SOON, Served, outcome};
use crate::{
    cluster::Cluster,
    kube::objects,
    lab::{
        Shape,
        traffic::{self, Held, Prober},
        wire::{self, ArpWatch},
    },
    runner::{Case, Scope, Suite},
    wait::{wait_for, wait_until},
};

/// Heartbeat Leases alone: stale after 25 s, noticed and taken over within the rest.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(Suite::Lab, "a_leader_cut_off_the_lan_is_replaced_within_30_seconds_and_yields_when_back", cut_off)
            .group("agents")
            .limit(150),
        Case::new(Suite::Lab, "when_the_deadline_passes_the_node_behaves_as_if_announcer_were_absent", deadline)
            .limit(90),
    ]
}

fn cut_off(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let (old, vip) = (served.cluster.leader(served.vip)?, served.vip);
    let prober = Prober::start(
        served.cluster.lab.client(),
        served.http(),
        Duration::from_millis(50),
        Duration::from_millis(500),
    );
    wait_for("the prober has answers", Duration::from_secs(5), || Ok(prober.so_far().probes.len() > 20))?;
    let held = Held::open_patiently(
        served.cluster.lab.client(),
        served.http(),
        150,
        Duration::from_millis(500),
        // An outage of 30 s puts the next retransmission as far off again.
        Duration::from_secs(90),
    )?;
    let heard = ArpWatch::start(served.cluster.lab.client())?;
    let node = served.cluster.node(&old)?;
    let cut = Instant::now();
    served.cluster.lab.set_cable(node, false)?;
    let new = wait_until("another node answers for the VIP", TAKEN_OVER_WITHIN, || {
        let answers = wire::arp_answers(served.cluster.lab.client(), vip, Duration::from_millis(100))?;
        Ok(answers.first().map(|a| a.sender_mac))
    })?;
    eprintln!("answered by {new} after {:.1} s", cut.elapsed().as_secs_f64());
    ensure!(new != node.mac, "the cut-off node answers");
    wait_for("every request is answered again", Duration::from_secs(10), || {
        (0..30).try_for_each(|_| served.fetch().map(drop))?;
        Ok(true)
    })?;
    let report = prober.finish()?;
    eprintln!("{}", report.summary());
    let moved = served.cluster.leader(vip)?;
    ensure!(moved != old, "the Lease still names {old}");

    let announced: Vec<_> = heard.finish()?.into_iter().filter(|a| a.sender == vip && a.target == vip).collect();
    ensure!(announced.iter().all(|a| a.sender_mac == new && a.frame_source == new), "announced were {announced:?}");
    for request in [true, false] {
        ensure!(announced.iter().any(|a| a.request == request), "gratuitous ARP was heard only as {announced:?}");
    }

    // Back on the LAN it must not answer beside its successor.
    served.cluster.lab.set_cable(node, true)?;
    wait_for("the node that is back has heard that it leads no more", Duration::from_secs(20), || {
        let vips = served.cluster.agents[&old].json("vips")?;
        Ok(vips[0]["leader"] == moved.as_str() && vips[0]["announcedOn"].as_array().is_some_and(Vec::is_empty))
    })?;
    for _ in 0..5 {
        let answering = served.answered_by()?;
        ensure!(answering == moved, "{answering} answers, the Lease names {moved}");
    }
    served.wait_pods(&["p1-1", "p2-1", "p3-1"])?;
    // Connections to pods of other nodes outlive the leader; those of its own pods were out of reach.
    let report = held.finish()?;
    let lost: Vec<_> = report.broken.iter().filter(|b| !b.contains(&format!("to p{}-", &old[1..]))).collect();
    eprintln!("held: {:?} whole, {} broken", report.whole, report.broken.len());
    ensure!(lost.is_empty(), "connections to pods of nodes that stayed broke: {lost:#?}");
    Ok(())
}

fn deadline(scope: &mut Scope) -> anyhow::Result<()> {
    const HOLD: Duration = Duration::from_secs(4);
    let mut cluster = Cluster::without_agents(scope.run, Shape { nodes: 1, clients: 1 })?;
    cluster.api().apply(&objects::pool("lan", json!([{"cidr": "10.25.150.192/27"}])))?;
    cluster.api().apply(&objects::policy("all"))?;
    cluster.start_agent(1, &["--hold-time", &format!("{}s", HOLD.as_secs())])?;
    cluster.wait_agents()?;
    let pods = cluster.add_pods(&[1])?;
    let vip = cluster.serve("web", &pods)?;
    cluster.wait_served(vip)?;
    let client = cluster.lab.client();
    let answers = || wire::arp_answers(client, vip, Duration::from_millis(100));

    // While the agent lives, the deadline is pushed ahead of the clock.
    let end = Instant::now() + 2 * HOLD;
    while Instant::now() < end {
        ensure!(!answers()?.is_empty(), "the VIP is not answered although the agent runs");
    }
    let passed_up = outcome(&cluster.agents["n1"], "expired")?;
    ensure!(passed_up == 0, "{passed_up} packets were passed up as expired while the agent ran");
    cluster.agent("n1")?.kill();
    let client = cluster.lab.client();
    traffic::fetch(client, (vip, 80).into(), SOON)?;
    wait_for("the VIP is answered no more", HOLD + Duration::from_secs(5), || {
        Ok(wire::arp_answers(client, vip, Duration::from_millis(100))?.is_empty())
    })?;
    ensure!(traffic::fetch(client, (vip, 80).into(), SOON).is_err(), "the VIP is served past the deadline");

    // The next agent takes up where the last one was.
    cluster.start_agent(1, &["--hold-time", "4s"])?;
    cluster.wait_agents()?;
    cluster.wait_served(vip)
}
