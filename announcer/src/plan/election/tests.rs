use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    fixture::{at, become_node, claim, node, service, vip, world},
    *,
};
use crate::{
    api::names,
    world::{
        message::{Lease, Message, Update},
        model::{Node, Policy, Selector},
    },
};

const NOW: u64 = 1000;

fn plan_at(world: &World, seconds: u64) -> Election {
    plan(world, at(seconds), &ElectionSettings::default())
}

fn decision(world: &World, n: usize) -> VipDecision {
    plan_at(world, NOW).vips[&vip(n)].clone()
}

/// Who takes a VIP over, over all living nodes, which know the same.
fn takers(world: &World, nodes: usize) -> BTreeMap<IpAddr, Vec<String>> {
    let mut takers: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    for n in living(world, nodes) {
        let mut theirs = world.clone();
        become_node(&mut theirs, n);
        for (ip, decision) in plan_at(&theirs, NOW).vips {
            if decision.take_over {
                takers.entry(ip).or_default().push(node(n));
            }
        }
    }
    takers
}

fn living(world: &World, nodes: usize) -> Vec<usize> {
    (0..nodes).filter(|n| world.heartbeats[&node(*n)].observed == at(NOW)).collect()
}

fn kill(world: &mut World, n: usize) {
    world.heartbeats.get_mut(&node(n)).unwrap().observed = at(NOW - 26);
}

#[test]
fn a_vip_that_nobody_led_is_taken_by_the_first_in_rank_with_term_one() {
    let mut world = world(3, &[None], at(NOW));
    let takers = takers(&world, 3);
    let taker = takers[&vip(0)].first().unwrap().clone();
    assert_eq!(takers[&vip(0)].len(), 1);
    become_node(&mut world, taker[1..].parse().unwrap());
    let decision = decision(&world, 0);
    assert_eq!((decision.term, decision.reason, decision.leader), (1, Reason::Vacant, Some(taker)));
    assert_eq!(decision.announce, BTreeSet::from(["eth0".to_owned()]));
}

#[test]
fn the_holder_stays_and_others_are_silent() {
    let world = world(3, &[Some(0), Some(1)], at(NOW));
    let (mine, theirs) = (decision(&world, 0), decision(&world, 1));
    assert_eq!((mine.reason, mine.take_over, mine.announce.len()), (Reason::HolderStays, false, 1));
    assert_eq!((theirs.leader, theirs.announce.len()), (Some(node(1)), 0));
}

#[test]
fn a_dead_holder_is_replaced_once_its_beats_have_stopped_for_25_seconds() {
    let mut world = world(2, &[Some(1)], at(NOW));
    world.heartbeats.get_mut(&node(1)).unwrap().observed = at(NOW - 25);
    assert!(!decision(&world, 0).take_over);
    let check = plan_at(&world, NOW).next_check.unwrap();
    let decision = plan(&world, check, &ElectionSettings::default()).vips[&vip(0)].clone();
    assert_eq!((decision.take_over, decision.term, decision.reason), (true, 2, Reason::HolderDead));
}

#[test]
fn the_next_check_is_when_the_first_node_would_be_dead_though_the_own_view_is_shorter() {
    let world = world(2, &[Some(1)], at(NOW));
    let check = plan_at(&world, NOW).next_check.unwrap();
    assert_eq!(check.since(at(NOW)).as_millis(), 25_001);
}

#[test]
fn a_node_that_does_not_see_its_own_beats_takes_nobody_for_dead_and_keeps_what_it_leads() {
    let mut world = world(3, &[Some(0), Some(1)], at(NOW));
    for beat in world.heartbeats.values_mut() {
        beat.observed = at(NOW - 500);
    }
    let election = plan_at(&world, NOW);
    assert_eq!(election.alive.len(), 3);
    assert!(election.vips.values().all(|decision| !decision.take_over));
    assert_eq!(election.vips[&vip(0)].announce.len(), 1);
    assert_eq!(election.next_check, None);
}

#[test]
fn a_holder_yields_at_once_when_the_lease_names_another() {
    let mut world = world(2, &[Some(0)], at(NOW));
    world.claims.insert(vip(0), claim(0, Some(1), 7));
    let decision = decision(&world, 0);
    assert_eq!((decision.leader, decision.announce.len(), decision.term), (Some(node(1)), 0, 7));
}

