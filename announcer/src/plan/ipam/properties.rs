//! What holds for every World, however odd.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, option, prelude::*, sample::subsequence};

use super::{
    samples::{asking, claim, ip, name, pool, selecting, service, world, write},
    *,
};
use crate::{
    api::names,
    world::model::{Claim, Condition, Family, FamilyPolicy, Ingress, Policy, Pool, Service},
};

/// Few addresses and few Services, so that they meet.
fn address() -> impl Strategy<Value = String> {
    (0u8..24).prop_map(|last| format!("10.0.0.{last}"))
}

fn block() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (0u8..24, 0u8..8).prop_map(|(first, len)| format!("10.0.0.{first}-10.0.0.{}", first + len)),
        2 => (0u8..6).prop_map(|n| format!("10.0.0.{}/30", n * 4)),
        1 => Just("fd00::/120".to_owned()),
    ]
}

fn a_pool() -> impl Strategy<Value = Pool> {
    let flags = (prop::bool::weighted(0.1), any::<bool>(), any::<bool>(), prop::bool::weighted(0.8), -1i32..2, 0i64..3);
    (vec(block(), 0..3), option::weighted(0.3, "[ab]"), flags, prop::bool::weighted(0.1)).prop_map(
        |(blocks, app, (disabled, allow_first_last, avoid_buggy, auto_assign, priority, created), broken)| Pool {
            selector: app.map(|app| selecting("app", &app)).unwrap_or_default(),
            errors: if broken { vec!["spec.blocks[0].cidr: broken".into()] } else { vec![] },
            disabled,
            allow_first_last,
            avoid_buggy,
            auto_assign,
            priority,
            created,
            ..pool(&blocks.iter().map(String::as_str).collect::<Vec<_>>())
        },
    )
}

fn mark(kind: &str) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: true,
        reason: "satisfied".into(),
        message: "old".into(),
        observed_generation: None,
        last_transition: Some(1),
    }
}

fn a_service() -> impl Strategy<Value = Service> {
    let class =
        prop_oneof![3 => Just(Some(names::CLASS.to_owned())), 2 => Just(None), 1 => Just(Some("other".to_owned()))];
    let request = prop_oneof![
        6 => Just(String::new()),
        4 => vec(address(), 1..3).prop_map(|ips| ips.join(",")),
        1 => Just("rubbish".to_owned()),
        1 => Just("fd00::5".to_owned()),
    ];
    let families =
        prop_oneof![Just(vec![Family::V4]), Just(vec![Family::V6]), Just(vec![Family::V4, Family::V6]), Just(vec![])];
    let policy = prop_oneof![
        3 => Just(FamilyPolicy::SingleStack), 1 => Just(FamilyPolicy::PreferDualStack), 1 => Just(FamilyPolicy::RequireDualStack)
    ];
    let rest =
        (prop::bool::weighted(0.9), prop::bool::weighted(0.1), any::<bool>(), 0i64..4, prop::bool::weighted(0.1));
    (class, request, families, policy, "[ab]", vec(address(), 0..2), rest).prop_map(
        |(class, request, families, family_policy, app, has, (load_balancer, deleting, marked, created, foreign))| {
            let marks = [(marked, names::CONDITION_IPAM), (foreign, "cilium.io/IPAMRequestSatisfied")];
            Service {
                class,
                families,
                family_policy,
                load_balancer,
                deleting,
                created,
                labels: [("app".to_owned(), app)].into(),
                ingress: has.iter().map(|text| Ingress { ip: ip(text), ip_mode: None }).collect(),
                conditions: marks.iter().filter(|(set, _)| *set).map(|(_, kind)| mark(kind)).collect(),
                ..if request.is_empty() { service() } else { asking(&request) }
            }
        },
    )
}

