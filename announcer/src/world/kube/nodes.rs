//! Nodes.

use k8s_openapi::api::core::v1 as core;

use super::convert::addresses;
use crate::world::model::Node;

pub(super) fn read(object: &core::Node) -> Option<Node> {
    let meta = &object.metadata;
    let spec = object.spec.clone().unwrap_or_default();
    let status = object.status.as_ref();
    let condition = |kind: &str| {
        let found = status?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)?;
        Some(found.status == "True")
    };
    let given = status.and_then(|status| status.addresses.as_ref()).into_iter().flatten();
    let cidrs = spec.pod_cidrs.unwrap_or_else(|| spec.pod_cidr.into_iter().collect());
    Some(Node {
        uid: meta.uid.clone().unwrap_or_default(),
        labels: meta.labels.clone().unwrap_or_default(),
        addresses: addresses(given.map(|address| &address.address)),
        pod_cidrs: cidrs.iter().filter_map(|text| text.parse().ok()).collect(),
        ready: condition("Ready") == Some(true),
        unschedulable: spec.unschedulable.unwrap_or(false),
        deleting: meta.deletion_timestamp.is_some(),
        network_unavailable: condition("NetworkUnavailable") == Some(true),
        taints: spec.taints.into_iter().flatten().map(|taint| (taint.key, taint.effect)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: serde_json::Value) -> Node {
        read(&serde_json::from_value(json).unwrap()).unwrap()
    }

    #[test]
    fn a_node_is_read() {
        let node = node(serde_json::json!({
            "metadata": {"name": "n1", "uid": "u", "labels": {"zone": "a"}},
            "spec": {"podCIDRs": ["10.1.0.0/24", "nonsense"], "unschedulable": true, "taints": [{"key": "k", "effect": "NoExecute"}]},
            "status": {"addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "192.0.2.1"}],
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "NetworkUnavailable", "status": "Unknown"}]}
        }));
        assert!(node.ready && node.unschedulable && !node.network_unavailable && !node.deleting);
        assert_eq!((node.addresses.len(), node.pod_cidrs.len()), (1, 1));
        assert_eq!(node.taints, [("k".to_owned(), "NoExecute".to_owned())]);
    }

    #[test]
    fn a_node_of_which_nothing_is_known_is_not_ready() {
        assert_eq!(node(serde_json::json!({"metadata": {"name": "n1"}})), Node::default());
    }
}
