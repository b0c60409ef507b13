//! Clients on the LAN and what reaches the pods.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Context, ensure};

use super::served::{SOON, Served};
use crate::{
    lab::{Namespace, client_address, ping, traffic, wire},
    runner::{Case, Scope, Suite, skip},
};

const MEGABYTES: u64 = 200;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(Suite::Lab, "exactly_one_node_answers_arp_and_it_is_the_leader", one_answer),
        Case::new(Suite::Lab, "arping_gets_answers_from_the_leader_alone", arping),
        Case::new(Suite::Lab, "pods_on_three_nodes_answer_and_see_the_clients_address", three_pods),
        Case::new(Suite::Lab, "curl_fetches_through_the_address", curl),
        Case::new(Suite::Lab, "udp_is_answered_from_the_address_with_the_clients_address_seen", udp),
        Case::new(Suite::Lab, "the_address_answers_a_ping", echo),
        Case::new(Suite::Lab, "200_mb_each_way_arrive_whole_and_without_checksum_errors", bulk).limit(120),
        Case::new(Suite::Lab, "transfers_stay_whole_when_the_pod_checks_its_own_checksums", pod_without_offload),
    ]
    .into_iter()
    .map(|case| case.group("serving"))
    .collect()
}

fn one_answer(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let leader = served.cluster.leader(served.vip)?;
    for _ in 0..10 {
        let node = served.answered_by()?;
        ensure!(node == leader, "{node} answers, the Lease names {leader}");
    }
    Ok(())
}

fn arping(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let leader = served.cluster.leader(served.vip)?;
    let mac = served.cluster.node(&leader)?.mac.to_string();
    let client = served.cluster.lab.client();
    let Ok(output) = client.output(&format!("arping -c 5 -w 3 -I eth0 {}", served.vip)) else {
        return skip("arping is not installed: apt-get install arping");
    };
    let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
    let macs: BTreeSet<&str> = text
        .split(|c: char| !(c.is_ascii_hexdigit() || c == ':'))
        .filter(|word| word.len() == 17 && word.matches(':').count() == 5 && *word != "ff:ff:ff:ff:ff:ff")
        .collect();
    ensure!(macs == BTreeSet::from([mac.as_str()]), "arping saw {macs:?}, the leader {leader} has {mac}:\n{text}");
    Ok(())
}

fn three_pods(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    served.wait_pods(&["p1-1", "p2-1", "p3-1"])?;
    for _ in 0..30 {
        let answer = served.fetch()?;
        ensure!(answer.client.ip() == IpAddr::V4(client_address(1)), "the pod sees {}", answer.client);
    }
    Ok(())
}

fn curl(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let line = format!("curl --silent --show-error --fail --max-time 2 http://{}/", served.vip);
    let text = served.cluster.lab.client().text(&line)?;
    ensure!(text.contains(&format!("client={}", client_address(1))), "{text}");
    Ok(())
}

fn udp(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let mut pods = BTreeSet::new();
    for size in [0, 1, 2, 3, 64, 511, 1024, 1200].into_iter().cycle().take(48) {
        let payload: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[0]).collect();
        let (answer, back) = traffic::udp_ask(served.cluster.lab.client(), served.dns(), &payload, SOON)?;
        ensure!(back == payload, "{size} bytes came back as {}", back.len());
        ensure!(answer.client.ip() == IpAddr::V4(client_address(1)), "the pod sees {}", answer.client);
        pods.insert(answer.pod);
    }
    ensure!(pods.len() == 3, "UDP reached only {pods:?}");
    Ok(())
}

fn echo(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    for size in [0, 1, 56, 1400] {
        let answered = ping(served.cluster.lab.client(), served.vip, 5, size)?;
        ensure!(answered == 5, "{answered} of 5 pings with {size} bytes were answered");
    }
    Ok(())
}

fn bulk(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let machines: Vec<&Namespace> =
        served.cluster.pods.iter().map(|p| &p.namespace).chain([served.cluster.lab.client()]).collect();
    let before: u64 = machines.iter().map(|m| wire::checksum_errors(m)).sum::<anyhow::Result<_>>()?;
    let client = served.cluster.lab.client();
    for (way, transfer) in [
        ("up", traffic::upload(client, served.http(), MEGABYTES * 1_000_000)?),
        ("down", traffic::download(client, served.http(), MEGABYTES * 1_000_000)?),
    ] {
        ensure!(transfer.sent == transfer.received, "{MEGABYTES} MB {way}: {transfer:?}");
        eprintln!("{MEGABYTES} MB {way} in {:.1} s", transfer.took.as_secs_f64());
    }
    let after: u64 = machines.iter().map(|m| wire::checksum_errors(m)).sum::<anyhow::Result<_>>()?;
    ensure!(after == before, "{} packets with wrong checksums", after - before);
    Ok(())
}

/// A veth receiver believes a checksum that is still to be done, and would hide a wrong one: here nothing is left to do.
fn pod_without_offload(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let pods: Vec<&Namespace> = served.cluster.pods.iter().map(|p| &p.namespace).collect();
    let set = |state: &str| pods.iter().try_for_each(|p| p.text(&format!("ethtool -K eth0 tx {state}")).map(drop));
    set("off")?;
    let client = served.cluster.lab.client();
    let before = wire::checksum_errors(client)?;
    let mut reached = BTreeSet::new();
    for _ in 0..12 {
        let transfer = traffic::download(client, served.http(), 1_000_000)?;
        ensure!(transfer.sent == transfer.received, "{transfer:?}");
        let (answer, _) = traffic::udp_ask(client, served.dns(), b"checksum", SOON)?;
        reached.insert(answer.pod);
    }
    ensure!(wire::checksum_errors(client)? == before, "replies came with wrong checksums");
    ensure!(reached.len() > 1, "only {reached:?} was reached");
    let up = traffic::upload(client, served.http(), 1_000_000).context("uploading")?;
    ensure!(up.sent == up.received, "{up:?}");
    set("on")
}
