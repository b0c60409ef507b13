//! Worlds for the election's tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::world::model::{
    AttachMode, Claim, Heartbeat, Link, LinkFacts, Mac, Moment, Node, NodeFacts, ObjectName, Policy, Service, World,
};

pub(super) fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

pub(super) fn node(n: usize) -> String {
    format!("n{n}")
}

pub(super) fn vip(n: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, u8::try_from(n).unwrap()])
}

pub(super) fn service(n: usize) -> ObjectName {
    ObjectName { namespace: "shop".to_owned(), name: format!("s{n}") }
}

pub(super) fn facts(n: usize) -> NodeFacts {
    let links = vec![LinkFacts {
        name: "eth0".to_owned(),
        mac: Mac([2, 0, 0, 0, 0, u8::try_from(n).unwrap()]),
        addresses: vec![format!("192.0.2.{}/24", 200 + n).parse().unwrap()],
        up: true,
    }];
    NodeFacts { ready: true, links, ..NodeFacts::default() }
}

pub(super) fn claim(n: usize, holder: Option<usize>, term: u64) -> Claim {
    let services = BTreeSet::from([service(n)]);
    Claim { resource_version: "1".to_owned(), services, holder: holder.map(node), term }
}

/// The World of node 0: `nodes` nodes that have just beaten at `now`, and VIPs with the given holders.
pub(super) fn world(nodes: usize, holders: &[Option<usize>], now: Moment) -> World {
    let mut world = World::new(&node(0));
    for n in 0..nodes {
        let beat =
            Heartbeat { observed: now, first_seen: now, beat: "1".to_owned(), facts: facts(n), ..Heartbeat::default() };
        world.heartbeats.insert(node(n), beat);
        world.nodes.insert(node(n), Node { ready: true, ..Node::default() });
    }
    for (n, holder) in holders.iter().enumerate() {
        world.services.insert(service(n), Service { load_balancer: true, ..Service::default() });
        world.claims.insert(vip(n), claim(n, *holder, u64::from(holder.is_some())));
    }
    world.policies.insert("all".to_owned(), Policy { load_balancer_ips: true, ..Policy::default() });
    become_node(&mut world, 0);
    world
}

/// The same World as node `n` knows it.
pub(super) fn become_node(world: &mut World, n: usize) {
    world.me = node(n);
    let links = world.heartbeats.get(&world.me).map(|beat| beat.facts.links.clone()).unwrap_or_default();
    world.links = links
        .into_iter()
        .map(|LinkFacts { name, mac, addresses, up }| {
            (name.clone(), Link { name, index: 2, mac, mtu: 1500, up, addresses, attached: Some(AttachMode::Native) })
        })
        .collect::<BTreeMap<_, _>>();
}
