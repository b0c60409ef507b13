use std::time::Duration;

use super::*;
use crate::{
    api::names,
    world::{
        beats::STALE_AFTER,
        model::{AllocatorLease, AttachMode, Claim, Link, Mac, Protocol, Service},
    },
};

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn name(name: &str) -> ObjectName {
    ObjectName { namespace: "shop".to_owned(), name: name.to_owned() }
}

fn endpoint(last: u8, ready: bool) -> Endpoint {
    Endpoint {
        port_name: "http".to_owned(),
        protocol: Protocol::Tcp,
        ip: IpAddr::from([10, 0, 0, last]),
        port: 80,
        node: Some("n1".to_owned()),
        ready,
        serving: ready,
        terminating: false,
    }
}

fn slice(service: &str, endpoints: &[Endpoint]) -> Slice {
    Slice { service: name(service), endpoints: endpoints.to_vec() }
}

fn set(world: &mut World, slice_name: &str, slice: Slice) -> Change {
    world.take(Message::Slices(Update::Set(name(slice_name), slice)), at(0))
}

fn beat(world: &mut World, node: &str, beat: &str, now: Moment) -> Change {
    let (facts, resource_version) = (NodeFacts::default(), String::new());
    let lease = Lease::Node { node: node.to_owned(), beat: beat.to_owned(), facts, resource_version };
    world.take(Message::Leases(Update::Set(names::node_lease(node), lease)), now)
}

#[test]
fn a_services_slices_are_one_list_without_duplicates_whatever_their_order() {
    let moving = Endpoint { terminating: true, ..endpoint(1, false) };
    let slices = [
        ("a", slice("web", &[endpoint(2, true), endpoint(1, true)])),
        ("b", slice("web", &[moving, endpoint(3, true)])),
    ];
    let mut forward = World::new("n1");
    let mut backward = World::new("n1");
    for (name, slice) in slices.clone() {
        set(&mut forward, name, slice);
    }
    for (name, slice) in slices.into_iter().rev() {
        set(&mut backward, name, slice);
    }
    assert_eq!(forward.endpoints, backward.endpoints);
    assert_eq!(forward.endpoints[&name("web")], [endpoint(1, true), endpoint(2, true), endpoint(3, true)]);
}