fn a_world() -> impl Strategy<Value = World> {
    let claims = vec((address(), vec(0usize..9, 0..3)), 0..6);
    (vec(a_pool(), 0..4), vec(a_service(), 0..8), claims, vec(address(), 0..3), any::<bool>()).prop_map(
        |(pools, services, claims, taken, own)| {
            let named: Vec<String> = (0..pools.len()).map(|i| format!("pool{i}")).collect();
            let mut world = world(named.iter().map(String::as_str).zip(pools));
            world.services = services.into_iter().enumerate().map(|(i, s)| (name(&format!("s{i}")), s)).collect();
            for (text, of) in claims {
                let of: Vec<String> = of.iter().map(|i| format!("s{i}")).collect();
                if of.len() > 1 {
                    // Whoever shares an address has been written by us, with our condition.
                    for one in &of {
                        let service = world.services.get_mut(&name(one));
                        service.into_iter().for_each(|one| one.conditions = vec![mark(names::CONDITION_IPAM)]);
                    }
                }
                world.claims.insert(ip(&text), claim(&of.iter().map(String::as_str).collect::<Vec<_>>()));
            }
            if own {
                world.own_addresses = taken.iter().map(|text| ip(text)).collect();
            } else {
                world.gateways = taken.iter().map(|text| ip(text)).collect();
            }
            world.policies.insert("all".into(), Policy::default());
            world
        },
    )
}

fn settings() -> impl Strategy<Value = IpamSettings> {
    prop_oneof![Just(Classless::Auto), Just(Classless::Yes), Just(Classless::No)]
        .prop_map(|classless| IpamSettings { classless })
}

fn writes(plan: &IpamPlan) -> Vec<Write> {
    let steps = [&plan.releases, &plan.grants, &plan.statuses];
    steps.into_iter().flatten().flat_map(|step| step.writes.iter().cloned()).collect()
}

fn run<'a>(world: &mut World, list: impl IntoIterator<Item = &'a Write>) {
    let mut version = world.claims.values().filter_map(|claim| claim.resource_version.parse().ok()).max().unwrap_or(0);
    for one in list {
        write(world, one, &mut version).unwrap();
    }
}

/// The World without what two ways to one end may differ in.
fn essence(mut world: World) -> World {
    world.claims.values_mut().for_each(|claim| claim.resource_version.clear());
    for service in world.services.values_mut() {
        service.conditions.iter_mut().for_each(|condition| condition.last_transition = None);
        service.conditions.sort_by(|a, b| a.kind.cmp(&b.kind));
    }
    world
}

/// The Services that the allocator serves.
fn ours(world: &World, settings: &IpamSettings) -> BTreeMap<ObjectName, Service> {
    let pools = Pools::new(world);
    let census = Census::new(world, settings, &pools);
    census.ours.iter().map(|(name, service)| ((*name).clone(), (*service).clone())).collect()
}

fn in_a_pool(world: &World, ip: IpAddr) -> bool {
    world
        .pools
        .values()
        .flat_map(|pool| &pool.blocks)
        .any(|block| block.first.is_ipv4() == ip.is_ipv4() && (block.first..=block.last).contains(&ip))
}

/// Whether the Service shows the address, or has a claim on it.
fn in_service(world: &World, name: &ObjectName, ip: IpAddr) -> bool {
    let shown = world.services[name].ingress.iter().any(|ingress| ingress.ip == ip);
    shown || world.claims.get(&ip).is_some_and(|claim| claim.services.contains(name))
}

