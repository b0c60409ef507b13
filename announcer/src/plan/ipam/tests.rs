//! What users meet, case by case.

use std::time::{Duration, Instant};

use super::{
    samples::{SETTINGS, asking, claim, having, ip, name, pool, selecting, service, settle, shown, told, world},
    *,
};
use crate::{
    api::names,
    world::model::{Condition, Family, FamilyPolicy, Node, Pool, Service},
};

fn notes(plan: &IpamPlan) -> Vec<(&'static str, Severity)> {
    let steps = plan.releases.iter().chain(&plan.grants).chain(&plan.statuses);
    steps.flat_map(|step| &step.notices).map(|notice| (notice.reason, notice.severity)).collect()
}

#[test]
fn a_service_gets_the_lowest_free_address_claimed_before_it_is_shown() {
    let mut world = world([("lan", pool(&["10.0.0.8/29"]))]);
    world.services.insert(name("web"), service());
    let plan = settle(&mut world);
    assert!(matches!(plan.grants[0].writes[..], [Write::CreateClaim { .. }, Write::SetService { .. }]));
    assert_eq!(notes(&plan), [("AddressAssigned", Severity::Normal)]);
    assert_eq!(plan.grants[0].notices[0].note, "10.0.0.8 assigned from pool lan");
    assert_eq!(shown(&world, "web"), ["10.0.0.8"]);
    assert_eq!(told(&world, "web"), ("satisfied".to_owned(), "10.0.0.8 assigned".to_owned()));
    assert!(super::plan(&world, &SETTINGS).is_done());
}

#[test]
fn a_service_that_goes_frees_its_address_for_one_that_waits() {
    let mut world = world([("lan", pool(&["10.0.0.8/32"]))]);
    world.services.insert(name("first"), service());
    world.services.insert(name("second"), Service { created: 1, ..service() });
    let plan = settle(&mut world);
    assert_eq!(notes(&plan)[1], ("AddressRefused", Severity::Warning));
    assert_eq!(told(&world, "second").0, "out_of_ips");
    world.services.remove(&name("first"));
    settle(&mut world);
    assert_eq!(shown(&world, "second"), ["10.0.0.8"]);
    assert_eq!(told(&world, "second").0, "satisfied");
}

#[test]
fn a_service_whose_type_changes_loses_address_claim_and_condition() {
    let mut world = world([("lan", pool(&["10.0.0.0/24"]))]);
    world.services.insert(name("web"), service());
    settle(&mut world);
    let web = world.services.get_mut(&name("web")).unwrap();
    (web.load_balancer, web.class) = (false, None);
    let plan = settle(&mut world);
    assert!(matches!(
        plan.releases[0].writes[..],
        [Write::ClearService { addresses: true, .. }, Write::DeleteClaim { .. }]
    ));
    assert_eq!(notes(&plan), [("AddressReleased", Severity::Normal)]);
    assert!(world.claims.is_empty() && world.services[&name("web")].conditions.is_empty());
    assert!(shown(&world, "web").is_empty());
}

#[test]
fn a_service_of_another_class_is_never_written() {
    let mut world = world([("lan", pool(&["10.0.0.0/24"]))]);
    let foreign = Service { class: Some("metallb".into()), ..service() };
    world.services.insert(name("theirs"), having(foreign, &["10.0.0.9"]));
    let plan = settle(&mut world);
    assert!(plan.releases.is_empty() && plan.grants.is_empty());
}

#[test]
fn what_a_service_asks_for_by_any_of_the_names_it_gets() {
    let mut world = world([("lan", pool(&["10.0.0.0/24"]))]);
    let mut several = asking("10.0.0.50");
    several.annotations.insert("lbipam.cilium.io/ips".into(), "10.0.0.51".into());
    several.annotations.insert("io.cilium/lb-ipam-ips".into(), "10.0.0.52".into());
    several.load_balancer_ip = Some("10.0.0.53".into());
    world.services.insert(name("web"), several);
    settle(&mut world);
    assert_eq!(shown(&world, "web"), ["10.0.0.50", "10.0.0.51", "10.0.0.52", "10.0.0.53"]);
}

/// A Service that asks for `ips` among these pools: the reason that it is told.
fn refusal(world: &World, ips: &str) -> (String, String) {
    let mut world = world.clone();
    world.services.insert(name("web"), Service { created: 9, ..asking(ips) });
    let plan = settle(&mut world);
    assert!(notes(&plan).contains(&("AddressRefused", Severity::Warning)));
    assert_eq!(shown(&world, "web"), Vec::<String>::new());
    told(&world, "web")
}