#[test]
fn a_cordon_and_a_node_that_is_not_ready_move_nothing() {
    let mut world = world(2, &[Some(0)], at(NOW));
    let taints = ["not-ready", "unreachable"].map(|t| (format!("node.kubernetes.io/{t}"), "NoExecute".to_owned()));
    let cordon = ("node.kubernetes.io/unschedulable".to_owned(), "NoSchedule".to_owned());
    let taints = taints.into_iter().chain([cordon]).collect();
    world.nodes.insert(node(0), Node { unschedulable: true, taints, ..Node::default() });
    assert_eq!(decision(&world, 0).reason, Reason::HolderStays);
}

#[test]
fn a_node_that_is_kept_out_hands_over_and_answers_until_the_other_leads() {
    let exclude = "node.kubernetes.io/exclude-from-external-load-balancers".to_owned();
    let taint = |key: &str, effect: &str| Node { taints: vec![(key.to_owned(), effect.to_owned())], ..Node::default() };
    let kept_out = [
        Node { labels: BTreeMap::from([(exclude, String::new())]), ..Node::default() },
        Node { network_unavailable: true, ..Node::default() },
        Node { deleting: true, ..Node::default() },
        taint("node.kubernetes.io/out-of-service", "NoSchedule"),
        taint("maintenance", "NoExecute"),
    ];
    for object in kept_out {
        let mut world = world(2, &[Some(0)], at(NOW));
        world.nodes.insert(node(0), object.clone());
        let old = decision(&world, 0);
        assert_eq!((old.reason, old.take_over, old.announce.len()), (Reason::HolderUnfit, false, 1), "{object:?}");
        assert_eq!(takers(&world, 2), BTreeMap::from([(vip(0), vec![node(1)])]));
    }
}

#[test]
fn without_a_successor_a_leaving_node_goes_on_and_an_excluded_one_gives_up() {
    let mut world = world(1, &[Some(0)], at(NOW));
    world.heartbeats.get_mut(&node(0)).unwrap().facts.leaving = true;
    let leaving = decision(&world, 0);
    assert_eq!((leaving.leader, leaving.announce.len(), leaving.release), (Some(node(0)), 1, false));
    world.nodes.insert(node(0), Node { network_unavailable: true, ..Node::default() });
    let excluded = decision(&world, 0);
    assert_eq!((excluded.leader, excluded.announce.len(), excluded.release), (None, 0, true));
}

#[test]
fn without_a_policy_or_a_service_nothing_is_announced_and_the_record_is_cleared() {
    let mut world = world(1, &[Some(0), Some(0)], at(NOW));
    world.services.remove(&service(0));
    let orphan = decision(&world, 0);
    assert_eq!((orphan.reason, orphan.release, orphan.leader), (Reason::NoService, true, None));
    world.policies.clear();
    let unselected = decision(&world, 1);
    assert_eq!((unselected.reason, unselected.release, unselected.announce.len()), (Reason::NoPolicy, true, 0));
}

#[test]
fn policies_choose_services_nodes_and_links_together() {
    let mut world = world(3, &[None, None], at(NOW));
    let labelled = |key: &str| Selector {
        match_labels: BTreeMap::from([(key.to_owned(), "yes".to_owned())]),
        expressions: Vec::new(),
    };
    world.policies.clear();
    world.services.get_mut(&service(0)).unwrap().labels.insert("edge".to_owned(), "yes".to_owned());
    world.nodes.get_mut(&node(2)).unwrap().labels.insert("edge".to_owned(), "yes".to_owned());
    let policy = Policy {
        service_selector: labelled("edge"),
        node_selector: labelled("edge"),
        interfaces: vec!["eth[0-9]".to_owned(), "broken(".to_owned()],
        load_balancer_ips: true,
        ..Policy::default()
    };
    world.policies.insert("edge".to_owned(), policy.clone());
    assert_eq!(takers(&world, 3), BTreeMap::from([(vip(0), vec![node(2)])]));
    assert_eq!(decision(&world, 1).reason, Reason::NoPolicy);
    world.policies.insert("edge".to_owned(), Policy { interfaces: vec!["broken(".to_owned()], ..policy.clone() });
    assert_eq!(decision(&world, 0).reason, Reason::NoCandidate);
    world.policies.insert("edge".to_owned(), Policy { load_balancer_ips: false, ..policy });
    assert_eq!(decision(&world, 0).reason, Reason::NoPolicy);
}

