//! `cargo xtask demo`: a cluster from nothing, a client on its LAN, and what the client sees while things fail.

mod look;
mod table;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::{
    cluster::{Cluster, pool_address},
    kube::{Kind, objects},
    lab::{
        RunId, Shape, client_address, reaper,
        traffic::{self, Prober},
        wire,
    },
    wait::wait_until,
};

/// Pace of the client's requests while something fails, and how long it waits for one.
const PACE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_millis(900);
/// A node's heartbeat is stale after 25 s.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(40);

/// What `announcer-tests demo` was asked.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Leave the lab up and print commands to look around in it.
    #[arg(long, conflicts_with = "clean")]
    keep: bool,
    /// Remove labs that were kept.
    #[arg(long)]
    clean: bool,
}

/// Shows the whole path, or removes what an earlier showing left.
pub fn demo(options: &Options) -> anyhow::Result<()> {
    if options.clean {
        clean();
        return Ok(());
    }
    reaper::remove_stale();
    let told = Story::begin();
    let mut cluster = build(&told)?;
    let facts = tell(&told, &mut cluster);
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => {
            cluster.explain();
            return Err(error);
        }
    };
    println!("\nWhat happened\n\n{}", table::draw(&facts.rows()));
    if options.keep {
        look::keep(&mut cluster, &facts)?;
    }
    Ok(())
}

/// Removes every lab that was kept, and those that lost their owner.
fn clean() {
    let kept: Vec<RunId> = reaper::runs().into_iter().filter(reaper::is_kept).collect();
    for run in &kept {
        reaper::remove(run);
        println!("removed the lab {run}");
    }
    reaper::remove_stale();
    if kept.is_empty() {
        println!("no lab was kept");
    }
}

/// Says what is done, with the time since the beginning.
struct Story(Instant);

impl Story {
    fn begin() -> Self {
        Self(Instant::now())
    }

    fn say(&self, text: &str) {
        println!("{:6.1} s  {text}", self.0.elapsed().as_secs_f64());
    }
}

/// What was seen and measured.
struct Facts {
    vip: Ipv4Addr,
    address_after: Duration,
    first_leader: String,
    leader_mac: String,
    shares: BTreeMap<String, usize>,
    client_seen: String,
    killed: (usize, usize),
    cut: (usize, usize),
    next_leader: String,
    answered_after: Duration,
}

impl Facts {
    fn rows(&self) -> Vec<[String; 2]> {
        let shares: Vec<String> = self.shares.iter().map(|(pod, count)| format!("{pod}: {count}")).collect();
        let (killed, cut) = (self.killed, self.cut);
        [
            ("address of Service web", format!("{}, given after {} ms", self.vip, self.address_after.as_millis())),
            ("led by", format!("node {}, which alone answers ARP ({})", self.first_leader, self.leader_mac)),
            ("requests by pod", shares.join(", ")),
            ("client as the pods see it", format!("{} (its own address)", self.client_seen)),
            ("leader's agent killed", format!("{} of {} requests lost", killed.1, killed.0)),
            (
                "leader's cable pulled",
                format!("node {} answers after {:.1} s", self.next_leader, self.answered_after.as_secs_f64()),
            ),
            ("requests meanwhile", format!("{} of {} lost, none after that", cut.1, cut.0)),
        ]
        .map(|(what, figure)| [what.to_owned(), figure])
        .to_vec()
    }
}

fn build(told: &Story) -> anyhow::Result<Cluster> {
    told.say("A LAN of network namespaces: a bridge, three nodes, a client; kube-apiserver and etcd on it.");
    let mut cluster = Cluster::without_agents(RunId::new(std::process::id(), 0), Shape::default())?;
    told.say("The API server is up and has announcer's manifests: definitions, roles, ServiceAccount.");
    for number in 1..=3 {
        cluster.start_agent(number, &[])?;
    }
    cluster.wait_agents()?;
    told.say("An agent runs on each node, with the ServiceAccount's token; its programs are on eth0.");
    cluster.add_pods(&[1, 2, 3])?;
    told.say("A pod runs behind each node.");
    Ok(cluster)
}

fn tell(told: &Story, cluster: &mut Cluster) -> anyhow::Result<Facts> {
    let (first, last) = (pool_address(0), pool_address(30));
    let blocks = json!([{"start": first.to_string(), "stop": last.to_string()}]);
    cluster.api().apply(&objects::pool("lan", blocks))?;
    cluster.api().apply(&objects::policy("all"))?;
    told.say(&format!("Pool lan has {first} to {last}; a policy lets every node announce."));

    let begun = Instant::now();
    let vip = cluster.serve("web", &[0, 1, 2])?;
    let address_after = begun.elapsed();
    told.say(&format!("Service web of type LoadBalancer is created and gets {vip}."));
    let first_leader = cluster.leader(vip)?;
    cluster.wait_served(vip)?;
    let leader_mac = one_answer(cluster, vip)?;
    told.say(&format!("Node {first_leader} leads it: asked who has {vip}, the LAN hears one answer, {leader_mac}."));

    let (shares, client_seen) = fetch(cluster, vip)?;
    told.say(&format!(
        "The client fetches 60 times: pods on {} nodes answer, all see it as {client_seen}.",
        shares.len()
    ));

    let killed = kill_agent(told, cluster, vip, &first_leader)?;
    let (next_leader, answered_after, cut) = pull_cable(told, cluster, vip, &first_leader)?;
    put_cable_back(told, cluster, vip, &first_leader, &next_leader)?;
    Ok(Facts {
        vip,
        address_after,
        first_leader,
        leader_mac,
        shares,
        client_seen,
        killed,
        cut,
        next_leader,
        answered_after,
    })
}

