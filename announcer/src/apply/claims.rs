//! Claims of addresses: one Lease each, whose creation decides who has the address.

use std::net::IpAddr;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
};
use serde_json::{Value, json};

use super::error::{Found, WriteError, answer};
use crate::{api::names, world::model::ObjectName};

/// Creates and deletes claims.
#[derive(Clone)]
pub(super) struct Claims(Api<Lease>);

impl Claims {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }

    /// Claims `address` for `service`; nobody leads it yet.
    ///
    /// # Errors
    /// [`WriteError::Stale`] where the address is claimed already, for whomever; others as they come.
    pub(super) async fn create(&self, address: IpAddr, service: &ObjectName) -> Result<(), WriteError> {
        let what = || format!("claim {address} for Service {service}");
        let lease: Lease = match serde_json::from_value(lease(address, service)) {
            Ok(lease) => lease,
            Err(error) => return Err(WriteError::Refused { what: what(), message: error.to_string() }),
        };
        let params = PostParams { field_manager: Some(names::MANAGER_IPAM.to_owned()), ..PostParams::default() };
        match answer(what, self.0.create(&params, &lease)).await? {
            Found::Yes => Ok(()),
            Found::No => Err(WriteError::Refused {
                what: what(),
                message: "its namespace does not exist: create it, or set --namespace".to_owned(),
            }),
        }
    }

    /// Frees `address`, if its claim is still the one of `resource_version`. A claim that is gone is freed.
    ///
    /// # Errors
    /// [`WriteError::Stale`] where the claim has changed; others as they come.
    pub(super) async fn delete(&self, address: IpAddr, resource_version: &str) -> Result<(), WriteError> {
        let preconditions = Preconditions { resource_version: Some(resource_version.to_owned()), uid: None };
        let params = DeleteParams::default().preconditions(preconditions);
        let lease = names::vip_lease(address);
        answer(|| format!("free {address}"), self.0.delete(&lease, &params)).await.map(|_| ())
    }
}

fn lease(address: IpAddr, service: &ObjectName) -> Value {
    json!({
        "metadata": {
            "name": names::vip_lease(address),
            "labels": {names::KIND_LABEL: names::KIND_VIP},
            "annotations": {
                names::ADDRESS_ANNOTATION: address.to_string(),
                names::SERVICES_ANNOTATION: names::format_services([service]),
            },
        },
        "spec": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_says_its_address_and_its_service_and_never_expires() {
        let service = ObjectName { namespace: "shop".into(), name: "web".into() };
        let lease: Lease = serde_json::from_value(lease("10.25.150.222".parse().unwrap(), &service)).unwrap();
        assert_eq!(lease.metadata.name.as_deref(), Some("vip-10-25-150-222"));
        let annotations = lease.metadata.annotations.unwrap();
        assert_eq!(annotations[names::ADDRESS_ANNOTATION], "10.25.150.222");
        assert_eq!(annotations[names::SERVICES_ANNOTATION], "shop/web");
        let spec = lease.spec.unwrap();
        assert_eq!((spec.holder_identity, spec.lease_duration_seconds), (None, None));
    }
}