#[test]
fn services_can_be_chosen_by_namespace_and_name() {
    let mut world = world(1, &[None, None], at(NOW));
    let labels = BTreeMap::from([("io.kubernetes.service.name".to_owned(), "s1".to_owned())]);
    world.policies.get_mut("all").unwrap().service_selector.match_labels = labels;
    // Its own label of that name gains nothing.
    let forged = ("io.kubernetes.service.name".to_owned(), "s1".to_owned());
    world.services.get_mut(&service(0)).unwrap().labels.extend([forged]);
    assert_eq!((decision(&world, 0).take_over, decision(&world, 1).take_over), (false, true));
}

#[test]
fn a_vip_is_led_in_its_subnet_and_anywhere_where_it_has_none() {
    let mut world = world(2, &[None], at(NOW));
    let elsewhere = vec!["198.51.100.1/24".parse().unwrap(), "192.0.2.0/32".parse().unwrap()];
    world.heartbeats.get_mut(&node(0)).unwrap().facts.links[0].addresses = elsewhere.clone();
    assert_eq!(takers(&world, 2), BTreeMap::from([(vip(0), vec![node(1)])]));
    world.heartbeats.get_mut(&node(1)).unwrap().facts.links[0].addresses = elsewhere;
    assert_eq!(takers(&world, 2)[&vip(0)].len(), 1);
}

#[test]
fn a_link_without_carrier_leads_nothing_and_its_own_node_knows_first() {
    let mut world = world(2, &[Some(0)], at(NOW));
    world.links.get_mut("eth0").unwrap().up = false;
    let own = decision(&world, 0);
    assert_eq!((own.take_over, own.announce.len()), (false, 0));
    world.heartbeats.get_mut(&node(0)).unwrap().facts.links[0].up = false;
    assert_eq!(takers(&world, 2), BTreeMap::from([(vip(0), vec![node(1)])]));
}

#[test]
fn an_ipv6_claim_is_not_announced() {
    let mut world = world(1, &[], at(NOW));
    world.claims.insert("fd00::1".parse().unwrap(), claim(0, None, 0));
    let decision = plan_at(&world, NOW).vips.into_values().next().unwrap();
    assert_eq!((decision.reason, decision.leader), (Reason::FamilyUnsupported, None));
}

#[test]
fn one_living_node_allocates_and_is_replaced_when_it_dies() {
    let nodes = 4;
    let mut known = world(nodes, &[], at(NOW));
    let candidates = |world: &World| -> Vec<usize> {
        let takes = |n: &usize| {
            let mut theirs = world.clone();
            become_node(&mut theirs, *n);
            plan_at(&theirs, NOW).take_allocator.is_some()
        };
        (0..nodes).filter(takes).collect()
    };
    let first = candidates(&known);
    assert_eq!(first.len(), 1);
    known.allocator =
        Some(crate::world::model::AllocatorLease { holder: Some(node(first[0])), term: 4, ..Default::default() });
    assert_eq!(candidates(&known), Vec::<usize>::new());
    become_node(&mut known, first[0]);
    assert!(plan_at(&known, NOW).allocator);
    become_node(&mut known, (first[0] + 1) % nodes);
    kill(&mut known, first[0]);
    let next = candidates(&known);
    assert_eq!(next.len(), 1);
    become_node(&mut known, next[0]);
    assert_eq!(plan_at(&known, NOW).take_allocator, Some(5));
}

/// Up to 5 nodes of which some are dead or out, and VIPs with any holder.
fn worlds() -> impl Strategy<Value = (usize, World)> {
    (1..6_usize, proptest::collection::vec(proptest::option::of(0..6_usize), 0..20), any::<u8>(), any::<u8>()).prop_map(
        |(nodes, holders, dead, out)| {
            let mut world = world(nodes, &holders, at(NOW));
            for n in 0..nodes {
                // One that is dead does not plan: node 0 stays, as somebody has to look.
                if n > 0 && dead >> n & 1 == 1 {
                    kill(&mut world, n);
                }
                if out >> n & 1 == 1 {
                    world.nodes.get_mut(&node(n)).unwrap().network_unavailable = true;
                }
            }
            (nodes, world)
        },
    )
}