/// The one MAC that answers for the VIP.
fn one_answer(cluster: &Cluster, vip: Ipv4Addr) -> anyhow::Result<String> {
    let answers = wire::arp_answers(cluster.lab.client(), vip, Duration::from_millis(300))?;
    ensure!(answers.len() == 1, "one ARP request for {vip} got {} answers: {answers:?}", answers.len());
    Ok(answers[0].sender_mac.to_string())
}

fn fetch(cluster: &Cluster, vip: Ipv4Addr) -> anyhow::Result<(BTreeMap<String, usize>, String)> {
    let (mut shares, mut seen) = (BTreeMap::new(), String::new());
    for _ in 0..60 {
        let answer = traffic::fetch(cluster.lab.client(), (vip, 80).into(), PATIENCE)?;
        ensure!(answer.client.ip() == client_address(1), "a pod sees the client as {}", answer.client);
        seen = answer.client.ip().to_string();
        *shares.entry(answer.pod).or_default() += 1;
    }
    Ok((shares, seen))
}

fn requests(cluster: &Cluster, vip: Ipv4Addr, patience: Duration) -> Prober {
    Prober::start(cluster.lab.client(), (vip, 80).into(), PACE, patience)
}

fn wait_requests(prober: &Prober, count: usize) -> anyhow::Result<()> {
    let begun = prober.so_far().probes.len();
    wait_until("the client makes requests", Duration::from_secs(30), || {
        Ok((prober.so_far().probes.len() >= begun + count).then_some(()))
    })
}

/// Requests made, and lost.
fn kill_agent(told: &Story, cluster: &mut Cluster, vip: Ipv4Addr, leader: &str) -> anyhow::Result<(usize, usize)> {
    told.say(&format!(
        "The client now makes a request every {} ms. {leader}'s agent is killed (SIGKILL) ...",
        PACE.as_millis()
    ));
    let prober = requests(cluster, vip, PATIENCE);
    wait_requests(&prober, 50)?;
    cluster.agent(leader)?.kill();
    wait_requests(&prober, 150)?;
    let report = prober.finish()?;
    let (made, lost) = (report.probes.len(), report.lost().len());
    told.say(&format!("... and {lost} of {made} requests are lost: the programs and maps stay in the kernel."));
    let number = cluster.node(leader)?.number;
    cluster.start_agent(number, &[])?;
    cluster.wait_agents()?;
    told.say(&format!("{leader}'s agent is started again and takes over what is there."));
    Ok((made, lost))
}

/// The next leader, after what time it answers, and requests made and lost meanwhile.
fn pull_cable(
    told: &Story,
    cluster: &Cluster,
    vip: Ipv4Addr,
    leader: &str,
) -> anyhow::Result<(String, Duration, (usize, usize))> {
    let node = cluster.node(leader)?;
    let prober = requests(cluster, vip, Duration::from_millis(500));
    wait_requests(&prober, 50)?;
    told.say(&format!("{leader}'s cable is pulled. Its heartbeat in the API server is stale after 25 s; wait ..."));
    let cut = Instant::now();
    cluster.lab.set_cable(node, false)?;
    let mac = wait_until(&format!("another node answers for {vip}"), TAKEN_OVER_WITHIN, || {
        let answers = wire::arp_answers(cluster.lab.client(), vip, Duration::from_millis(50))?;
        Ok(answers.first().map(|a| a.sender_mac))
    })?;
    let answered_after = cut.elapsed();
    let next = cluster.lab.nodes.iter().find(|n| n.mac == mac).context("the answer is from no node")?.name.clone();
    ensure!(next != leader, "the node that was cut off answers");
    wait_until("requests are answered again", Duration::from_secs(20), || {
        (0..30).try_for_each(|_| traffic::fetch(cluster.lab.client(), (vip, 80).into(), PATIENCE).map(drop)).map(Some)
    })?;
    let report = prober.finish()?;
    told.say(&format!(
        "... node {next} answers after {:.1} s; requests were lost for {:.1} s.",
        answered_after.as_secs_f64(),
        report.longest_outage().as_secs_f64()
    ));
    Ok((next, answered_after, (report.probes.len(), report.lost().len())))
}

fn put_cable_back(told: &Story, cluster: &Cluster, vip: Ipv4Addr, old: &str, next: &str) -> anyhow::Result<()> {
    cluster.lab.set_cable(cluster.node(old)?, true)?;
    wait_until(&format!("{old} has heard that {next} leads"), Duration::from_secs(30), || {
        let vips = cluster.agents[old].json("vips")?;
        Ok((vips[0]["leader"] == next && vips[0]["announcedOn"].as_array().is_some_and(Vec::is_empty)).then_some(()))
    })?;
    one_answer(cluster, vip)?;
    let shown = cluster.api().list(Kind::Lease, Some(crate::cluster::SYSTEM))?.len();
    told.say(&format!(
        "The cable is back: {old} sees that {next} leads and leaves it so ({shown} Leases tell the story)."
    ));
    Ok(())
}
