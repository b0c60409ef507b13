//! `L2AnnouncementPolicy`: which Services are announced, from which nodes, on which links. Field for field a superset of
//! Cilium's `CiliumL2AnnouncementPolicy`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema, ResourceExt};
use serde::{Deserialize, Serialize};

use super::LabelSelector;
use crate::world::{model, pattern::LinkPattern};

/// Which Services are announced on the LAN, from which nodes and on which of their links. A Service or node that several
/// policies select is served by all of them together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "announcer.dev",
    version = "v1alpha1",
    kind = "L2AnnouncementPolicy",
    plural = "l2announcementpolicies",
    singular = "l2announcementpolicy",
    shortname = "l2announcement",
    shortname = "l2policy",
    category = "announcer",
    doc = "Which Services announcer announces on the LAN, from which nodes and on which links.",
    status = "L2AnnouncementPolicyStatus",
    derive = "PartialEq",
    printcolumn(name = "Services", type_ = "integer", json_path = ".status.services"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='announcer.dev/Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct L2AnnouncementPolicySpec {
    /// Which Services are announced; absent or empty: all. Besides a Service's own labels it sees
    /// `io.kubernetes.service.namespace` and `io.kubernetes.service.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_selector: Option<LabelSelector>,
    /// Which nodes may announce them; absent or empty: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Regular expressions of link names, each for the whole name; absent or empty: every link that the agent serves.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)))]
    #[x_kube(validation = Rule::new("self.all(expression, 'eth0'.matches(expression) in [true, false])")
        .message("interfaces: an expression is no regular expression (RE2 syntax); for one link write its name, such as eth0"))]
    pub interfaces: Vec<String>,
    /// Announce addresses in `spec.externalIPs` of the Services.
    #[serde(default)]
    #[serde(rename = "externalIPs")]
    pub external_ips: bool,
    /// Announce addresses in `status.loadBalancer` of the Services.
    #[serde(default)]
    #[serde(rename = "loadBalancerIPs")]
    pub load_balancer_ips: bool,
}

/// What a policy selects now and whether it has effect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct L2AnnouncementPolicyStatus {
    /// Services of type LoadBalancer that it selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<i64>,
    /// Nodes that it selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i64>,
    /// announcer.dev/Ready: whether the policy has effect.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl From<&L2AnnouncementPolicy> for model::Policy {
    /// Never fails: what cannot be used stands in `errors`, with its field named.
    fn from(policy: &L2AnnouncementPolicy) -> Self {
        let spec = &policy.spec;
        let mut errors = Vec::new();
        let service_selector =
            LabelSelector::to_model(spec.service_selector.as_ref(), "spec.serviceSelector", &mut errors);
        let node_selector = LabelSelector::to_model(spec.node_selector.as_ref(), "spec.nodeSelector", &mut errors);
        for (i, expression) in spec.interfaces.iter().enumerate() {
            if let Err(error) = LinkPattern::parse(expression) {
                errors.push(format!("spec.interfaces[{i}]: {error}"));
            }
        }
        Self {
            uid: policy.uid().unwrap_or_default(),
            generation: policy.metadata.generation.unwrap_or_default(),
            service_selector,
            node_selector,
            interfaces: spec.interfaces.clone(),
            external_ips: spec.external_ips,
            load_balancer_ips: spec.load_balancer_ips,
            conditions: policy.status.as_ref().map(|status| super::conditions(&status.conditions)).unwrap_or_default(),
            counts: policy
                .status
                .as_ref()
                .and_then(|status| Some([u64::try_from(status.services?).ok()?, u64::try_from(status.nodes?).ok()?])),
            errors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(yaml: &str) -> model::Policy {
        let spec: L2AnnouncementPolicySpec = serde_saphyr::from_str(yaml).unwrap();
        model::Policy::from(&L2AnnouncementPolicy::new("all", spec))
    }

    #[test]
    fn a_policy_is_read_field_by_field() {
        let policy = policy(
            "{nodeSelector: {matchLabels: {role: edge}}, interfaces: ['^eth[0-9]+'], externalIPs: true, loadBalancerIPs: true}",
        );
        assert!(policy.external_ips && policy.load_balancer_ips);
        assert_eq!(policy.node_selector.match_labels["role"], "edge");
        assert_eq!((policy.interfaces, policy.errors), (vec!["^eth[0-9]+".to_owned()], vec![]));
    }

    #[test]
    fn a_broken_expression_is_named() {
        let errors = policy("interfaces: ['eth0', 'eth[']").errors;
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("spec.interfaces[1]"), "{errors:?}");
    }
}