/// The World after every node has done what it decided.
fn executed(world: &World, nodes: usize) -> World {
    let mut after = world.clone();
    for (ip, takers) in takers(world, nodes) {
        let claim = after.claims.get_mut(&ip).unwrap();
        claim.holder = takers.first().cloned();
        claim.term += 1;
    }
    after
}

proptest! {
    #[test]
    fn nodes_that_know_the_same_agree_and_at_most_one_takes_each_vip((nodes, mut world) in worlds()) {
        let mut leading: BTreeMap<IpAddr, BTreeSet<Option<String>>> = BTreeMap::new();
        let mut taking: BTreeMap<IpAddr, usize> = BTreeMap::new();
        let mut reasons: BTreeSet<Vec<Reason>> = BTreeSet::new();
        for n in living(&world, nodes) {
            become_node(&mut world, n);
            let election = plan_at(&world, NOW);
            reasons.insert(election.vips.values().map(|decision| decision.reason).collect());
            for (ip, decision) in &election.vips {
                *taking.entry(*ip).or_default() += usize::from(decision.take_over);
                if !decision.take_over {
                    leading.entry(*ip).or_default().insert(decision.leader.clone());
                }
            }
        }
        prop_assert_eq!(reasons.len(), 1);
        prop_assert!(taking.values().all(|n| *n <= 1));
        prop_assert!(leading.values().all(|leaders| leaders.len() == 1), "{:?}", leading);
    }

    #[test]
    fn no_node_leads_more_than_its_share_and_doing_so_ends((nodes, world) in worlds()) {
        let after = executed(&world, nodes);
        prop_assert_eq!(takers(&after, nodes), BTreeMap::new());
        let fit = (0..nodes).filter(|n| fitness::may_lead(&world, &node(*n), at(NOW)).is_ok()).count();
        let bound = (after.claims.len() * 5).div_ceil(4 * fit.max(1));
        for n in 0..nodes {
            let led = after.claims.values().filter(|claim| claim.holder == Some(node(n))).count();
            let may = fitness::may_lead(&world, &node(n), at(NOW)).is_ok();
            prop_assert!(!may || led <= bound, "{} leads {} of {}", n, led, after.claims.len());
        }
    }

    #[test]
    fn only_the_vips_of_a_lost_node_move((nodes, world) in worlds(), lost in 1..5_usize) {
        let before = executed(&world, nodes);
        let lost = lost.min(nodes - 1);
        let mut after = before.clone();
        if lost > 0 {
            kill(&mut after, lost);
        }
        for ip in takers(&after, nodes).keys() {
            prop_assert_eq!(before.claims[ip].holder.clone(), Some(node(lost)));
        }
    }

    #[test]
    fn the_order_of_events_does_not_matter((_, world) in worlds(), order in any::<u64>()) {
        let mut messages: Vec<Message> = Vec::new();
        messages.extend(world.services.iter().map(|(k, v)| Message::Services(Update::Set(k.clone(), v.clone()))));
        messages.extend(world.nodes.iter().map(|(k, v)| Message::Nodes(Update::Set(k.clone(), v.clone()))));
        messages.extend(world.policies.iter().map(|(k, v)| Message::Policies(Update::Set(k.clone(), v.clone()))));
        messages.extend(world.claims.iter().map(|(ip, claim)| {
            Message::Leases(Update::Set(names::vip_lease(*ip), Lease::Vip { ip: *ip, claim: claim.clone() }))
        }));
        messages.extend(world.heartbeats.iter().map(|(node, beat)| {
            let (node, facts) = (node.clone(), beat.facts.clone());
            let lease = Lease::Node { node, facts, resource_version: String::new(), beat: beat.beat.clone() };
            Message::Leases(Update::Set(String::new(), lease))
        }));
        let folded = |messages: &[Message]| {
            let mut folded = World { links: world.links.clone(), ..World::new(&world.me) };
            for message in messages {
                folded.take(message.clone(), at(NOW));
            }
            plan_at(&folded, NOW)
        };
        let straight = folded(&messages);
        messages.sort_by_key(|message| {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hasher = DefaultHasher::new();
            (order, format!("{message:?}")).hash(&mut hasher);
            hasher.finish()
        });
        prop_assert_eq!(straight, folded(&messages));
    }
}
