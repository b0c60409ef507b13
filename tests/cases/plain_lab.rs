//! The lab itself, without agents: what later cases stand on.

use std::time::Duration;

use anyhow::ensure;

use crate::{
    lab::{Lab, POD_PORT, Pod, RunId, Shape, client_address, node_address, node_mac, reaper, traffic, wire},
    runner::{Case, Scope, Suite},
    wait::wait_for,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(Suite::Lab, "machines_of_the_lab_reach_each_other_and_the_pods", reach).limit(30),
        Case::new(Suite::Lab, "two_labs_run_side_by_side", side_by_side).limit(30),
        Case::new(Suite::Lab, "a_lab_leaves_nothing_behind_when_it_is_dropped_or_its_process_killed", leaves_nothing)
            .limit(40),
    ]
}

fn reach(scope: &mut Scope) -> anyhow::Result<()> {
    let lab = Lab::new(scope.run, Shape { nodes: 2, clients: 1 })?;
    let pod = Pod::start(&lab, lab.node(2), 1)?;
    let answers = wire::arp_answers(lab.client(), node_address(1), Duration::from_millis(200))?;
    ensure!(answers.iter().map(|a| a.sender_mac).eq([node_mac(1)]), "node 1's address is answered by {answers:?}");
    lab.client().text(&format!("ip route add {} via {}", pod.address, node_address(2)))?;
    let answer = traffic::fetch(lab.client(), (pod.address, POD_PORT).into(), Duration::from_secs(2))?;
    ensure!(answer.pod == pod.name && answer.client.ip() == client_address(1), "{answer:?}");
    let transfer = traffic::upload(lab.client(), (pod.address, POD_PORT).into(), 1_000_000)?;
    ensure!(transfer.sent == transfer.received, "{transfer:?}");
    pod.stop()
}

fn side_by_side(scope: &mut Scope) -> anyhow::Result<()> {
    let other = RunId::new(scope.run.owner(), scope.run.number() + 1000);
    let labs = [scope.run, other].map(|run| Lab::new(run, Shape { nodes: 1, clients: 1 }));
    for lab in labs {
        let lab = lab?;
        let pod = Pod::start(&lab, lab.node(1), 1)?;
        lab.client().text(&format!("ip route add {} via {}", pod.address, node_address(1)))?;
        traffic::fetch(lab.client(), (pod.address, POD_PORT).into(), Duration::from_secs(2))?;
    }
    Ok(())
}

fn leaves_nothing(scope: &mut Scope) -> anyhow::Result<()> {
    let lab = Lab::new(scope.run, Shape { nodes: 1, clients: 1 })?;
    let pod = Pod::start(&lab, lab.node(1), 1)?;
    ensure!(reaper::leftovers(scope.run).len() >= 6, "the lab is not where it is looked for");
    drop(pod);
    drop(lab);
    let left = reaper::leftovers(scope.run);
    ensure!(left.is_empty(), "left after a drop: {left:?}");

    // The same in a process of its own, which is killed while the lab is up.
    let run = RunId::new(scope.run.owner(), scope.run.number() + 1000);
    let mut child =
        std::process::Command::new("/proc/self/exe").args(["hold-lab", "--run", &run.to_string()]).spawn()?;
    wait_for("the other process's lab is up", Duration::from_secs(20), || Ok(run.directory().join("ready").exists()))?;
    child.kill()?;
    child.wait()?;
    wait_for("the guard removed the killed process's lab", Duration::from_secs(10), || {
        Ok(reaper::leftovers(run).is_empty())
    })
    .map_err(|error| error.context(format!("left: {:?}", reaper::leftovers(run))))
}

/// Makes a lab, says so by a file, and waits to be killed.
pub fn hold_lab(run: RunId) -> anyhow::Result<()> {
    let lab = Lab::new(run, Shape { nodes: 1, clients: 1 })?;
    let _pod = Pod::start(&lab, lab.node(1), 1)?;
    std::fs::write(run.directory().join("ready"), "")?;
    loop {
        std::thread::park();
    }
}
