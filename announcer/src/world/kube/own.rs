//! announcer's own kinds. They are watched untyped and read one by one, so that one object that an older or newer CRD
//! let through does not hide the others.

use kube::{
    Resource,
    api::{ApiResource, DynamicObject},
};
use serde::de::DeserializeOwned;

use crate::{
    api::{L2AnnouncementPolicy, LoadBalancerIPPool},
    world::model::{Policy, Pool},
};

pub(super) fn pools() -> ApiResource {
    ApiResource::erase::<LoadBalancerIPPool>(&())
}

pub(super) fn policies() -> ApiResource {
    ApiResource::erase::<L2AnnouncementPolicy>(&())
}

/// A pool that cannot be read at all is kept as one that gives nothing, with the reason.
pub(super) fn read_pool(object: &DynamicObject) -> Option<Pool> {
    Some(match typed::<LoadBalancerIPPool>(object) {
        Ok(pool) => Pool::from(&pool),
        Err(error) => Pool {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            disabled: true,
            errors: vec![error],
            ..Pool::default()
        },
    })
}

/// A policy that cannot be read at all selects nothing.
pub(super) fn read_policy(object: &DynamicObject) -> Option<Policy> {
    match typed::<L2AnnouncementPolicy>(object) {
        Ok(policy) => Some(Policy::from(&policy)),
        Err(error) => {
            tracing::warn!(policy = object.metadata.name, "{error}; it selects nothing until it is corrected");
            None
        }
    }
}

fn typed<K: Resource + DeserializeOwned>(object: &DynamicObject) -> Result<K, String> {
    let value = serde_json::to_value(object).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| format!("spec cannot be read: {error}"))
}
