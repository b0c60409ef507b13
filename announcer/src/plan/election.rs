//! Who leads each VIP, judged by heartbeats; the lease steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use crate::world::model::{Moment, World};

/// Settings of the election; the same on every node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectionSettings {
    /// No node leads more VIPs than this percentage of an even share, rounded up.
    pub load_percent: u32,
}

impl Default for ElectionSettings {
    fn default() -> Self {
        Self { load_percent: 125 }
    }
}

/// Who is alive and who leads what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Election {
    /// Nodes whose agents beat and that are nodes of the cluster. Whether their data path takes rows is in their facts.
    pub alive: BTreeSet<String>,
    /// This node is the allocator, by the Lease.
    pub allocator: bool,
    /// This node takes the allocator's Lease over, with this term.
    pub take_allocator: Option<u64>,
    /// One entry for each claim.
    pub vips: BTreeMap<IpAddr, VipDecision>,
    /// When time alone next changes something.
    pub next_check: Option<Moment>,
}

/// What is decided about one VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipDecision {
    /// Who leads it now, or is about to take over; None: it is not announced.
    pub leader: Option<String>,
    /// The leader's term; the next one where `take_over` is set.
    pub term: u64,
    /// Own links on which this node answers and announces; empty where another leads.
    pub announce: BTreeSet<String>,
    /// This node takes over: data path first, then gratuitous ARP, then the Lease with `term`.
    pub take_over: bool,
    /// The Lease names this node, which no longer leads and has no successor: the holder is to be cleared.
    pub release: bool,
    pub reason: Reason,
}

/// Why a VIP is led as it is, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    HolderStays,
    Vacant,
    HolderDead,
    HolderUnfit,
    HolderOverloaded,
    NoService,
    NoPolicy,
    NoCandidate,
    FamilyUnsupported,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HolderStays => "the holder stays",
            Self::Vacant => "nobody led it",
            Self::HolderDead => "the holder's heartbeat stopped",
            Self::HolderUnfit => "the holder may no longer lead",
            Self::HolderOverloaded => "the holder led more than its share",
            Self::NoService => "no Service has it",
            Self::NoPolicy => "no L2AnnouncementPolicy selects its Service",
            Self::NoCandidate => "no node that a policy selects can announce it",
            Self::FamilyUnsupported => "IPv6 is not announced by this version",
        })
    }
}

/// Decides who leads each VIP. Pure, and the same on every node that knows the same. `world` must be complete.
#[must_use]
pub fn plan(world: &World, now: Moment, _settings: &ElectionSettings) -> Election {
    Election { next_check: world.next_death(now), ..Election::default() }
}
