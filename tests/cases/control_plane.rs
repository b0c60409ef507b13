//! The lab's API server with the project's manifests.

use anyhow::{Context, ensure};
use serde_json::json;

use crate::{
    cluster::Cluster,
    kube::{Kind, objects},
    lab::Shape,
    runner::{Case, Scope, Suite},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(Suite::Lab, "the_api_server_takes_the_manifests_and_gives_agents_their_token", takes_manifests)
            .group("control-plane"),
        Case::new(Suite::Lab, "a_pool_with_a_broken_block_is_refused_with_the_field_named", broken_pool)
            .group("control-plane"),
    ]
}

fn cluster(scope: &mut Scope) -> anyhow::Result<&mut Cluster> {
    scope.shared(|scope| Cluster::without_agents(scope.run, Shape { nodes: 1, clients: 1 }))
}

fn takes_manifests(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = cluster(scope)?;
    let system = cluster.api().get(Kind::Namespace, None, "kube-system")?.context("there is no kube-system")?;
    ensure!(system["metadata"]["uid"].is_string(), "kube-system has no UID: {system}");
    let kubeconfig = cluster.control.agent_kubeconfig("n1")?;
    let agent = crate::kube::Api::new(&cluster.lab.node(1).namespace, &kubeconfig)?;
    ensure!(!agent.list(Kind::Node, None)?.is_empty(), "the agent's account sees no nodes");
    let refused = agent.delete(Kind::Node, None, "n1");
    ensure!(refused.is_err(), "the agent's account may delete nodes");
    Ok(())
}

fn broken_pool(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = cluster(scope)?;
    for (block, field) in [
        (json!({"cidr": "10.25.150.0/33"}), "cidr"),
        (json!({"start": "10.25.150.300"}), "start"),
        (json!({"start": "10.25.150.20", "stop": "10.25.150.10"}), "stop"),
        (json!({"stop": "10.25.150.10"}), "start"),
    ] {
        let Err(error) = cluster.api().apply(&objects::pool("broken", json!([block]))) else {
            anyhow::bail!("a pool with the block {block} was taken");
        };
        let text = format!("{error:#}");
        ensure!(text.contains("spec.blocks[0]") && text.contains(field), "{block} is refused by: {text}");
    }
    Ok(())
}
