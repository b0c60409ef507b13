//! The lab's API server with the project's manifests.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

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
        Case::new(Suite::Lab, "a_policy_with_a_broken_expression_is_refused_with_the_field_named", broken_policy)
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

/// Blocks that say nothing, too much, or what no Service can be given, each with the field or remedy that is named.
fn broken_blocks() -> Vec<(Value, &'static str)> {
    vec![
        (json!({}), "cidr"),
        (json!({"cidr": ""}), "cidr"),
        (json!({"cidr": "10.25.150"}), "cidr"),
        (json!({"cidr": "10.25.150.0/33"}), "cidr"),
        (json!({"cidr": "0.0.0.0/0"}), "cidr"),
        (json!({"cidr": "127.0.0.0/8"}), "cidr"),
        (json!({"cidr": "fe80::1%eth0/64"}), "cidr"),
        (json!({"cidr": "10.25.150.0/24", "start": "10.25.150.1"}), "start"),
        (json!({"cidr": "10.25.150.0/24", "stop": "10.25.150.1"}), "stop"),
        (json!({"stop": "10.25.150.10"}), "start"),
        (json!({"start": "10.25.150.300"}), "start"),
        (json!({"start": "010.25.150.1"}), "start"),
        (json!({"start": "224.0.0.1"}), "start"),
        (json!({"start": "::ffff:10.25.150.1"}), "start"),
        (json!({"start": "10.25.150.1", "stop": "x"}), "stop"),
        (json!({"start": "10.25.150.20", "stop": "10.25.150.10"}), "stop"),
        (json!({"start": "10.25.150.1", "stop": "fd00::1"}), "stop"),
        (json!({"start": "fd00::2", "stop": "fd00::1"}), "stop"),
        (json!({"start": "fd00:0:0:1::", "stop": "fd00::ffff"}), "stop"),
    ]
}

fn broken_pool(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = cluster(scope)?;
    for (block, field) in broken_blocks() {
        let Err(error) = cluster.api().apply(&objects::pool("broken", json!([block]))) else {
            anyhow::bail!("a pool with the block {block} was taken");
        };
        let text = format!("{error:#}");
        ensure!(text.contains("spec.blocks[0]") && text.contains(field), "{block} is refused by: {text}");
    }
    for block in [
        json!({"cidr": "10.26.10.0/24"}),
        json!({"cidr": "10.26.10.7/24"}),
        json!({"cidr": "fd00::/112"}),
        json!({"start": "10.26.0.1"}),
        json!({"start": "10.26.0.1", "stop": "10.26.0.1"}),
        json!({"start": "9.255.0.1", "stop": "10.0.0.0"}),
        json!({"start": "10.26.0.9", "stop": "10.26.0.10"}),
        json!({"start": "fd00::1", "stop": "FD00::1:0"}),
        json!({"start": "2001:db8:0:0:1:2:3:4", "stop": "2001:db8::1:2:3:5"}),
    ] {
        cluster.api().apply(&objects::pool("sound", json!([block]))).with_context(|| format!("block {block}"))?;
    }
    Ok(())
}

fn broken_policy(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = cluster(scope)?;
    let policy = |spec: Value| json!({"kind": "L2AnnouncementPolicy", "metadata": {"name": "broken"}, "spec": spec});
    for (spec, field) in [
        (json!({"interfaces": ["eth["]}), "interfaces"),
        (json!({"interfaces": ["a)|(b"]}), "interfaces"),
        (json!({"interfaces": [""]}), "interfaces"),
        (json!({"serviceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}), "serviceSelector"),
        (
            json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["x"]}]}}),
            "nodeSelector",
        ),
        (json!({"nodeSelector": {"matchLabels": {"a": "b c"}}}), "nodeSelector"),
    ] {
        let Err(error) = cluster.api().apply(&policy(spec.clone())) else {
            anyhow::bail!("a policy with {spec} was taken");
        };
        let text = format!("{error:#}");
        ensure!(text.contains(field), "{spec} is refused by: {text}");
    }
    cluster.api().apply(&policy(json!({"interfaces": ["eth[0-9]+", "^br-.*$"], "loadBalancerIPs": true})))?;
    Ok(())
}
