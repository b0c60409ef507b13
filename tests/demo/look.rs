//! Commands by which a person looks around in a lab that is kept.

use super::Facts;
use crate::cluster::Cluster;

/// Leaves the lab running and prints what can be done with it.
pub(super) fn keep(cluster: &mut Cluster, facts: &Facts) -> anyhow::Result<()> {
    cluster.keep()?;
    let client = cluster.lab.client().name();
    let kubectl = cluster.control.kubectl_line();
    let agent = &cluster.agents[&facts.next_leader];
    println!("\nThe lab stays up. Look around:\n");
    for (what, line) in [
        ("fetch as the client", format!("nsenter --net=/run/netns/{client} curl -s http://{}/", facts.vip)),
        ("who answers ARP", format!("nsenter --net=/run/netns/{client} arping -c 3 {}", facts.vip)),
        ("who leads", format!("{kubectl} get leases -n announcer-system")),
        ("the Service", format!("{kubectl} get service web -o yaml")),
        ("the pool", format!("{kubectl} get loadbalancerippools")),
        ("the leader's agent", agent.line("status")?),
        ("its addresses", agent.line("vips")?),
        ("its Services", agent.line("services")?),
        ("its metrics", format!("{} curl -s http://127.0.0.1:9962/metrics", agent.enter())),
        ("its log", format!("tail {}", agent.log_path().display())),
    ] {
        println!("  # {what}\n  {line}\n");
    }
    println!("Remove it: cargo xtask demo --clean");
    Ok(())
}
