//! Statuses of Services, pools and policies, by server-side apply: only what is ours is written, and what others wrote
//! stays.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::error::{WriteError, answer};
use crate::{
    api::{FamilyCounts, L2AnnouncementPolicy, LoadBalancerIPPool, names},
    plan::ipam::{PolicyStatus, PoolStatus, ServiceStatus},
    world::model::{Condition, ObjectName},
};

/// Writes statuses.
#[derive(Clone)]
pub(super) struct Statuses(Client);

impl Statuses {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Sets addresses and condition of a Service. One that is gone needs none.
    ///
    /// # Errors
    /// [`WriteError::Stale`] where it is another Service of the same name by now; others as they come.
    pub(super) async fn set_service(
        &self,
        service: &ObjectName,
        uid: &str,
        status: &ServiceStatus,
    ) -> Result<(), WriteError> {
        let patch = Patch::Apply(service_status(service, uid, status, Timestamp::now()));
        let what = || format!("set the status of Service {service}");
        answer(what, self.service(service).patch_status(&service.name, &apply(), &patch)).await.map(|_| ())
    }

    /// Takes our condition, and the addresses if so told, from a Service that is not ours any more.
    ///
    /// # Errors
    /// As [`Self::set_service`].
    pub(super) async fn clear_service(
        &self,
        service: &ObjectName,
        uid: &str,
        addresses: bool,
    ) -> Result<(), WriteError> {
        // Not server-side apply: it would leave what another manager co-owns, such as an edit by hand.
        let params = PatchParams { field_manager: Some(names::MANAGER_IPAM.to_owned()), ..PatchParams::default() };
        let patch = Patch::Strategic(service_cleared(uid, addresses));
        let what = || format!("clear the status of Service {service}");
        answer(what, self.service(service).patch_status(&service.name, &params, &patch)).await.map(|_| ())
    }

    /// Sets counts and conditions of a pool.
    ///
    /// # Errors
    /// As [`Self::set_service`].
    pub(super) async fn set_pool(&self, name: &str, uid: &str, status: &PoolStatus) -> Result<(), WriteError> {
        let api: Api<LoadBalancerIPPool> = Api::all(self.0.clone());
        let patch = Patch::Apply(pool_status(name, uid, status, Timestamp::now()));
        let what = || format!("set the status of LoadBalancerIPPool {name}");
        answer(what, api.patch_status(name, &apply(), &patch)).await.map(|_| ())
    }

    /// Sets counts and conditions of a policy.
    ///
    /// # Errors
    /// As [`Self::set_service`].
    pub(super) async fn set_policy(&self, name: &str, uid: &str, status: &PolicyStatus) -> Result<(), WriteError> {
        let api: Api<L2AnnouncementPolicy> = Api::all(self.0.clone());
        let patch = Patch::Apply(policy_status(name, uid, status, Timestamp::now()));
        let what = || format!("set the status of L2AnnouncementPolicy {name}");
        answer(what, api.patch_status(name, &apply(), &patch)).await.map(|_| ())
    }

    fn service(&self, service: &ObjectName) -> Api<Service> {
        Api::namespaced(self.0.clone(), &service.namespace)
    }
}

/// What is ours is ours, whoever wrote it before.
fn apply() -> PatchParams {
    PatchParams::apply(names::MANAGER_IPAM).force()
}

fn service_status(service: &ObjectName, uid: &str, status: &ServiceStatus, now: Timestamp) -> Value {
    let ingress: Vec<Value> = status.addresses.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        // With its UID it is not written to a later Service of the same name.
        "metadata": {"namespace": service.namespace, "name": service.name, "uid": uid},
        "status": {"loadBalancer": {"ingress": ingress}, "conditions": [condition(&status.condition, now)]},
    })
}

fn service_cleared(uid: &str, addresses: bool) -> Value {
    let mut status = json!({"conditions": [{"$patch": "delete", "type": names::CONDITION_IPAM}]});
    if addresses {
        status["loadBalancer"] = json!({"ingress": null});
    }
    json!({"metadata": {"uid": uid}, "status": status})
}