proptest! {
    #[test]
    fn once_the_plan_is_written_there_is_nothing_left_to_write(mut world in a_world(), settings in settings()) {
        let all = writes(&plan(&world, &settings));
        run(&mut world, &all);
        let again = plan(&world, &settings);
        prop_assert!(again.is_done(), "{again:#?}");
    }

    #[test]
    fn no_two_services_have_one_address_and_each_address_is_claimed_for_its_service(
        mut world in a_world(), settings in settings()
    ) {
        let planned = plan(&world, &settings);
        run(&mut world, &writes(&planned));
        let mut seen = BTreeSet::new();
        for (name, service) in ours(&world, &settings) {
            for ingress in &service.ingress {
                // A Service on its way out is not written to, and may show what nobody ever gave it.
                if service.deleting && planned.allocations.get(&ingress.ip).is_none_or(|of| !of.contains(&name)) {
                    continue;
                }
                prop_assert!(seen.insert(ingress.ip), "{} twice", ingress.ip);
                prop_assert!(world.claims[&ingress.ip].services.contains(&name));
            }
        }
        let claimed: BTreeSet<IpAddr> = world.claims.keys().copied().collect();
        prop_assert_eq!(claimed, planned.allocations.keys().copied().collect::<BTreeSet<_>>());
    }

    #[test]
    fn what_a_service_gets_is_in_a_pool_not_forbidden_and_what_it_asked_for(
        mut world in a_world(), settings in settings()
    ) {
        let before = world.clone();
        let all = writes(&plan(&world, &settings));
        run(&mut world, &all);
        for (name, service) in ours(&world, &settings).into_iter().filter(|(_, service)| !service.deleting) {
            let request = request::Request::of(&service);
            for ip in service.ingress.iter().map(|ingress| ingress.ip) {
                let unreadable = world.pools.values().any(|pool| !pool.errors.is_empty());
                prop_assert!(in_a_pool(&world, ip) || (unreadable && in_service(&before, &name, ip)));
                prop_assert!(!world.gateways.contains(&ip));
                prop_assert!(in_service(&before, &name, ip) || !world.own_addresses.contains(&ip));
                if request.errors.is_empty() && !request.addresses.is_empty() {
                    prop_assert!(request.addresses.contains(&ip));
                }
            }
        }
    }

    #[test]
    fn a_restart_between_any_two_writes_changes_nothing(
        world in a_world(), settings in settings(), at in any::<prop::sample::Index>()
    ) {
        let all = writes(&plan(&world, &settings));
        let mut through = world.clone();
        run(&mut through, &all);
        let mut restarted = world;
        run(&mut restarted, &all[..at.index(all.len() + 1)]);
        let rest = writes(&plan(&restarted, &settings));
        run(&mut restarted, &rest);
        prop_assert_eq!(essence(through), essence(restarted));
    }

    #[test]
    fn which_of_the_grants_were_written_before_a_restart_changes_nothing(
        (world, settings, grants) in (a_world(), settings()).prop_flat_map(|(world, settings)| {
            let grants = plan(&world, &settings).grants;
            let some = 0..=grants.len();
            (Just(world), Just(settings), subsequence(grants, some).prop_shuffle())
        })
    ) {
        let planned = plan(&world, &settings);
        let mut through = world.clone();
        run(&mut through, &writes(&planned));
        let mut restarted = world;
        run(&mut restarted, planned.releases.iter().chain(&grants).flat_map(|step| &step.writes));
        let rest = writes(&plan(&restarted, &settings));
        run(&mut restarted, &rest);
        prop_assert_eq!(essence(through), essence(restarted));
    }

    #[test]
    fn the_same_world_has_the_same_plan(world in a_world(), settings in settings()) {
        prop_assert_eq!(plan(&world, &settings), plan(&world, &settings));
    }

    #[test]
    fn newcomers_and_wider_pools_take_no_address_away(
        mut world in a_world(), mut newcomer in a_service(), settings in settings()
    ) {
        let all = writes(&plan(&world, &settings));
        run(&mut world, &all);
        let before: BTreeMap<IpAddr, Claim> = world.claims.clone();
        // The newcomer shows nothing yet, and no sign of another allocator.
        newcomer.ingress.clear();
        newcomer.conditions.clear();
        newcomer.created = 99;
        world.services.insert(name("newcomer"), newcomer);
        world.pools.insert("zz-wider".into(), Pool { created: 99, ..pool(&["10.0.0.0/24"]) });
        let later = plan(&world, &settings);
        prop_assert!(later.releases.is_empty(), "RELEASES {:?}", later.releases);
        prop_assert!(before.keys().all(|ip| later.allocations.contains_key(ip)));
    }
}
