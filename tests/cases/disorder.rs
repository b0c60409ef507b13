//! Things go wrong one after another, or for longer.

use std::time::Duration;

use anyhow::ensure;

use super::served::Served;
use crate::{
    kube::objects,
    lab::traffic::{Held, Prober},
    runner::{Case, Scope, Suite},
    wait::wait_for,
};

const PACE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_millis(900);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            Suite::Lab,
            "connections_outlive_agents_that_are_killed_while_pods_come_and_go",
            killed_in_the_middle,
        ),
        Case::new(Suite::Lab, "without_the_api_server_traffic_goes_on_and_an_agent_restarts", no_api_server),
    ]
    .into_iter()
    .map(|case| case.group("disorder").limit(150))
    .collect()
}

fn killed_in_the_middle(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let added = served.cluster.add_pods(&[1, 2, 3])?;
    served.cluster.set_pods("web", &[0, 1])?;
    served.wait_pods(&["p1-1", "p2-1"])?;
    let held = Held::open(served.cluster.lab.client(), served.http(), 200, Duration::from_millis(200))?;
    let sets: [&[usize]; 4] = [&[2], &[added[0], added[2]], &[], &[2, added[1]]];
    for round in 0..8_u8 {
        let now = [&[0, 1], sets[usize::from(round) % sets.len()]].concat();
        served.cluster.set_pods("web", &now)?;
        // Whatever it was about to write, it is cut off there.
        served.cluster.start_agent(1 + round % 3, &[])?;
        if round % 2 == 1 {
            served.cluster.start_agent(1 + (round + 1) % 3, &[])?;
        }
        served.cluster.wait_agents()?;
        let names: Vec<&str> = now.iter().map(|at| served.cluster.pods[*at].name.as_str()).collect();
        served.wait_pods(&names)?;
    }
    let report = held.finish()?;
    ensure!(report.broken.is_empty(), "{} of 200 broken: {:#?}", report.broken.len(), report.broken);
    served.cluster.set_pods("web", &[0, 1, 2])?;
    served.cluster.pods.drain(added[0]..).try_for_each(crate::lab::Pod::stop)
}

fn no_api_server(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let leader = served.cluster.leader(served.vip)?;
    let number = served.cluster.node(&leader)?.number;
    let prober = Prober::start(served.cluster.lab.client(), served.http(), PACE, PATIENCE);
    let made = |count: usize| {
        let begun = prober.so_far().probes.len();
        wait_for("requests are made", Duration::from_secs(60), || Ok(prober.so_far().probes.len() >= begun + count))
    };
    made(50)?;
    served.cluster.control.stop_apiserver();
    // Longer than a heartbeat's life: nobody may be taken for dead because nobody can write.
    made(1_600)?;
    served.cluster.start_agent(number, &[])?;
    made(250)?;
    served.cluster.ensure_agents_run()?;
    ensure!(served.answered_by()? == leader, "the VIP moved while nobody could write");
    served.cluster.control.start_apiserver(&served.cluster.lab)?;
    served.cluster.wait_agents()?;
    served.cluster.api().apply(&objects::service("after"))?;
    served.cluster.address("after", Duration::from_secs(60))?;
    let report = prober.finish()?;
    ensure!(report.lost().is_empty(), "requests were lost: {}", report.summary());
    ensure!(served.answered_by()? == served.cluster.leader(served.vip)?);
    Ok(())
}
