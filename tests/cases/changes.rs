//! Pods come and go.

use std::time::Duration;

use anyhow::ensure;

use super::served::{Served, outcome};
use crate::{
    lab::traffic::Held,
    runner::{Case, Scope, Suite},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(Suite::Lab, "a_pod_that_is_added_gets_connections_and_one_that_is_removed_gets_none", add_and_remove),
        Case::new(Suite::Lab, "500_connections_stay_whole_while_pods_of_other_nodes_come_and_go", hold).limit(120),
        Case::new(Suite::Lab, "a_service_without_pods_gives_no_connection_and_heals_with_the_first_pod", no_pods),
    ]
    .into_iter()
    .map(|case| case.group("serving"))
    .collect()
}

fn add_and_remove(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let added = served.cluster.add_pods(&[2])?;
    served.cluster.set_pods("web", &[&[0, 1, 2], added.as_slice()].concat())?;
    served.wait_pods(&["p1-1", "p2-1", "p2-2", "p3-1"])?;
    served.cluster.set_pods("web", &[0, 2, added[0]])?;
    served.wait_pods(&["p1-1", "p2-2", "p3-1"])?;
    served.cluster.set_pods("web", &[0, 1, 2])?;
    served.wait_pods(&["p1-1", "p2-1", "p3-1"])?;
    served.cluster.pods.remove(added[0]).stop()
}

fn hold(scope: &mut Scope) -> anyhow::Result<()> {
    const CONNECTIONS: usize = 500;
    let served = Served::of(scope)?;
    let added = served.cluster.add_pods(&[1, 2, 3, 3])?;
    served.cluster.set_pods("web", &[0, 1])?;
    served.wait_pods(&["p1-1", "p2-1"])?;
    let held = Held::open(served.cluster.lab.client(), served.http(), CONNECTIONS, Duration::from_millis(500))?;
    // Pods 0 and 1 keep their connections; the third node joins, leaves and comes back, and so do second pods.
    for others in [
        vec![2],
        vec![2, added[2]],
        vec![added[0], added[3]],
        vec![],
        vec![2, added[1]],
        vec![added[2], added[3]],
        vec![2],
    ] {
        let now = [&[0, 1], others.as_slice()].concat();
        served.cluster.set_pods("web", &now)?;
        let names: Vec<&str> = now.iter().map(|at| served.cluster.pods[*at].name.as_str()).collect();
        served.wait_pods(&names)?;
    }
    let report = held.finish()?;
    let handed: u64 = served.cluster.agents.values().map(|a| outcome(a, "handed_on")).sum::<anyhow::Result<_>>()?;
    eprintln!("{:?} whole, {} exchanges, {handed} packets handed on", report.whole, report.exchanged);
    ensure!(handed > 0, "no packet was handed on, so the changes did not put the connections to the test");
    ensure!(report.broken.is_empty(), "{} of {CONNECTIONS} broken: {:#?}", report.broken.len(), report.broken);
    served.cluster.set_pods("web", &[0, 1, 2])?;
    served.cluster.pods.drain(added[0]..).try_for_each(crate::lab::Pod::stop)
}

fn no_pods(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    served.cluster.set_pods("web", &[])?;
    crate::wait::wait_for("no connection is given", Duration::from_secs(10), || Ok(served.fetch().is_err()))?;
    served.cluster.set_pods("web", &[0, 1, 2])?;
    served.wait_pods(&["p1-1", "p2-1", "p3-1"])
}
