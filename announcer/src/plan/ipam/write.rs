//! What the allocator writes, as plain data.

use std::{fmt, net::IpAddr};

use crate::world::model::{Condition, ObjectName, PoolCounts};

/// Writes that belong to one object, in this order; the first that fails ends the step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    pub writes: Vec<Write>,
    /// Told once all are written.
    pub notices: Vec<Notice>,
}

/// One write to the API server.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Creates the Lease that claims `address`; where it exists already, another was faster and the plan is void.
    CreateClaim {
        address: IpAddr,
        service: ObjectName,
    },
    /// Deletes the Lease that claims `address`, unless it has changed since `resource_version`.
    DeleteClaim {
        address: IpAddr,
        resource_version: String,
    },
    /// Sets the Service's addresses and our condition, if it is still the one with this UID.
    SetService {
        service: ObjectName,
        uid: String,
        status: ServiceStatus,
    },
    /// The Service is not ours any more: removes our condition, and the addresses where `addresses` is set.
    ClearService {
        service: ObjectName,
        uid: String,
        addresses: bool,
    },
    SetPool {
        name: String,
        uid: String,
        status: PoolStatus,
    },
    SetPolicy {
        name: String,
        uid: String,
        status: PolicyStatus,
    },
}

/// What we say about a Service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceStatus {
    /// `status.loadBalancer.ingress`, each with `ipMode: VIP`.
    pub addresses: Vec<IpAddr>,
    /// Our condition. `last_transition` None: now.
    pub condition: Condition,
}

/// What we say about a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolStatus {
    pub counts: PoolCounts,
    pub conditions: Vec<Condition>,
}

/// What we say about a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyStatus {
    /// Services and nodes that it selects.
    pub services: u64,
    pub nodes: u64,
    pub conditions: Vec<Condition>,
}

/// What an Event says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notice {
    pub subject: Subject,
    pub severity: Severity,
    /// `AddressAssigned`, `AddressReleased`, `AddressRefused`, `PoolConflict`, …
    pub reason: &'static str,
    pub note: String,
}

/// The object that an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    Service { name: ObjectName, uid: String },
    Pool { name: String, uid: String },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { name, .. } => write!(f, "Service {name}"),
            Self::Pool { name, .. } => write!(f, "LoadBalancerIPPool {name}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    Normal,
    Warning,
}
