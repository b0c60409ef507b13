//! Agents are killed, restarted, ended; the data path goes on.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::served::Served;
use crate::{
    lab::traffic::{Held, Prober, UdpStream},
    runner::{Case, Scope, Suite},
    wait::wait_for,
};

/// Pace of requests, and how long one may take: less than the first retransmission of a SYN.
const PACE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_millis(900);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(Suite::Lab, "the_leaders_agent_is_killed_and_no_request_is_lost", killed),
        Case::new(Suite::Lab, "an_agent_restarts_under_load_and_no_packet_is_lost", restarted),
        Case::new(Suite::Lab, "sigterm_leaves_the_data_path_in_place", terminated),
        Case::new(Suite::Lab, "the_command_line_shows_links_vips_and_services", shown),
    ]
    .into_iter()
    .map(|case| case.group("agents").limit(90))
    .collect()
}

/// What a client does all the time while something happens to an agent.
struct Load {
    requests: Prober,
    datagrams: UdpStream,
    held: Held,
}

impl Load {
    fn start(served: &Served) -> anyhow::Result<Self> {
        let client = served.cluster.lab.client();
        let load = Self {
            requests: Prober::start(client, served.http(), PACE, PATIENCE),
            datagrams: UdpStream::start(client, served.dns(), Duration::from_millis(2)),
            held: Held::open(client, served.http(), 50, Duration::from_millis(100))?,
        };
        load.wait_more(100)?;
        Ok(load)
    }

    /// Waits until `count` more requests were made and their answers were due.
    fn wait_more(&self, count: usize) -> anyhow::Result<()> {
        let begun = self.requests.so_far().probes.len();
        wait_for("requests are made", Duration::from_secs(30), || {
            Ok(self.requests.so_far().probes.len() >= begun + count)
        })
    }

    fn ensure_nothing_lost(self) -> anyhow::Result<()> {
        let (requests, datagrams, held) = (self.requests.finish()?, self.datagrams.finish()?, self.held.finish()?);
        eprintln!("{}; {} datagrams, lost {:?}", requests.summary(), datagrams.sent, datagrams.lost);
        ensure!(requests.lost().is_empty(), "requests were lost: {}", requests.summary());
        ensure!(datagrams.lost.is_empty(), "{} of {} datagrams lost", datagrams.lost.len(), datagrams.sent);
        ensure!(held.broken.is_empty(), "held connections broke: {:?}", held.broken);
        Ok(())
    }
}

fn killed(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let leader = served.cluster.leader(served.vip)?;
    let load = Load::start(served)?;
    served.cluster.agent(&leader)?.kill();
    load.wait_more(300)?;
    ensure!(served.answered_by()? == leader, "the dead agent's node answers no more");
    load.ensure_nothing_lost()?;
    let number = served.cluster.node(&leader)?.number;
    served.cluster.start_agent(number, &[])?;
    served.cluster.wait_agents()
}

fn restarted(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let leader = served.cluster.leader(served.vip)?;
    let load = Load::start(served)?;
    for number in 1..=3 {
        served.cluster.start_agent(number, &[])?;
        served.cluster.wait_agents()?;
        load.wait_more(50)?;
    }
    load.ensure_nothing_lost()?;
    let now = served.cluster.leader(served.vip)?;
    ensure!(now == leader, "the VIP moved from {leader} to {now}");
    Ok(())
}

fn terminated(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let leader = served.cluster.leader(served.vip)?;
    let load = Load::start(served)?;
    let status = served.cluster.agent(&leader)?.terminate(Duration::from_secs(10))?;
    ensure!(status.success(), "the agent ended with {status}");
    load.wait_more(100)?;
    ensure!(served.answered_by()? == leader);
    load.ensure_nothing_lost()?;
    let number = served.cluster.node(&leader)?.number;
    served.cluster.start_agent(number, &[])?;
    served.cluster.wait_agents()
}

fn shown(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let leader = served.cluster.leader(served.vip)?;
    let agent = served.cluster.agents.get(&leader).context("the leader has no agent")?;
    let status = agent.json("status")?;
    ensure!(status["node"] == leader.as_str() && status["programmed"] == true, "{status}");
    ensure!(status["links"][0]["name"] == "eth0" && status["links"][0]["mode"] == "native", "{status}");
    ensure!(status["nodes"].as_array().is_some_and(|n| n.len() == 3), "{status}");
    let vips = agent.json("vips")?;
    ensure!(vips[0]["address"] == served.vip.to_string() && vips[0]["leader"] == leader.as_str(), "{vips}");
    ensure!(vips[0]["announcedOn"][0] == "eth0", "{vips}");
    let services = agent.json("services")?;
    ensure!(services[0]["name"] == "web" && services[0]["path"]["kind"] == "datapath", "{services}");
    for command in ["status", "vips", "services"] {
        let output = agent.cli(&[command])?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && text.contains(&leader), "announcer {command}: {text}");
    }
    Ok(())
}
