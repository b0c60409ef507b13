//! Leases of announcer's own namespace: VIPs' claims, nodes' heartbeats, the allocator.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::coordination::v1 as api;

use crate::{
    api::names,
    world::{
        message::Lease,
        model::{AllocatorLease, Claim, NodeFacts, ObjectName},
    },
};

/// None for a Lease that is not announcer's, or whose name and content disagree (a second claim of an address could be
/// smuggled in that way).
pub(super) fn read(object: &api::Lease) -> Option<Lease> {
    let meta = &object.metadata;
    let kind = meta.labels.as_ref()?.get(names::KIND_LABEL)?.as_str();
    let name = meta.name.as_deref()?;
    let annotation = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    let resource_version = meta.resource_version.clone().unwrap_or_default();
    let spec = object.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let term = spec.lease_transitions.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let read = match kind {
        names::KIND_VIP => {
            let ip: IpAddr = annotation(names::ADDRESS_ANNOTATION).and_then(|text| text.parse().ok())?;
            let services = annotation(names::SERVICES_ANNOTATION).map(services).unwrap_or_default();
            (names::vip_lease(ip) == name)
                .then_some(Lease::Vip { ip, claim: Claim { resource_version, services, holder, term } })
        }
        names::KIND_NODE => {
            let node = name.strip_prefix(&names::node_lease("")).filter(|node| !node.is_empty())?.to_owned();
            let beat = spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default();
            Some(Lease::Node { facts: facts(annotation(names::NODE_ANNOTATION), name), node, resource_version, beat })
        }
        names::KIND_ALLOCATOR => (name == names::ALLOCATOR_LEASE).then_some(Lease::Allocator(AllocatorLease {
            resource_version,
            holder,
            term,
        })),
        _ => None,
    };
    if read.is_none() {
        tracing::debug!(lease = name, kind, "a Lease whose label and name disagree is left alone");
    }
    read
}

fn services(text: &str) -> BTreeSet<ObjectName> {
    text.split(',')
        .filter_map(|part| part.trim().split_once('/'))
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
        .map(|(namespace, name)| ObjectName { namespace: namespace.to_owned(), name: name.to_owned() })
        .collect()
}

/// Facts that cannot be read are none: that node is not ready, so it gets no rows and leads nothing.
fn facts(text: Option<&str>, lease: &str) -> NodeFacts {
    let Some(text) = text else { return NodeFacts::default() };
    serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::debug!(lease, %error, "a node's facts cannot be read");
        NodeFacts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(name: &str, kind: &str, annotations: serde_json::Value, spec: serde_json::Value) -> Option<Lease> {
        let object = serde_json::json!({
            "metadata": {"name": name, "resourceVersion": "7", "labels": {"announcer.dev/kind": kind}, "annotations": annotations},
            "spec": spec
        });
        read(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_claim_has_its_address_services_and_leader() {
        let annotations =
            serde_json::json!({"announcer.dev/address": "10.25.150.222", "announcer.dev/services": "a/b, c/d,x,/y,"});
        let spec = serde_json::json!({"holderIdentity": "n1", "leaseTransitions": 4});
        let Some(Lease::Vip { ip, claim }) = lease("vip-10-25-150-222", "vip", annotations, spec) else { panic!() };
        assert_eq!((ip.to_string().as_str(), claim.term, claim.holder.as_deref()), ("10.25.150.222", 4, Some("n1")));
        assert_eq!(claim.services.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a/b", "c/d"]);
    }

    #[test]
    fn a_claim_under_another_name_is_left_alone() {
        let annotations = serde_json::json!({"announcer.dev/address": "10.25.150.222"});
        assert_eq!(lease("vip-10-25-150-223", "vip", annotations.clone(), serde_json::json!({})), None);
        assert_eq!(lease("allocator", "vip", annotations, serde_json::json!({})), None);
        assert_eq!(
            lease("vip-x", "vip", serde_json::json!({"announcer.dev/address": "x"}), serde_json::json!({})),
            None
        );
        assert_eq!(lease("node-", "node", serde_json::json!({}), serde_json::json!({})), None);
        assert_eq!(lease("other", "other", serde_json::json!({}), serde_json::json!({})), None);
    }

    #[test]
    fn a_heartbeat_changes_with_its_renew_time() {
        let facts = r#"{"ready":true,"links":[{"name":"eth0","mac":"02:00:00:00:00:01","addresses":["192.0.2.1/24"],"up":true}]}"#;
        let annotations = serde_json::json!({"announcer.dev/node": facts});
        let spec = serde_json::json!({"renewTime": "2026-01-01T00:00:00.000001Z"});
        let Some(Lease::Node { node, beat, facts, .. }) = lease("node-n1", "node", annotations, spec) else { panic!() };
        assert_eq!((node.as_str(), facts.ready, facts.links.len()), ("n1", true, 1));
        assert!(beat.contains("000001"), "{beat}");
    }

    #[test]
    fn facts_that_cannot_be_read_make_a_node_that_is_not_ready() {
        for text in ["", "[]", "{\"links\":[{\"mac\":\"zz\"}]}", "{\"ready\":\"yes\"}"] {
            let annotations = serde_json::json!({"announcer.dev/node": text});
            let Some(Lease::Node { facts, .. }) = lease("node-n1", "node", annotations, serde_json::json!({})) else {
                panic!()
            };
            assert_eq!(facts, NodeFacts::default());
        }
    }

    #[test]
    fn a_negative_term_is_none() {
        let spec = serde_json::json!({"leaseTransitions": i32::MIN, "holderIdentity": ""});
        let Some(Lease::Allocator(lease)) = lease("allocator", "allocator", serde_json::json!({}), spec) else {
            panic!()
        };
        assert_eq!((lease.term, lease.holder), (0, None));
    }
}
