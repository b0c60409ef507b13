//! What tests build Worlds from.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    api::names,
    config::Classless,
    plan::ipam::{IpamPlan, IpamSettings, Write, plan},
    world::model::{Block, Claim, Ingress, Node, ObjectName, Pool, Selector, Service, World},
};

pub(super) const SETTINGS: IpamSettings = IpamSettings { classless: Classless::Auto };

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn name(text: &str) -> ObjectName {
    ObjectName { namespace: "shop".into(), name: text.into() }
}

/// A pool of blocks as `10.0.0.0/24` or `10.0.0.1-10.0.0.9`.
pub(super) fn pool(blocks: &[&str]) -> Pool {
    let blocks = blocks.iter().map(|text| match text.split_once('-') {
        Some((first, last)) => Block { first: ip(first), last: ip(last), cidr: None },
        None => {
            let net: IpNet = text.parse().unwrap();
            Block { first: net.network(), last: net.broadcast(), cidr: Some(net) }
        }
    });
    Pool {
        uid: "pool".into(),
        generation: 1,
        blocks: blocks.collect(),
        allow_first_last: true,
        auto_assign: true,
        priority: 100,
        ..Pool::default()
    }
}

pub(super) fn world<'a>(pools: impl IntoIterator<Item = (&'a str, Pool)>) -> World {
    let mut world = World { me: "n1".into(), ..World::default() };
    world.pools = pools.into_iter().map(|(name, pool)| (name.to_owned(), pool)).collect();
    world.nodes.insert("n1".into(), Node { addresses: vec![ip("192.0.2.1")], ready: true, ..Node::default() });
    world
}

/// A Service of our class.
pub(super) fn service() -> Service {
    Service { uid: "uid".into(), load_balancer: true, class: Some(names::CLASS.into()), ..Service::default() }
}

pub(super) fn asking(ips: &str) -> Service {
    let mut service = service();
    service.annotations.insert(names::IPS_ANNOTATION.into(), ips.into());
    service
}

/// With addresses in its status.
pub(super) fn having(mut service: Service, ips: &[&str]) -> Service {
    service.ingress = ips.iter().map(|text| Ingress { ip: ip(text), ip_mode: Some("VIP".into()) }).collect();
    service
}

pub(super) fn claim(services: &[&str]) -> Claim {
    Claim {
        services: services.iter().map(|text| name(text)).collect(),
        resource_version: "1".into(),
        ..Claim::default()
    }
}

pub(super) fn selecting(key: &str, value: &str) -> Selector {
    Selector { match_labels: [(key.to_owned(), value.to_owned())].into(), expressions: vec![] }
}

/// Writes as the API server would.
///
/// # Errors
/// The write is refused.
pub(super) fn write(world: &mut World, write: &Write, version: &mut u64) -> Result<(), String> {
    *version += 1;
    match write {
        Write::CreateClaim { address, service } => {
            if world.claims.contains_key(address) {
                return Err(format!("{address} is claimed already"));
            }
            let resource_version = version.to_string();
            let services = [service.clone()].into();
            world.claims.insert(*address, Claim { services, resource_version, ..Claim::default() });
        }
        Write::DeleteClaim { address, resource_version } => {
            if world.claims.get(address).map(|claim| &claim.resource_version) != Some(resource_version) {
                return Err(format!("the claim of {address} has changed"));
            }
            world.claims.remove(address);
        }
        Write::SetService { service, uid, status } => {
            let object = world.services.get_mut(service).filter(|object| object.uid == *uid).ok_or("gone")?;
            object.ingress =
                status.addresses.iter().map(|ip| Ingress { ip: *ip, ip_mode: Some("VIP".into()) }).collect();
            object.conditions.retain(|condition| condition.kind != status.condition.kind);
            object.conditions.push(status.condition.clone());
        }
        Write::ClearService { service, uid, addresses } => {
            let object = world.services.get_mut(service).filter(|object| object.uid == *uid).ok_or("gone")?;
            object.conditions.retain(|condition| condition.kind != names::CONDITION_IPAM);
            if *addresses {
                object.ingress.clear();
            }
        }
        Write::SetPool { name, status, .. } => {
            let pool = world.pools.get_mut(name).ok_or("gone")?;
            pool.counts = Some(status.counts);
            pool.conditions = status.conditions.clone();
        }
        Write::SetPolicy { name, status, .. } => {
            let policy = world.policies.get_mut(name).ok_or("gone")?;
            policy.counts = Some([status.services, status.nodes]);
            policy.conditions = status.conditions.clone();
        }
    }
    Ok(())
}

/// Plans and writes all of it; what was planned.
pub(super) fn settle(world: &mut World) -> IpamPlan {
    let plan = plan(world, &SETTINGS);
    let mut version = 1_000;
    for step in [&plan.releases, &plan.grants, &plan.statuses].into_iter().flatten() {
        for one in &step.writes {
            write(world, one, &mut version).unwrap();
        }
    }
    plan
}

/// The addresses that the Service's status shows.
pub(super) fn shown(world: &World, service: &str) -> Vec<String> {
    world.services[&name(service)].ingress.iter().map(|ingress| ingress.ip.to_string()).collect()
}

/// Reason and message of our condition.
pub(super) fn told(world: &World, service: &str) -> (String, String) {
    let conditions = &world.services[&name(service)].conditions;
    let ours = conditions.iter().find(|condition| condition.kind == names::CONDITION_IPAM);
    ours.map(|condition| (condition.reason.clone(), condition.message.clone())).unwrap_or_default()
}
