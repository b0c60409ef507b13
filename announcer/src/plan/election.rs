//! Who leads each VIP, judged by heartbeats; the lease steps.
//!
//! The claim is (term, node), recorded in the VIP's Lease. The holder stays while it may lead and is within the load
//! bound; else the node that ranks first takes over with the next term, and the former holder yields when it sees the
//! Lease name another. Two leaders for a moment are harmless: both forward the same way.

mod assign;
pub mod fitness;
#[cfg(test)]
mod fixture;
mod ground;
mod rank;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use self::{
    assign::{Seat, assign},
    ground::{Ground, unfit},
};
use crate::world::model::{Claim, Moment, World};

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
pub fn plan(world: &World, now: Moment, settings: &ElectionSettings) -> Election {
    let mut ground = Ground::new(world, now);
    let mut seats = Vec::new();
    let mut unled = BTreeMap::new();
    for (vip, claim) in &world.claims {
        match ground.candidates(*vip, claim) {
            Ok(candidates) if candidates.is_empty() => drop(unled.insert(*vip, Reason::NoCandidate)),
            Err(reason) => drop(unled.insert(*vip, reason)),
            Ok(candidates) => {
                let holder = claim.holder.as_deref().and_then(|holder| candidates.get_key_value(holder));
                seats.push(Seat { vip: *vip, holder: holder.map(|(node, _)| *node), candidates });
            }
        }
    }
    let leaders = assign(&seats, settings.load_percent);
    let mut vips = BTreeMap::new();
    for seat in &seats {
        let (Some(claim), Some(leader)) = (world.claims.get(&seat.vip), leaders.get(&seat.vip)) else { continue };
        vips.insert(seat.vip, decide(world, now, &ground, claim, seat, leader));
    }
    for (vip, reason) in unled {
        if let Some(claim) = world.claims.get(&vip) {
            vips.insert(vip, nobody_else(world, now, &ground, vip, claim, reason));
        }
    }
    let alive = world.heartbeats.keys().filter(|node| is_member(world, node, now)).cloned().collect();
    let (allocator, take_allocator) = allocator(world, &alive);
    Election { alive, allocator, take_allocator, vips, next_check: world.next_death(now) }
}

/// A living agent on a node of the cluster.
fn is_member(world: &World, node: &str, now: Moment) -> bool {
    world.is_alive(node, now) && world.nodes.get(node).is_some_and(|object| !object.deleting)
}

/// What this node does about a VIP that `leader` should lead.
fn decide(
    world: &World,
    now: Moment,
    ground: &Ground<'_>,
    claim: &Claim,
    seat: &Seat<'_>,
    leader: &str,
) -> VipDecision {
    let holder = claim.holder.as_deref();
    let mine = leader == world.me;
    let reason = match holder {
        Some(holder) if holder == leader => Reason::HolderStays,
        None => Reason::Vacant,
        Some(holder) if seat.holder == Some(holder) => Reason::HolderOverloaded,
        Some(holder) if world.is_alive(holder, now) => Reason::HolderUnfit,
        Some(_) => Reason::HolderDead,
    };
    let handing_over = matches!(reason, Reason::HolderOverloaded | Reason::HolderUnfit);
    let take_over = mine && reason != Reason::HolderStays;
    let announce = if mine {
        seat.candidates.get(leader).into_iter().flatten().map(|link| (*link).to_owned()).collect()
    } else if handing_over && holder == Some(world.me.as_str()) {
        // Until the Lease names the other, so that there is always one that answers.
        ground.own_links(seat.vip, claim)
    } else {
        BTreeSet::new()
    };
    VipDecision {
        leader: Some(if handing_over && !mine { holder.unwrap_or(leader) } else { leader }.to_owned()),
        term: if take_over { claim.term.saturating_add(1) } else { claim.term },
        announce,
        take_over,
        release: false,
        reason,
    }
}

/// What this node does about a VIP that no node may take over.
fn nobody_else(
    world: &World,
    now: Moment,
    ground: &Ground<'_>,
    vip: IpAddr,
    claim: &Claim,
    reason: Reason,
) -> VipDecision {
    let holder = claim.holder.as_deref();
    // A holder that is only leaving, or whose data path is not in place yet, is better than none.
    let keeps = |node: &str| {
        reason == Reason::NoCandidate
            && world.is_alive(node, now)
            && ground.selects_node(vip, claim, node)
            && !unfit(world, node, now).is_some_and(fitness::Unfit::must_stop)
    };
    let leader = holder.filter(|node| keeps(node));
    let mine = holder == Some(world.me.as_str());
    VipDecision {
        leader: leader.map(str::to_owned),
        term: claim.term,
        announce: if mine && leader.is_some() { ground.own_links(vip, claim) } else { BTreeSet::new() },
        take_over: false,
        release: mine && leader.is_none(),
        reason,
    }
}

/// Whether this node is the allocator, and the term with which it becomes it.
fn allocator(world: &World, alive: &BTreeSet<String>) -> (bool, Option<u64>) {
    let may = |node: &str| alive.contains(node) && world.heartbeats.get(node).is_some_and(|beat| !beat.facts.leaving);
    let holder = world.allocator.as_ref().and_then(|lease| lease.holder.as_deref());
    if let Some(holder) = holder.filter(|holder| may(holder)) {
        return (holder == world.me, None);
    }
    let first = alive.iter().map(String::as_str).filter(|node| may(node)).min_by_key(|node| rank::of_allocator(node));
    let term = world.allocator.as_ref().map_or(0, |lease| lease.term).saturating_add(1);
    // Who leaves goes on allocating until another does.
    (holder == Some(world.me.as_str()) && alive.contains(&world.me), (first == Some(&world.me)).then_some(term))
}
