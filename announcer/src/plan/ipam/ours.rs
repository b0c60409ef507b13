//! Which Services this allocator serves, and which it once did.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use super::{IpamSettings, pools::Pools};
use crate::{
    api::names,
    config::Classless,
    world::model::{Condition, ObjectName, Service, World},
};

/// Conditions and annotations that other allocators leave on the Services that they serve.
const FOREIGN_CONDITIONS: [&str; 1] = ["cilium.io/IPAMRequestSatisfied"];
const FOREIGN_ANNOTATIONS: [&str; 4] = [
    "metallb.io/ip-allocated-from-pool",
    "metallb.universe.tf/ip-allocated-from-pool",
    "kube-vip.io/vipHost",
    "purelb.io/allocated-by",
];

/// A Service by name.
pub(super) type Named<'w> = (&'w ObjectName, &'w Service);

/// The Services, sorted by whose they are.
#[derive(Debug)]
pub(super) struct Census<'w> {
    /// Ours, in the order of their creation.
    pub(super) ours: Vec<Named<'w>>,
    /// Not ours any more, but with something on them that we left.
    pub(super) left: Vec<Named<'w>>,
    /// Addresses whose claims name the Service.
    claimed: HashMap<&'w ObjectName, Vec<IpAddr>>,
}

impl<'w> Census<'w> {
    pub(super) fn new(world: &'w World, settings: &IpamSettings, pools: &Pools<'_>) -> Self {
        let mut claimed: HashMap<&ObjectName, Vec<IpAddr>> = HashMap::new();
        for (ip, claim) in &world.claims {
            claim.services.iter().for_each(|name| claimed.entry(name).or_default().push(*ip));
        }
        let mut census = Self { ours: Vec::new(), left: Vec::new(), claimed };
        let served = |(name, service): &Named<'_>| census.served(name, service, pools);
        let others = || {
            let classless =
                world.services.iter().filter(|(_, service)| service.load_balancer && service.class.is_none());
            classless.filter(|named| served(named) == Marks::Anothers).count() > 0
        };
        let another_at_work = settings.classless == Classless::Auto && others();
        let ours: HashSet<&ObjectName> = world
            .services
            .iter()
            .filter(|(name, service)| {
                service.load_balancer
                    && match (&service.class, settings.classless) {
                        (Some(class), _) => class == names::CLASS,
                        (None, Classless::Yes) => true,
                        (None, Classless::No) => false,
                        (None, Classless::Auto) => match census.served(name, service, pools) {
                            Marks::Ours => true,
                            Marks::None => !another_at_work,
                            Marks::Anothers => false,
                        },
                    }
            })
            .map(|(name, _)| name)
            .collect();
        for named in &world.services {
            if ours.contains(named.0) {
                census.ours.push(named);
            } else if condition(named.1).is_some() || census.claimed.contains_key(named.0) {
                census.left.push(named);
            }
        }
        census.ours.sort_by_key(|(name, service)| (service.created, *name));
        census
    }

    /// Addresses whose claims name the Service, ascending.
    pub(super) fn claims_of(&self, name: &ObjectName) -> &[IpAddr] {
        self.claimed.get(name).map_or(&[], Vec::as_slice)
    }

    /// Who has left a mark on a Service without class.
    fn served(&self, name: &ObjectName, service: &Service, pools: &Pools<'_>) -> Marks {
        let foreign = service.conditions.iter().any(|condition| FOREIGN_CONDITIONS.contains(&condition.kind.as_str()))
            || FOREIGN_ANNOTATIONS.iter().any(|key| service.annotations.contains_key(*key));
        let (claimed, marked) = (self.claims_of(name), condition(service).is_some());
        // Its addresses are ours if claimed; or, should the claim be lost, if we said so and a pool holds them.
        let ours = |ip: &IpAddr| claimed.contains(ip) || (marked && !pools.holding(*ip).is_empty());
        if foreign || !service.ingress.iter().all(|ingress| ours(&ingress.ip)) {
            Marks::Anothers
        } else if marked || !claimed.is_empty() {
            Marks::Ours
        } else {
            Marks::None
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    Ours,
    Anothers,
    None,
}

/// Our condition on the Service.
pub(super) fn condition(service: &Service) -> Option<&Condition> {
    service.conditions.iter().find(|condition| condition.kind == names::CONDITION_IPAM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ipam::samples::{claim, having, ip, name, pool, service, world};

    fn classless() -> Service {
        Service { class: None, ..service() }
    }

    fn ours(world: &World, classless: Classless) -> Vec<String> {
        let pools = Pools::new(world);
        let census = Census::new(world, &IpamSettings { classless }, &pools);
        census.ours.iter().map(|(name, _)| name.name.clone()).collect()
    }

    #[test]
    fn services_without_class_are_served_as_the_setting_says() {
        let mut world = world([("p", pool(&["10.0.0.0/24"]))]);
        world.services.insert(name("classed"), service());
        world.services.insert(name("classless"), classless());
        world.services.insert(name("foreign"), Service { class: Some("other/class".into()), ..service() });
        world.services.insert(name("internal"), Service { load_balancer: false, ..classless() });
        assert_eq!(ours(&world, Classless::Yes), ["classed", "classless"]);
        assert_eq!(ours(&world, Classless::Auto), ["classed", "classless"]);
        assert_eq!(ours(&world, Classless::No), ["classed"]);
    }

    #[test]
    fn where_another_allocator_is_at_work_only_our_class_and_what_we_serve_already_is_ours() {
        let mut world = world([("p", pool(&["10.0.0.0/24"]))]);
        world.services.insert(name("classed"), service());
        world.services.insert(name("new"), classless());
        world.services.insert(name("adopted"), having(classless(), &["10.0.0.5"]));
        world.claims.insert(ip("10.0.0.5"), claim(&["adopted"]));
        world.services.insert(name("theirs"), having(classless(), &["10.9.0.1"]));
        assert_eq!(ours(&world, Classless::Auto), ["adopted", "classed"]);
        world.services.remove(&name("theirs"));
        assert_eq!(ours(&world, Classless::Auto), ["adopted", "classed", "new"]);
    }

    #[test]
    fn a_service_that_another_allocator_has_marked_is_not_fought_over() {
        let mut world = world([("p", pool(&["10.0.0.0/24"]))]);
        let mut marked = having(classless(), &["10.0.0.5"]);
        marked.annotations.insert("metallb.io/ip-allocated-from-pool".into(), "first".into());
        world.services.insert(name("web"), marked);
        world.claims.insert(ip("10.0.0.5"), claim(&["web"]));
        assert_eq!(ours(&world, Classless::Auto), Vec::<String>::new());
        let pools = Pools::new(&world);
        let census = Census::new(&world, &IpamSettings { classless: Classless::Auto }, &pools);
        assert_eq!(census.left.len(), 1);
    }

    #[test]
    fn services_come_in_the_order_of_their_creation() {
        let mut world = world([]);
        for (text, created) in [("a", 3), ("b", 1), ("c", 2), ("d", 1)] {
            world.services.insert(name(text), Service { created, ..service() });
        }
        assert_eq!(ours(&world, Classless::Auto), ["b", "d", "c", "a"]);
    }
}