fn pool_status(name: &str, uid: &str, status: &PoolStatus, now: Timestamp) -> Value {
    own_object(
        "LoadBalancerIPPool",
        name,
        uid,
        &status.conditions,
        now,
        &json!({
            "ipv4": FamilyCounts::from_model(status.counts.v4),
            "ipv6": FamilyCounts::from_model(status.counts.v6),
        }),
    )
}

fn policy_status(name: &str, uid: &str, status: &PolicyStatus, now: Timestamp) -> Value {
    let counts = json!({"services": status.services, "nodes": status.nodes});
    own_object("L2AnnouncementPolicy", name, uid, &status.conditions, now, &counts)
}

fn own_object(kind: &str, name: &str, uid: &str, conditions: &[Condition], now: Timestamp, status: &Value) -> Value {
    let mut status = status.clone();
    status["conditions"] = conditions.iter().map(|one| condition(one, now)).collect();
    json!({
        "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
        "kind": kind,
        "metadata": {"name": name, "uid": uid},
        "status": status,
    })
}

fn condition(condition: &Condition, now: Timestamp) -> Value {
    let since = condition.last_transition.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(now);
    let mut value = json!({
        "type": condition.kind,
        "status": if condition.status { "True" } else { "False" },
        "reason": condition.reason,
        "message": condition.message,
        // Kubernetes' time stamps have whole seconds.
        "lastTransitionTime": format!("{since:.0}"),
    });
    if let Some(generation) = condition.observed_generation {
        value["observedGeneration"] = generation.into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::model::PoolCounts;

    fn sample(last_transition: Option<i64>) -> Condition {
        Condition {
            kind: names::CONDITION_IPAM.into(),
            status: true,
            reason: "satisfied".into(),
            message: "10.0.0.1 assigned".into(),
            observed_generation: None,
            last_transition,
        }
    }

    #[test]
    fn a_service_gets_its_addresses_as_vips_and_one_condition() {
        let name = ObjectName { namespace: "shop".into(), name: "web".into() };
        let status = ServiceStatus { addresses: vec!["10.0.0.1".parse().unwrap()], condition: sample(Some(60)) };
        let value = service_status(&name, "u1", &status, Timestamp::now());
        assert_eq!(value["metadata"]["uid"], "u1");
        assert_eq!(value["status"]["loadBalancer"]["ingress"], json!([{"ip": "10.0.0.1", "ipMode": "VIP"}]));
        assert_eq!(value["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:01:00Z");
        assert!(value["status"]["conditions"][0].get("observedGeneration").is_none());
    }

    #[test]
    fn a_new_transition_is_now() {
        let now = Timestamp::from_second(100).unwrap();
        assert_eq!(condition(&sample(None), now)["lastTransitionTime"], "1970-01-01T00:01:40Z");
    }

    #[test]
    fn clearing_names_our_condition_only() {
        assert_eq!(
            service_cleared("u1", false)["status"],
            json!({"conditions": [{"$patch": "delete", "type": "announcer.dev/IPAMRequestSatisfied"}]})
        );
        assert!(service_cleared("u1", true)["status"]["loadBalancer"]["ingress"].is_null());
    }

    #[test]
    fn statuses_of_our_own_kinds_fit_their_types() {
        let counts = PoolCounts { v4: [6, 4, 2], v6: [u128::MAX, 1, 0] };
        let pool = pool_status("lan", "u1", &PoolStatus { counts, conditions: vec![sample(None)] }, Timestamp::now());
        let status: crate::api::LoadBalancerIPPoolStatus = serde_json::from_value(pool["status"].clone()).unwrap();
        assert_eq!(status.ipv4.unwrap(), FamilyCounts { total: 6, available: 4, used: 2 });
        assert_eq!((status.ipv6.unwrap().total, status.conditions.len()), (i64::MAX, 1));
        let status = PolicyStatus { services: 3, nodes: 2, conditions: vec![] };
        let policy = policy_status("all", "u1", &status, Timestamp::now());
        let status: crate::api::L2AnnouncementPolicyStatus = serde_json::from_value(policy["status"].clone()).unwrap();
        assert_eq!((status.services, status.nodes), (Some(3), Some(2)));
    }
}