#[test]
fn a_loss_of_an_endpoint_is_told_apart_from_a_gain() {
    let mut world = World::new("n1");
    assert!(!set(&mut world, "a", slice("web", &[endpoint(1, true)])).loss);
    let gain = set(&mut world, "a", slice("web", &[endpoint(1, true), endpoint(2, false)]));
    assert!(gain.endpoints && !gain.loss);
    let better = set(&mut world, "a", slice("web", &[endpoint(1, true), endpoint(2, true)]));
    assert!(better.endpoints && !better.loss);
    assert!(set(&mut world, "a", slice("web", &[endpoint(1, true), endpoint(2, false)])).loss);
    assert!(set(&mut world, "a", slice("web", &[endpoint(1, true)])).endpoints);
    assert_eq!(set(&mut world, "a", slice("web", &[endpoint(1, true)])), Change::default());
    let gone = world.take(Message::Slices(Update::Gone(name("a"))), at(0));
    assert!(gone.loss && world.endpoints.is_empty() && world.sources.slices.is_empty());
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_old_one() {
    let mut world = World::new("n1");
    set(&mut world, "a", slice("web", &[endpoint(1, true)]));
    set(&mut world, "a", slice("api", &[endpoint(1, true)]));
    assert_eq!(world.endpoints.keys().collect::<Vec<_>>(), [&name("api")]);
}

#[test]
fn the_world_is_complete_when_every_first_list_is_in_and_stays_so() {
    let mut world = World::new("n1");
    let lists = [
        Message::Services(Update::All(Vec::new())),
        Message::Slices(Update::All(Vec::new())),
        Message::Nodes(Update::All(Vec::new())),
        Message::Pools(Update::All(Vec::new())),
        Message::Policies(Update::All(Vec::new())),
        Message::Leases(Update::All(Vec::new())),
        Message::Cluster("uid".to_owned()),
    ];
    for list in lists {
        assert!(!world.take(list, at(0)).completed && !world.is_complete());
    }
    assert!(world.take(Message::Links(LinkTable::default()), at(0)).completed && world.is_complete());
    let trouble = world.take(Message::Trouble(Kind::Pools, Some("away".to_owned())), at(0));
    assert!(trouble.troubles && !trouble.any() && world.is_complete());
}

#[test]
fn a_new_list_takes_away_what_is_not_in_it() {
    let mut world = World::new("n1");
    let service = |n: &str| (name(n), Service::default());
    world.take(Message::Services(Update::All(vec![service("a"), service("b")])), at(0));
    let change = world.take(Message::Services(Update::All(vec![service("b")])), at(0));
    assert!(change.services && change.loss && world.services.len() == 1);
    assert_eq!(world.take(Message::Services(Update::All(vec![service("b")])), at(0)), Change::default());
}

#[test]
fn leases_go_by_name_and_by_a_new_list() {
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    let vip = |world: &mut World| {
        let lease = Lease::Vip { ip, claim: Claim::default() };
        world.take(Message::Leases(Update::Set(names::vip_lease(ip), lease)), at(0))
    };
    let mut world = World::new("n1");
    assert!(vip(&mut world).claims);
    beat(&mut world, "n1", "1", at(0));
    let allocator = Lease::Allocator(AllocatorLease::default());
    world.take(Message::Leases(Update::Set(names::ALLOCATOR_LEASE.to_owned(), allocator)), at(0));
    assert!(world.take(Message::Leases(Update::Gone(names::vip_lease(ip))), at(0)).claims && world.claims.is_empty());
    let own = world.take(Message::Leases(Update::Gone("node-n1".to_owned())), at(0));
    assert!(own.own_heartbeat_lost && own.heartbeats);
    assert!(world.take(Message::Leases(Update::Gone(names::ALLOCATOR_LEASE.to_owned())), at(0)).allocator);
    vip(&mut world);
    beat(&mut world, "n2", "1", at(0));
    let change = world.take(Message::Leases(Update::All(Vec::new())), at(0));
    assert!(change.claims && change.heartbeats && change.loss && !change.own_heartbeat_lost);
    assert_eq!(world.take(Message::Leases(Update::Gone("unknown".to_owned())), at(0)), Change::default());
}

#[test]
fn a_mere_beat_is_no_change_but_a_return_from_the_dead_is() {
    let mut world = World::new("n1");
    assert!(beat(&mut world, "n2", "1", at(0)).heartbeats);
    assert!(!beat(&mut world, "n2", "2", at(10)).heartbeats);
    assert_eq!(world.heartbeats["n2"].observed, at(10));
    // The same beat again (a new list) proves nothing.
    assert!(!beat(&mut world, "n2", "2", at(30)).heartbeats);
    assert!(!world.is_alive("n2", at(36)));
    assert!(beat(&mut world, "n2", "3", at(36)).heartbeats && world.is_alive("n2", at(36)));
}

#[test]
fn after_a_gap_in_its_own_view_the_living_get_their_time_again_and_the_dead_stay_dead() {
    let mut world = World::new("n1");
    for node in ["n1", "n2", "n3"] {
        beat(&mut world, node, "1", at(0));
    }
    for now in [10, 20, 30] {
        beat(&mut world, "n1", &format!("{now}"), at(now));
        beat(&mut world, "n2", &format!("{now}"), at(now));
    }
    assert!(!world.is_alive("n3", at(30)) && world.is_alive("n2", at(30)));
    // Nothing is heard for an hour: nobody else dies.
    assert!(world.is_alive("n2", at(3630)) && !world.is_alive("n3", at(3630)));
    beat(&mut world, "n1", "back", at(3630));
    assert!(world.is_alive("n2", at(3630)) && !world.is_alive("n3", at(3630)));
    beat(&mut world, "n1", "and again", at(3640));
    beat(&mut world, "n1", "and again", at(3650));
    beat(&mut world, "n1", "once more", at(3655));
    assert!(world.is_alive("n2", Moment(at(3630).0 + STALE_AFTER)));
    assert!(!world.is_alive("n2", at(3656)));
}

#[test]
fn a_link_keeps_its_programs_only_as_the_same_device() {
    let link = |index: u32| Link {
        name: "eth0".to_owned(),
        index,
        mac: Mac::default(),
        mtu: 1500,
        up: true,
        addresses: Vec::new(),
        attached: None,
    };
    let table =
        |index: u32| LinkTable { links: BTreeMap::from([("eth0".to_owned(), link(index))]), ..Default::default() };
    let mut world = World::new("n1");
    assert!(world.take(Message::Links(table(2)), at(0)).links);
    world.links.get_mut("eth0").unwrap().attached = Some(AttachMode::Native);
    assert_eq!(world.take(Message::Links(table(2)), at(0)), Change::default());
    assert_eq!(world.links["eth0"].attached, Some(AttachMode::Native));
    assert!(world.take(Message::Links(table(3)), at(0)).links);
    assert_eq!(world.links["eth0"].attached, None);
    assert!(world.take(Message::Links(LinkTable::default()), at(0)).loss);
}

#[test]
fn the_api_servers_addresses_come_from_kubeconfig_and_service() {
    let kubernetes = ObjectName { namespace: "default".to_owned(), name: "kubernetes".to_owned() };
    let mut world = World::new("n1");
    world.take(Message::ApiServer(BTreeSet::from(["192.0.2.1".parse().unwrap()])), at(0));
    let service = Service { cluster_ips: vec!["10.96.0.1".parse().unwrap()], ..Service::default() };
    assert!(world.take(Message::Services(Update::Set(kubernetes.clone(), service)), at(0)).cluster);
    let slice = Slice { service: kubernetes.clone(), endpoints: vec![endpoint(9, true)] };
    assert!(world.take(Message::Slices(Update::Set(kubernetes, slice)), at(0)).cluster);
    let known: Vec<String> = world.api_endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(known, ["10.0.0.9", "10.96.0.1", "192.0.2.1"]);
}