#[test]
fn each_request_that_fails_has_its_own_reason_and_is_not_replaced() {
    let mut world = world([
        ("lan", pool(&["10.0.0.0/24", "192.0.2.1-192.0.2.5"])),
        ("off", Pool { disabled: true, ..pool(&["10.1.0.0/24"]) }),
        ("picky", Pool { selector: selecting("app", "db"), ..pool(&["10.2.0.0/24"]) }),
        ("clash", Pool { created: 5, ..pool(&["10.0.0.128-10.0.1.200"]) }),
        ("edges", Pool { allow_first_last: false, ..pool(&["10.3.0.0/24"]) }),
    ]);
    world.services.insert(name("owner"), asking("10.0.0.7"));
    world.gateways.insert(ip("10.0.0.254"));
    world.own_addresses.insert(ip("10.0.0.253"));
    world.api_endpoints.insert(ip("10.0.0.252"));
    for (ips, reason, part) in [
        ("10.9.0.1", "outside_pools", "in no LoadBalancerIPPool"),
        ("10.1.0.1", "pool_disabled", "pool off"),
        ("10.2.0.1", "pool_selector_mismatch", "pool picky"),
        ("10.0.1.1", "pool_conflict", "pool lan"),
        ("10.3.0.0", "reserved_address", "pool edges"),
        ("10.0.0.7", "already_allocated", "Service shop/owner"),
        ("192.0.2.1", "forbidden_address", "Node n1"),
        ("10.0.0.254", "forbidden_address", "default gateway"),
        ("10.0.0.253", "forbidden_address", "Node n1"),
        ("10.0.0.252", "forbidden_address", "API server"),
        ("10.0.0", "malformed_request", "announcer.dev/ips"),
        ("fd00::1", "family_unsupported", "IPv4"),
    ] {
        let (told, message) = refusal(&world, ips);
        assert!(told == reason && message.contains(part), "{ips}: {told}: {message}");
    }
}

#[test]
fn a_service_that_asks_for_nothing_is_told_why_no_pool_gives() {
    let with = |pools: Vec<(&str, Pool)>| {
        let mut world = world(pools);
        world.services.insert(name("web"), service());
        settle(&mut world);
        told(&world, "web").0
    };
    let sample = || pool(&["10.0.0.0/30"]);
    assert_eq!(with(vec![]), "no_pool");
    assert_eq!(with(vec![("p", Pool { selector: selecting("app", "db"), ..sample() })]), "pool_selector_mismatch");
    assert_eq!(with(vec![("p", Pool { auto_assign: false, ..sample() })]), "no_auto_assign");
    assert_eq!(with(vec![("p", Pool { disabled: true, ..sample() })]), "pool_disabled");
    assert_eq!(with(vec![("p", Pool { errors: vec!["spec.blocks[1].cidr: x".into()], ..sample() })]), "pool_invalid");
    assert_eq!(with(vec![("p", pool(&["fd00::/120"]))]), "no_pool");
}

#[test]
fn one_of_several_requested_addresses_is_given_while_the_other_is_refused() {
    let mut world = world([("lan", pool(&["10.0.0.0/24"]))]);
    world.services.insert(name("web"), asking("10.0.0.5,10.9.0.5"));
    settle(&mut world);
    assert_eq!(shown(&world, "web"), ["10.0.0.5"]);
    let (reason, message) = told(&world, "web");
    assert_eq!(reason, "outside_pools");
    assert!(message.starts_with("10.0.0.5 assigned, but 10.9.0.5 is in no"), "{message}");
}

#[test]
fn two_services_that_swap_their_requests_swap_their_addresses() {
    let mut world = world([("lan", pool(&["10.0.0.0/24"]))]);
    world.services.insert(name("a"), asking("10.0.0.1"));
    world.services.insert(name("b"), asking("10.0.0.2"));
    settle(&mut world);
    for (service, ips) in [("a", "10.0.0.2"), ("b", "10.0.0.1")] {
        let annotations = &mut world.services.get_mut(&name(service)).unwrap().annotations;
        annotations.insert("announcer.dev/ips".into(), ips.into());
    }
    let plan = settle(&mut world);
    assert!(matches!(&plan.releases[0].writes[0], Write::SetService { status, .. } if status.addresses.is_empty()));
    assert_eq!((shown(&world, "a"), shown(&world, "b")), (vec!["10.0.0.2".to_owned()], vec!["10.0.0.1".to_owned()]));
}

#[test]
fn a_request_that_cannot_be_read_takes_nothing_away() {
    let mut world = world([("lan", pool(&["10.0.0.0/24"]))]);
    world.services.insert(name("web"), asking("10.0.0.5"));
    settle(&mut world);
    let web = world.services.get_mut(&name("web")).unwrap();
    web.annotations.insert("announcer.dev/ips".into(), "10.0.0.5;10.0.0.6".into());
    settle(&mut world);
    assert_eq!(
        (shown(&world, "web"), told(&world, "web").0),
        (vec!["10.0.0.5".to_owned()], "malformed_request".to_owned())
    );
}

