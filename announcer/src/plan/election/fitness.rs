//! Whether a node may lead at all, whatever the VIP.

use crate::world::model::{Moment, Node, NodeFacts, World};

/// Label by which a node is kept out of load balancing (KEP-1143).
const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// The node controller's own judgement of the kubelet: the heartbeat knows better.
const JUDGED_BY_HEARTBEAT: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Why a node may not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// No heartbeat, or a stale one.
    Dead,
    /// Its data path is not in place.
    NotReady,
    Leaving,
    /// It is no node of the cluster, or is being deleted.
    Gone,
    Excluded,
    NetworkUnavailable,
    Tainted,
}

impl Unfit {
    /// Whether the node stops even when no other can take over: somebody wants it so.
    pub(super) fn must_stop(self) -> bool {
        match self {
            Self::Dead | Self::NotReady | Self::Leaving => false,
            Self::Gone | Self::Excluded | Self::NetworkUnavailable | Self::Tainted => true,
        }
    }
}

/// The facts of a node that may lead. A cordon alone changes nothing, and neither does a Node that is not Ready while
/// its heartbeat comes.
///
/// # Errors
/// [`Unfit`]: why it may not.
pub fn may_lead<'a>(world: &'a World, node: &str, now: Moment) -> Result<&'a NodeFacts, Unfit> {
    let object = world.nodes.get(node).filter(|object| !object.deleting).ok_or(Unfit::Gone)?;
    kept_out(object).map_or(Ok(()), Err)?;
    let beat = world.heartbeats.get(node).filter(|_| world.is_alive(node, now)).ok_or(Unfit::Dead)?;
    match &beat.facts {
        facts if facts.leaving => Err(Unfit::Leaving),
        facts if !facts.ready => Err(Unfit::NotReady),
        facts => Ok(facts),
    }
}

fn kept_out(node: &Node) -> Option<Unfit> {
    // The label's presence counts, whatever its value.
    if node.labels.contains_key(EXCLUDE_LABEL) {
        return Some(Unfit::Excluded);
    }
    if node.network_unavailable {
        return Some(Unfit::NetworkUnavailable);
    }
    let bad = |(key, effect): &(String, String)| {
        key == OUT_OF_SERVICE || (effect == "NoExecute" && !JUDGED_BY_HEARTBEAT.contains(&key.as_str()))
    };
    node.taints.iter().any(bad).then_some(Unfit::Tainted)
}
