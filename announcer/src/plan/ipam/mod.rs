//! Which Service has which address.
//!
//! Services keep what they have, as their status and the addresses' claims (a Lease each) say, as long as a pool holds
//! it; then the others are served in the order of their creation. The plan is a list of writes in an order that may be
//! interrupted anywhere: a claim is created before the status that shows its address and deleted after it.

mod forbidden;
mod ledger;
mod ours;
mod pools;
#[cfg(test)]
mod properties;
mod ranges;
mod refusal;
mod request;
#[cfg(test)]
mod samples;
mod status;
mod steps;
#[cfg(test)]
mod tests;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub use write::{Notice, PolicyStatus, PoolStatus, ServiceStatus, Severity, Step, Subject, Write};

use self::{forbidden::Forbidden, ledger::Ledger, ours::Census, pools::Pools, steps::Steps};
use crate::{
    config::Classless,
    world::model::{ObjectName, World},
};

/// Settings of the allocator; the same on every node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpamSettings {
    /// Whether Services without class are served.
    pub classless: Classless,
}

/// What the allocator is to write, and what then holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IpamPlan {
    /// Takes away what Services may not or need not keep. Steps do not depend on each other.
    pub releases: Vec<Step>,
    /// Gives addresses and says why none could be given; after all of `releases`. Steps do not depend on each other.
    pub grants: Vec<Step>,
    /// Statuses of pools and policies; any time.
    pub statuses: Vec<Step>,
    /// Who has which address when all is written.
    pub allocations: BTreeMap<IpAddr, BTreeSet<ObjectName>>,
}

impl IpamPlan {
    /// Nothing to write.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.releases.is_empty() && self.grants.is_empty() && self.statuses.is_empty()
    }
}

/// Decides which Service has which address. Pure, and the same on every node that knows the same (a node's own links
/// and routes aside, which are among the addresses that are never given).
///
/// `world` must be complete: what is not in it counts as deleted, and its addresses are given to others.
#[must_use]
pub fn plan(world: &World, settings: &IpamSettings) -> IpamPlan {
    let forbidden = Forbidden::new(world);
    let pools = Pools::new(world);
    let census = Census::new(world, settings, &pools);
    let mut ledger = Ledger::new(&census, &pools, &forbidden);
    ledger.adopt(world, &census);
    ledger.serve();
    let Steps { releases, grants } = Steps::new(world, &census, &pools, &ledger);
    let statuses = status::steps(world, &pools, &ledger, &forbidden);
    IpamPlan { releases, grants, statuses, allocations: steps::allocations(&ledger) }
}