#[test]
fn closing_a_pool_in_any_way_leaves_what_it_gave() {
    let mut world = world([("lan", pool(&["10.0.0.8/29"]))]);
    world.services.insert(name("web"), service());
    settle(&mut world);
    let lan = world.pools.get_mut("lan").unwrap();
    (lan.disabled, lan.allow_first_last, lan.auto_assign, lan.priority) = (true, false, false, 7);
    world.pools.insert("older".into(), Pool { created: -5, ..pool(&["10.0.0.0/28"]) });
    let plan = settle(&mut world);
    assert!(plan.releases.is_empty() && plan.grants.is_empty());
    assert_eq!(shown(&world, "web"), ["10.0.0.8"]);
}

#[test]
fn a_pool_that_shrinks_moves_only_who_stood_outside() {
    let mut world = world([("lan", pool(&["10.0.0.1-10.0.0.2"]))]);
    world.services.insert(name("a"), service());
    world.services.insert(name("b"), Service { created: 1, ..service() });
    settle(&mut world);
    world.pools.insert("lan".into(), pool(&["10.0.0.2-10.0.0.9"]));
    let plan = settle(&mut world);
    assert_eq!(shown(&world, "a"), ["10.0.0.3"]);
    assert_eq!(shown(&world, "b"), ["10.0.0.2"]);
    assert_eq!(notes(&plan)[..2], [("AddressReleased", Severity::Warning), ("AddressAssigned", Severity::Normal)]);
    assert!(plan.releases[0].notices[0].note.contains("no pool holds it any more"));
}

#[test]
fn a_pool_that_becomes_unreadable_takes_nothing_away() {
    let mut world = world([("lan", pool(&["10.0.0.8/29"]))]);
    world.services.insert(name("web"), service());
    settle(&mut world);
    world.pools.insert("lan".into(), Pool { errors: vec!["spec cannot be read".into()], ..pool(&[]) });
    let plan = settle(&mut world);
    assert!(plan.releases.is_empty() && plan.grants.is_empty());
    assert_eq!(shown(&world, "web"), ["10.0.0.8"]);
}

#[test]
fn an_address_that_a_node_takes_is_given_up() {
    let mut world = world([("lan", pool(&["10.0.0.0/24"]))]);
    world.services.insert(name("web"), service());
    settle(&mut world);
    world.nodes.insert("n2".into(), Node { addresses: vec![ip("10.0.0.0")], ..Node::default() });
    settle(&mut world);
    assert_eq!(shown(&world, "web"), ["10.0.0.1"]);
}

#[test]
fn an_address_that_kube_proxy_puts_on_a_local_link_is_kept() {
    let mut world = world([("lan", pool(&["10.0.0.0/24"]))]);
    world.services.insert(name("web"), service());
    settle(&mut world);
    world.own_addresses.insert(ip("10.0.0.0"));
    assert!(settle(&mut world).releases.is_empty());
}

#[test]
fn families_are_answered_as_this_version_can() {
    let with = |families: &[Family], family_policy| {
        let mut world = world([("lan", pool(&["10.0.0.0/24", "fd00::/120"]))]);
        world.services.insert(name("web"), Service { families: families.to_vec(), family_policy, ..service() });
        settle(&mut world);
        (shown(&world, "web").len(), told(&world, "web").0)
    };
    let both = [Family::V4, Family::V6];
    assert_eq!(with(&both[..1], FamilyPolicy::SingleStack), (1, "satisfied".to_owned()));
    assert_eq!(with(&both[1..], FamilyPolicy::SingleStack), (0, "family_unsupported".to_owned()));
    assert_eq!(with(&both, FamilyPolicy::PreferDualStack), (1, "satisfied".to_owned()));
    assert_eq!(with(&both, FamilyPolicy::RequireDualStack), (1, "family_unsupported".to_owned()));
}

#[test]
fn of_two_services_that_show_one_address_the_one_with_the_claim_keeps_it() {
    let mut world = world([("lan", pool(&["10.0.0.0/24"]))]);
    world.services.insert(name("older"), having(service(), &["10.0.0.5"]));
    world.services.insert(name("claimant"), having(Service { created: 1, ..service() }, &["10.0.0.5"]));
    world.claims.insert(ip("10.0.0.5"), claim(&["claimant"]));
    settle(&mut world);
    assert_eq!(
        (shown(&world, "claimant"), shown(&world, "older")),
        (vec!["10.0.0.5".to_owned()], vec!["10.0.0.0".to_owned()])
    );
}

