//! What an operator gets wrong ends in one clear message with the remedy.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};

use crate::{
    cluster::{Agent, Cluster},
    lab::Shape,
    runner::{Case, Scope, Suite},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            Suite::Lab,
            "an_interface_expression_that_matches_no_link_ends_the_agent_with_the_links_named",
            no_link,
        ),
        Case::new(Suite::Lab, "a_missing_bpffs_ends_the_agent_with_the_mount_command", no_bpffs),
        Case::new(Suite::Lab, "a_kubeconfig_that_does_not_work_ends_the_agent_and_says_what_is_wrong", bad_kubeconfig)
            .limit(90),
        Case::new(Suite::Lab, "a_second_agent_on_a_node_ends_and_the_first_goes_on", second_agent),
    ]
    .into_iter()
    .map(|case| case.group("control-plane"))
    .collect()
}

fn cluster(scope: &mut Scope) -> anyhow::Result<&mut Cluster> {
    scope.shared(|scope| Cluster::without_agents(scope.run, Shape { nodes: 1, clients: 1 }))
}

/// Runs an agent that must end by itself, unsuccessfully, and gives the message by which it ends.
fn refusal(cluster: &Cluster, kubeconfig: &Path, extra: &[&str]) -> anyhow::Result<String> {
    let mut agent = Agent::start(&cluster.lab, cluster.lab.node(1), kubeconfig, extra)?;
    let status = agent.wait_end(Duration::from_secs(20)).with_context(|| format!("its log: {}", agent.log()))?;
    let log = agent.log();
    ensure!(!status.success(), "the agent ended as if all were well");
    ensure!(status.code() != Some(101) && !log.contains("panicked"), "the agent panicked: {log}");
    // What a parser says may have lines of its own.
    let last = log.split_once("announcer: ").with_context(|| format!("there is no message in {log}"))?.1.to_owned();
    fs::remove_file(cluster.lab.run.directory().join("agent-n1.log"))?;
    Ok(last)
}

fn no_link(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = cluster(scope)?;
    let kubeconfig = cluster.control.agent_kubeconfig("n1")?;
    let message = refusal(cluster, &kubeconfig, &["--interface", "enp[0-9]+"])?;
    ensure!(message.contains("enp[0-9]+") && message.contains("eth0"), "{message}");
    Ok(())
}

fn no_bpffs(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = cluster(scope)?;
    let kubeconfig = cluster.control.agent_kubeconfig("n1")?;
    let nowhere = cluster.lab.run.directory().join("no-bpffs");
    let message = refusal(cluster, &kubeconfig, &["--bpffs", &nowhere.display().to_string()])?;
    ensure!(message.contains("mount") && message.contains("bpf"), "{message}");
    Ok(())
}

fn bad_kubeconfig(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = cluster(scope)?;
    let directory = cluster.lab.run.directory();
    let message = refusal(cluster, &directory.join("absent.kubeconfig"), &[])?;
    ensure!(message.contains("absent.kubeconfig"), "{message}");

    let broken = directory.join("broken.kubeconfig");
    fs::write(&broken, "clusters: [{{{")?;
    let message = refusal(cluster, &broken, &[])?;
    ensure!(message.contains("broken.kubeconfig"), "{message}");

    let good = fs::read_to_string(cluster.control.agent_kubeconfig("n1")?)?;
    for (name, from, to, wanted) in [
        ("port.kubeconfig", ":6443", ":6444", "10.25.150.2:6444"),
        ("token.kubeconfig", "\"token\": \"", "\"token\": \"x", "10.25.150.2:6443"),
    ] {
        let path = directory.join(name);
        let changed = good.replace(from, to);
        ensure!(changed != good, "{name} is not changed");
        fs::write(&path, changed)?;
        let message = refusal(cluster, &path, &[])?;
        ensure!(message.contains(wanted), "{name}: {message}");
    }
    Ok(())
}

fn second_agent(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = cluster(scope)?;
    cluster.start_agent(1, &[])?;
    cluster.wait_agents()?;
    let first = cluster.agent("n1")?.id();
    let kubeconfig = cluster.control.agent_kubeconfig("second")?;
    let mut second = Agent::start(&cluster.lab, cluster.lab.node(1), &kubeconfig, &["--listen", "127.0.0.1:9963"])?;
    let status = second.wait_end(Duration::from_secs(10))?;
    // Both write to the log of node n1.
    let log = second.log();
    let message = log.lines().find_map(|line| line.strip_prefix("announcer: ")).context("the second said nothing")?;
    ensure!(!status.success() && message.contains(&format!("pid {first},")), "{status}: {message}");
    cluster.ensure_agents_run()?;
    cluster.wait_agents()?;
    cluster.agents.clear();
    Ok(())
}
