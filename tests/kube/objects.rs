//! Objects as the cases write them.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::lab::{Node, POD_PORT, Pod};

/// The namespace in which the cases have their Services.
pub const NAMESPACE: &str = "default";
/// The class by which a Service asks for announcer.
pub const CLASS: &str = announcer::api::names::CLASS;

/// A Node; its status is written apart ([`node_status`]).
#[must_use]
pub fn node(node: &Node) -> Value {
    json!({
        "kind": "Node",
        "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name}},
        "spec": {"podCIDR": format!("10.244.{}.0/24", node.number), "podCIDRs": [format!("10.244.{}.0/24", node.number)]},
    })
}

/// What a kubelet says of its node.
#[must_use]
pub fn node_status(address: Ipv4Addr, ready: bool) -> Value {
    json!({"status": {
        "addresses": [{"type": "InternalIP", "address": address.to_string()}],
        "conditions": [{
            "type": "Ready",
            "status": if ready { "True" } else { "False" },
            "reason": "Lab",
            "message": "",
            "lastHeartbeatTime": null,
            "lastTransitionTime": null,
        }],
    }})
}

/// A LoadBalancer Service of class announcer.dev/l2 with port 80, TCP and UDP.
#[must_use]
pub fn service(name: &str) -> Value {
    json!({
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "type": "LoadBalancer",
            "loadBalancerClass": CLASS,
            "allocateLoadBalancerNodePorts": false,
            "ports": [
                {"name": "http", "protocol": "TCP", "port": 80, "targetPort": POD_PORT},
                {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": POD_PORT},
            ],
        },
    })
}

/// How an endpoint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ready,
    /// Not ready any more, but still answering what it has.
    Draining,
}

/// The Service's slice with these pods.
#[must_use]
pub fn slice(service: &str, pods: &[(&Pod, State)]) -> Value {
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|(pod, state)| {
            let ready = *state == State::Ready;
            json!({
                "addresses": [pod.address.to_string()],
                "nodeName": pod.node,
                "conditions": {"ready": ready, "serving": true, "terminating": !ready},
            })
        })
        .collect();
    json!({
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-lab"),
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "lab"},
        },
        "addressType": "IPv4",
        "ports": [
            {"name": "http", "protocol": "TCP", "port": POD_PORT},
            {"name": "dns", "protocol": "UDP", "port": POD_PORT},
        ],
        "endpoints": endpoints,
    })
}

/// A pool with these blocks (`{"cidr": …}` or `{"start": …, "stop": …}`).
#[must_use]
pub fn pool(name: &str, blocks: Value) -> Value {
    json!({"kind": "LoadBalancerIPPool", "metadata": {"name": name}, "spec": {"blocks": blocks}})
}

/// A policy that announces every Service's LoadBalancer addresses from every node.
#[must_use]
pub fn policy(name: &str) -> Value {
    json!({"kind": "L2AnnouncementPolicy", "metadata": {"name": name}, "spec": {"loadBalancerIPs": true}})
}
