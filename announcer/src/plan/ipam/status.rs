//! What is said about pools and policies: counts, and whether they have effect.

use std::{collections::HashMap, net::IpAddr};

use super::{
    Notice, PolicyStatus, PoolStatus, Severity, Step, Subject, Write,
    forbidden::Forbidden,
    ledger::Ledger,
    pools::{PoolView, Pools},
    refusal::cut,
    steps::same,
};
use crate::{
    api::names,
    world::model::{Condition, Family, ObjectName, Policy, PoolCounts, World},
};

/// Counts are shown as signed 64-bit numbers.
const MOST_SHOWN: u128 = i64::MAX as u128;

/// The statuses of pools and policies that differ from what they show.
pub(super) fn steps(world: &World, pools: &Pools<'_>, ledger: &Ledger<'_, '_>, forbidden: &Forbidden) -> Vec<Step> {
    let counts = count(pools, ledger, forbidden);
    let pools = pools.list.iter().zip(counts).filter_map(|(view, counts)| pool_step(view, counts));
    let mut labels = HashMap::new();
    let policies: Vec<Step> =
        world.policies.iter().filter_map(|(name, policy)| policy_step(world, name, policy, &mut labels)).collect();
    pools.chain(policies).collect()
}

fn count(pools: &Pools<'_>, ledger: &Ledger<'_, '_>, forbidden: &Forbidden) -> Vec<PoolCounts> {
    // By pool and family: addresses that Services have, and those that nobody can be given.
    let mut used = vec![[0u128; 2]; pools.list.len()];
    let mut spent = vec![[0u128; 2]; pools.list.len()];
    let mut spend = |ip: IpAddr, by_service: bool| {
        let family = usize::from(ip.is_ipv6());
        for &i in pools.holding(ip) {
            used[i][family] += u128::from(by_service);
            // What the pool kept for itself but had given before is no part of its total.
            spent[i][family] += u128::from(pools.list[i].gives(ip));
        }
    };
    ledger.owners.keys().for_each(|ip| spend(*ip, true));
    forbidden.addresses().filter(|ip| !ledger.owners.contains_key(ip)).for_each(|ip| spend(ip, false));
    let shown = |view: &PoolView<'_>, family: Family, used: u128, spent: u128| {
        let total = view.total(family);
        [total, total.saturating_sub(spent), used].map(|number| number.min(MOST_SHOWN))
    };
    pools
        .list
        .iter()
        .zip(used.iter().zip(&spent))
        .map(|(view, (used, spent))| PoolCounts {
            v4: shown(view, Family::V4, used[0], spent[0]),
            v6: shown(view, Family::V6, used[1], spent[1]),
        })
        .collect()
}

fn pool_step(view: &PoolView<'_>, counts: PoolCounts) -> Option<Step> {
    let PoolView { name, pool, conflict, .. } = view;
    let (ready, reason, message) = match view.closed() {
        Some(closed) => (false, closed.reason, format!("gives no new address: {}", closed.why)),
        None if counts.v4[0] == 0 && counts.v6[0] == 0 => {
            (false, "pool_empty", "its blocks hold no address that can be given: add a block".to_owned())
        }
        None => (true, "pool_ready", "gives addresses".to_owned()),
    };
    let ready = condition(&pool.conditions, pool.generation, names::CONDITION_READY, ready, reason, message);
    let conflict = match conflict {
        Some(other) => {
            let message = format!("overlaps {other}: gives no new address until the blocks of one of them are changed");
            condition(&pool.conditions, pool.generation, names::CONDITION_POOL_CONFLICT, true, "cidr_overlap", message)
        }
        None => {
            let message = "overlaps no older pool".to_owned();
            condition(&pool.conditions, pool.generation, names::CONDITION_POOL_CONFLICT, false, "no_overlap", message)
        }
    };
    let subject = || Subject::Pool { name: (*name).to_owned(), uid: pool.uid.clone() };
    let mut notices = Vec::new();
    if conflict.status && is_news(&pool.conditions, &conflict) {
        let note = cut(conflict.message.clone());
        notices.push(Notice { subject: subject(), severity: Severity::Warning, reason: "PoolConflict", note });
    } else if !pool.errors.is_empty() && is_news(&pool.conditions, &ready) {
        let note = cut(ready.message.clone());
        notices.push(Notice { subject: subject(), severity: Severity::Warning, reason: "PoolInvalid", note });
    }
    let conditions = vec![ready, conflict];
    if pool.counts == Some(counts) && are_shown(&pool.conditions, &conditions) {
        return None;
    }
    let status = PoolStatus { counts, conditions };
    let write = Write::SetPool { name: (*name).to_owned(), uid: pool.uid.clone(), status };
    Some(Step { writes: vec![write], notices })
}

fn policy_step<'w>(
    world: &'w World,
    name: &str,
    policy: &Policy,
    labels: &mut HashMap<&'w ObjectName, std::collections::BTreeMap<String, String>>,
) -> Option<Step> {
    let (ready, reason, message) = if let Some(error) = policy.errors.first() {
        (false, "policy_invalid", format!("announces nothing: {error}"))
    } else if !policy.load_balancer_ips && !policy.external_ips {
        let why = "announces nothing: set spec.loadBalancerIPs or spec.externalIPs to true";
        (false, "nothing_to_announce", why.to_owned())
    } else {
        (true, "policy_ready", "announces the Services that it selects".to_owned())
    };
    let services = world.services.iter().filter(|(_, service)| service.load_balancer);
    let services = services.filter(|(name, service)| {
        policy.service_selector.is_empty()
            || policy.service_selector.matches(labels.entry(name).or_insert_with(|| service.selectable_labels(name)))
    });
    let services = if policy.errors.is_empty() { services.count() as u64 } else { 0 };
    let nodes = world.nodes.values().filter(|node| policy.node_selector.matches(&node.labels));
    let nodes = if policy.errors.is_empty() { nodes.count() as u64 } else { 0 };
    let conditions =
        vec![condition(&policy.conditions, policy.generation, names::CONDITION_READY, ready, reason, message)];
    if policy.counts == Some([services, nodes]) && are_shown(&policy.conditions, &conditions) {
        return None;
    }
    let status = PolicyStatus { services, nodes, conditions };
    let write = Write::SetPolicy { name: name.to_owned(), uid: policy.uid.clone(), status };
    Some(Step { writes: vec![write], notices: vec![] })
}

fn condition(
    shown: &[Condition],
    generation: i64,
    kind: &str,
    status: bool,
    reason: &str,
    message: String,
) -> Condition {
    let old = shown.iter().find(|old| old.kind == kind && old.status == status);
    Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: cut(message),
        observed_generation: (generation > 0).then_some(generation),
        last_transition: old.and_then(|old| old.last_transition),
    }
}

fn are_shown(shown: &[Condition], wanted: &[Condition]) -> bool {
    wanted.iter().all(|wanted| shown.iter().any(|old| old.kind == wanted.kind && same(old, wanted)))
}

/// Whether what the condition says was not shown before.
fn is_news(shown: &[Condition], now: &Condition) -> bool {
    !shown.iter().any(|old| old.kind == now.kind && (old.status, &old.message) == (now.status, &now.message))
}