#[test]
fn a_claim_without_a_status_is_completed_and_one_without_a_service_is_freed() {
    let mut world = world([("lan", pool(&["10.0.0.0/24"]))]);
    world.services.insert(name("web"), service());
    world.claims.insert(ip("10.0.0.77"), claim(&["web"]));
    world.claims.insert(ip("10.0.0.78"), claim(&["gone"]));
    world.claims.insert(ip("10.0.0.79"), claim(&[]));
    settle(&mut world);
    assert_eq!(shown(&world, "web"), ["10.0.0.77"]);
    assert_eq!(world.claims.keys().copied().collect::<Vec<_>>(), [ip("10.0.0.77")]);
}

#[test]
fn priority_then_age_then_name_says_which_pool_gives_first() {
    let first_of = |pools: Vec<(&str, Pool)>| {
        let mut world = world(pools);
        world.services.insert(name("web"), service());
        settle(&mut world);
        shown(&world, "web")
    };
    let (a, b) = (pool(&["10.0.0.0/30"]), pool(&["10.1.0.0/30"]));
    assert_eq!(first_of(vec![("a", a.clone()), ("b", b.clone())]), ["10.0.0.0"]);
    assert_eq!(first_of(vec![("a", Pool { created: 1, ..a.clone() }), ("b", b.clone())]), ["10.1.0.0"]);
    assert_eq!(first_of(vec![("a", a), ("b", Pool { priority: 1, created: 1, ..b })]), ["10.1.0.0"]);
}

#[test]
fn a_pool_selects_by_namespace_and_name_which_labels_cannot_imitate() {
    let picky = Pool { selector: selecting("io.kubernetes.service.name", "web"), ..pool(&["10.0.0.0/24"]) };
    let mut world = world([("lan", picky)]);
    let mut imitator = service();
    imitator.labels.insert("io.kubernetes.service.name".into(), "web".into());
    world.services.insert(name("imitator"), imitator);
    world.services.insert(name("web"), service());
    settle(&mut world);
    assert_eq!(shown(&world, "web"), ["10.0.0.0"]);
    assert_eq!(told(&world, "imitator").0, "pool_selector_mismatch");
}

#[test]
fn a_pool_counts_what_it_has_and_tells_of_an_overlap() {
    let mut world = world([
        ("lan", Pool { allow_first_last: false, ..pool(&["10.0.0.0/29", "fd00::/64"]) }),
        ("late", Pool { created: 1, ..pool(&["10.0.0.4-10.0.0.20"]) }),
    ]);
    world.services.insert(name("web"), service());
    world.gateways.insert(ip("10.0.0.2"));
    let plan = settle(&mut world);
    let counts = world.pools["lan"].counts.unwrap();
    assert_eq!((counts.v4, counts.v6), ([6, 4, 1], [i64::MAX as u128, i64::MAX as u128, 0]));
    let conflicts = |pool: &str| {
        let conditions = &world.pools[pool].conditions;
        conditions.iter().any(|condition| condition.kind == "announcer.dev/PoolConflict" && condition.status)
    };
    assert!(!conflicts("lan") && conflicts("late"));
    assert!(notes(&plan).contains(&("PoolConflict", Severity::Warning)));
}

#[test]
fn the_time_of_a_transition_is_kept_while_the_condition_says_the_same() {
    let mut world = world([("lan", pool(&["10.0.0.8/29"]))]);
    let old = Condition {
        kind: names::CONDITION_IPAM.into(),
        status: true,
        reason: "satisfied".into(),
        message: "otherwise worded".into(),
        observed_generation: None,
        last_transition: Some(1_234),
    };
    let conditions = vec![old];
    world.services.insert(name("web"), Service { conditions, ..having(service(), &["10.0.0.9"]) });
    settle(&mut world);
    assert_eq!(world.services[&name("web")].conditions[0].last_transition, Some(1_234));
    world.pools.clear();
    settle(&mut world);
    assert_eq!(world.services[&name("web")].conditions[0].last_transition, None);
}

#[test]
fn ten_thousand_services_are_planned_in_order_and_without_quadratic_work() {
    let mut world = world([("lan", pool(&["10.0.0.0/16"])), ("small", pool(&["10.9.0.0/24"]))]);
    world.pools.get_mut("small").unwrap().selector = selecting("app", "small");
    for i in 0..10_000 {
        let mut one = Service { created: 10_000 - i, uid: i.to_string(), ..service() };
        one.labels.insert("app".into(), if i % 5 == 0 { "small" } else { "big" }.into());
        world.services.insert(name(&format!("s{i}")), one);
    }
    world.pools.get_mut("lan").unwrap().selector = selecting("app", "big");
    let started = Instant::now();
    let first = settle(&mut world);
    assert_eq!(first.allocations.len(), 8_000 + 256);
    assert_eq!(shown(&world, "s9995"), ["10.9.0.0"]);
    assert_eq!(told(&world, "s0").0, "out_of_ips");
    assert!(plan(&world, &SETTINGS).is_done());
    // The bound only tells linear from quadratic.
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
