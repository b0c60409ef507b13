//! announcer's own Kubernetes types and the names it uses.
//!
//! Must not know: what is decided from them; only how they look in the API and as [`crate::world::model`].

#![allow(unreachable_pub, reason = "KubeSchema derives public structs inside of functions")]
#![allow(clippy::duplicated_attributes, reason = "each printed column has a type, and several have the same")]

pub mod names;
pub mod policy;
pub mod pool;
pub mod selector;

pub use policy::{L2AnnouncementPolicy, L2AnnouncementPolicySpec, L2AnnouncementPolicyStatus};
pub use pool::{
    AddressBlock, FamilyCounts, LoadBalancerIPPool, LoadBalancerIPPoolSpec, LoadBalancerIPPoolStatus, YesNo,
};
pub use selector::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition, apimachinery::pkg::apis::meta::v1,
};
use kube::CustomResourceExt;

use crate::world::model;

/// The CustomResourceDefinitions as files of `deploy/crds`: (file name, YAML).
///
/// # Panics
/// Never in a build whose tests pass: the definitions are constants.
#[must_use]
pub fn crds() -> Vec<(String, String)> {
    [LoadBalancerIPPool::crd(), L2AnnouncementPolicy::crd()].iter().map(file_of).collect()
}

fn file_of(crd: &CustomResourceDefinition) -> (String, String) {
    let yaml = serde_saphyr::to_string(crd).expect("a CustomResourceDefinition is plain data");
    (format!("{}.yaml", crd.spec.names.plural), yaml)
}

/// `status.conditions` as the planner sees them.
#[must_use]
pub fn conditions(conditions: &[v1::Condition]) -> Vec<model::Condition> {
    conditions
        .iter()
        .map(|condition| model::Condition {
            kind: condition.type_.clone(),
            status: condition.status == "True",
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            observed_generation: condition.observed_generation,
            last_transition: Some(condition.last_transition_time.0.as_second()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_a_file_named_by_its_plural() {
        let names: Vec<String> = crds().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["loadbalancerippools.yaml", "l2announcementpolicies.yaml"]);
    }

    #[test]
    fn every_list_and_string_with_rules_is_bounded() {
        for (name, yaml) in crds() {
            assert!(yaml.contains("x-kubernetes-validations"), "{name}");
            assert!(yaml.contains("maxItems") && yaml.contains("maxLength"), "{name}");
        }
    }
}
