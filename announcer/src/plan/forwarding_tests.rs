use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    plan::election::{Reason, VipDecision},
    world::model::{Claim, Heartbeat, LinkFacts},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 25, 150, 222);

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn web() -> ObjectName {
    ObjectName { namespace: "shop".into(), name: "web".into() }
}

/// Nodes n1 to n3 with announcer on 10.25.0.0/16, seen from n1; Service shop/web with the VIP and port 80.
fn cluster() -> (World, Election) {
    let mut world = World::new("n1");
    let link = Link {
        name: "eth0".into(),
        index: 2,
        mac: mac(1),
        mtu: 1_500,
        up: true,
        addresses: vec![net("10.25.0.1/16")],
        attached: None,
    };
    world.own_addresses.insert(link.addresses[0].addr());
    world.links.insert("eth0".into(), link);
    let mut election = Election::default();
    for n in 1..=3_u8 {
        let name = format!("n{n}");
        let facts = NodeFacts {
            ready: true,
            links: vec![LinkFacts {
                name: "lan0".into(),
                mac: mac(n),
                addresses: vec![net(&format!("10.25.0.{n}/16"))],
                up: true,
            }],
            ..NodeFacts::default()
        };
        world.heartbeats.insert(name.clone(), Heartbeat { facts, ..Heartbeat::default() });
        let node = crate::world::model::Node {
            addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 25, 0, n))],
            pod_cidrs: vec![net(&format!("10.244.{n}.0/24"))],
            ..crate::world::model::Node::default()
        };
        world.nodes.insert(name.clone(), node);
        election.alive.insert(name);
    }
    let port = ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: None };
    let service = Service { load_balancer: true, ports: vec![port], ..Service::default() };
    world.services.insert(web(), service);
    claim(&mut world, VIP, [web()]);
    (world, election)
}

fn claim(world: &mut World, vip: Ipv4Addr, services: impl IntoIterator<Item = ObjectName>) {
    let claim = Claim { services: services.into_iter().collect(), term: 4, ..Claim::default() };
    world.claims.insert(IpAddr::V4(vip), claim);
}

fn endpoint(node: &str, ip: &str) -> Endpoint {
    Endpoint {
        port_name: "http".into(),
        protocol: Protocol::Tcp,
        ip: ip.parse().unwrap(),
        port: 8_080,
        node: Some(node.into()),
        ready: true,
        serving: true,
        terminating: false,
    }
}

fn terminating(node: &str, ip: &str) -> Endpoint {
    Endpoint { ready: false, terminating: true, ..endpoint(node, ip) }
}

fn backend(world: &World, election: &Election) -> Backend {
    let frontend = Frontend { vip: VIP, protocol: Protocol::Tcp, port: 80 };
    plan(world, election).services.remove(&frontend).unwrap()
}

fn weights(of: &[(&str, u32)]) -> Weights {
    of.iter().copied().collect()
}

#[test]
fn a_node_weighs_as_many_as_it_has_ready_endpoints() {
    let (mut world, election) = cluster();
    let not_ready = Endpoint { ready: false, ..endpoint("n3", "10.244.3.9") };
    let all = [endpoint("n1", "10.244.1.5"), endpoint("n2", "10.244.2.5"), endpoint("n2", "10.244.2.6"), not_ready];
    world.endpoints.insert(web(), all.to_vec());
    let backend = backend(&world, &election);
    assert_eq!(backend.weights, weights(&[("n1", 1), ("n2", 2)]));
    assert_eq!(backend.local, BTreeMap::from([("10.244.1.5:8080".parse().unwrap(), true)]));
    assert!(!backend.affinity && !backend.kernel_path);
}

#[test]
fn terminating_endpoints_serve_only_when_none_is_ready_anywhere() {
    let (mut world, election) = cluster();
    world.endpoints.insert(web(), vec![terminating("n1", "10.244.1.5"), endpoint("n2", "10.244.2.5")]);
    let with_ready = backend(&world, &election);
    assert_eq!(with_ready.weights, weights(&[("n2", 1)]));
    assert_eq!(with_ready.local.values().collect::<Vec<_>>(), [&false], "present, so that its flows stay");

    world.endpoints.insert(web(), vec![terminating("n1", "10.244.1.5"), terminating("n2", "10.244.2.5")]);
    let without = backend(&world, &election);
    assert_eq!(without.weights, weights(&[("n1", 1), ("n2", 1)]));
    assert_eq!(without.local.values().collect::<Vec<_>>(), [&true]);
}

#[test]
fn a_service_that_publishes_pods_before_they_are_ready_uses_them() {
    let (mut world, election) = cluster();
    world.services.get_mut(&web()).unwrap().publish_not_ready = true;
    let starting = Endpoint { ready: false, serving: false, ..endpoint("n2", "10.244.2.5") };
    world.endpoints.insert(web(), vec![starting]);
    assert_eq!(backend(&world, &election).weights, weights(&[("n2", 1)]));
}

#[test]
fn dead_unready_and_unreachable_nodes_have_no_rows() {
    let all = ["n1", "n2", "n3"].map(|node| endpoint(node, &format!("10.244.{}.5", &node[1..]))).to_vec();
    let break_n2: [fn(&mut World, &mut Election); 4] = [
        |_, election| _ = election.alive.remove("n2"),
        |world, _| world.heartbeats.get_mut("n2").unwrap().facts.ready = false,
        |world, _| world.heartbeats.get_mut("n2").unwrap().facts.links[0].up = false,
        |world, _| world.heartbeats.get_mut("n2").unwrap().facts.links[0].addresses = vec![net("192.168.7.2/24")],
    ];
    for change in break_n2 {
        let (mut world, mut election) = cluster();
        world.endpoints.insert(web(), all.clone());
        change(&mut world, &mut election);
        let backend = backend(&world, &election);
        assert_eq!(backend.weights, weights(&[("n1", 1), ("n3", 1)]));
        assert!(!backend.kernel_path);
    }
}

#[test]
fn a_service_with_endpoints_only_where_announcer_is_not_takes_the_kernel_path() {
    let (mut world, election) = cluster();
    assert!(!backend(&world, &election).kernel_path, "no endpoint at all is refused here, not passed on");
    world.endpoints.insert(web(), vec![endpoint("n9", "10.244.9.5")]);
    assert!(backend(&world, &election).kernel_path);
    assert!(plan(&world, &election).vips[&VIP].kernel_path);
    let outside = Endpoint { node: None, ..endpoint("", "192.168.1.7") };
    world.endpoints.insert(web(), vec![outside]);
    assert!(backend(&world, &election).kernel_path);
    world.endpoints.insert(web(), vec![endpoint("n9", "10.244.9.5"), endpoint("n2", "10.244.2.5")]);
    let mixed = backend(&world, &election);
    assert!(!mixed.kernel_path);
    assert_eq!(mixed.weights, weights(&[("n2", 1)]));
}

#[test]
fn only_endpoints_of_the_ports_name_and_protocol_count() {
    let (mut world, election) = cluster();
    let other = Endpoint { port_name: "metrics".into(), ..endpoint("n2", "10.244.2.5") };
    let udp = Endpoint { protocol: Protocol::Udp, ..endpoint("n2", "10.244.2.5") };
    world.endpoints.insert(web(), vec![other, udp]);
    assert!(backend(&world, &election).weights.is_empty());
}

#[test]
fn leadership_and_term_come_from_the_election() {
    let (world, mut election) = cluster();
    assert_eq!(plan(&world, &election).vips[&VIP], Vip { term: 4, ..Vip::default() });
    let decision = VipDecision {
        leader: Some("n1".into()),
        term: 5,
        announce: BTreeSet::from(["eth0".to_owned()]),
        take_over: true,
        release: false,
        reason: Reason::HolderDead,
    };
    election.vips.insert(IpAddr::V4(VIP), decision);
    let vip = plan(&world, &election).vips.remove(&VIP).unwrap();
    assert_eq!((vip.lead, vip.term), (BTreeSet::from(["eth0".to_owned()]), 5));
}

#[test]
fn addresses_of_nodes_gateways_and_the_api_server_are_never_programmed() {
    let (mut world, election) = cluster();
    let gateway = Ipv4Addr::new(10, 25, 255, 254);
    let api = Ipv4Addr::new(10, 25, 9, 9);
    world.gateways.insert(IpAddr::V4(gateway));
    world.api_endpoints.insert(IpAddr::V4(api));
    for vip in [gateway, api, Ipv4Addr::new(10, 25, 0, 1), Ipv4Addr::new(10, 25, 0, 3)] {
        claim(&mut world, vip, [web()]);
    }
    let plan = plan(&world, &election);
    assert_eq!(plan.vips.keys().collect::<Vec<_>>(), [&VIP]);
    assert!(plan.services.keys().all(|frontend| frontend.vip == VIP));
    let said: Vec<String> = plan.refused.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 4);
    assert!(said.iter().any(|line| {
        line == "10.25.255.254 is the default gateway: it is never used for a Service; give shop/web another address"
    }));
}

#[test]
fn the_older_of_two_services_has_the_port() {
    let (mut world, election) = cluster();
    let newer = ObjectName { namespace: "a".into(), name: "b".into() };
    let service = Service { created: 9, ..world.services[&web()].clone() };
    world.services.insert(newer.clone(), service);
    claim(&mut world, VIP, [web(), newer.clone()]);
    let plan = plan(&world, &election);
    assert_eq!(plan.services.values().map(|backend| &backend.service).collect::<Vec<_>>(), [&web()]);
    assert_eq!(plan.refused.len(), 1);
    assert!(plan.refused.first().unwrap().to_string().contains("of a/b is already served for shop/web"));
}

#[test]
fn what_is_not_tcp_or_udp_is_left_to_the_kernel() {
    let (mut world, election) = cluster();
    world.services.get_mut(&web()).unwrap().ports[0].protocol = Protocol::Sctp;
    let plan = plan(&world, &election);
    assert!(plan.services.is_empty() && plan.vips[&VIP].kernel_path);
}

#[test]
fn a_service_that_left_the_type_or_the_cluster_leaves_nothing() {
    let (mut world, election) = cluster();
    world.services.get_mut(&web()).unwrap().load_balancer = false;
    assert!(plan(&world, &election).vips.is_empty());
    world.services.clear();
    assert!(plan(&world, &election).vips.is_empty());
}

#[test]
fn sources_are_nodes_and_pods_and_no_client() {
    let (mut world, election) = cluster();
    let outside = Endpoint { node: None, ..endpoint("", "192.168.1.7") };
    let odd = endpoint("n2", "172.20.0.5");
    world.endpoints.insert(web(), vec![endpoint("n1", "10.244.1.5"), endpoint("n1", "10.25.0.1"), odd, outside]);
    let sources: Vec<(String, SourceKind)> =
        plan(&world, &election).sources.into_iter().map(|(net, kind)| (net.to_string(), kind)).collect();
    let expected = [
        ("10.25.0.1/32", SourceKind::Node),
        ("10.25.0.2/32", SourceKind::Node),
        ("10.25.0.3/32", SourceKind::Node),
        ("10.244.1.0/24", SourceKind::Pod),
        ("10.244.2.0/24", SourceKind::Pod),
        ("10.244.3.0/24", SourceKind::Pod),
        ("172.20.0.5/32", SourceKind::Pod),
    ];
    assert_eq!(sources, expected.map(|(net, kind)| (net.to_owned(), kind)));
}

#[test]
fn each_node_is_reached_by_the_mac_it_says_on_the_shared_subnet() {
    let (world, mut election) = cluster();
    election.alive.remove("n3");
    let nodes = plan(&world, &election).nodes;
    let on_eth0 = |n: u8| BTreeMap::from([("eth0".to_owned(), (mac(n), Ipv4Addr::new(10, 25, 0, n)))]);
    assert_eq!(nodes["n1"], Node { me: true, alive: true, links: on_eth0(1) });
    assert_eq!(nodes["n2"], Node { me: false, alive: true, links: on_eth0(2) });
    assert_eq!(nodes["n3"], Node { me: false, alive: false, links: on_eth0(3) });
}

fn any_endpoints() -> impl Strategy<Value = Vec<Endpoint>> {
    let one = (1_u8..5, 1_u8..20, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(node, pod, ready, serving, terminating)| Endpoint {
            ready: ready && !terminating,
            serving,
            terminating,
            ..endpoint(&format!("n{node}"), &format!("10.244.{node}.{pod}"))
        },
    );
    prop::collection::btree_map((1_u8..5, 1_u8..20), one, 0..30).prop_map(|map| map.into_values().collect())
}

proptest! {
    #[test]
    fn every_node_makes_the_same_weights(endpoints in any_endpoints(), affinity in any::<bool>()) {
        let (mut world, election) = cluster();
        world.endpoints.insert(web(), endpoints);
        world.services.get_mut(&web()).unwrap().affinity = affinity.then_some(Duration::from_secs(10_800));
        let here = backend(&world, &election);
        for me in ["n2", "n3"] {
            world.me = me.into();
            let there = backend(&world, &election);
            prop_assert_eq!((&here.weights, here.kernel_path), (&there.weights, there.kernel_path));
        }
    }

    #[test]
    fn a_node_with_rows_has_a_pod_that_takes_new_flows(endpoints in any_endpoints()) {
        let (mut world, election) = cluster();
        world.endpoints.insert(web(), endpoints);
        for me in ["n1", "n2", "n3"] {
            world.me = me.into();
            let backend = backend(&world, &election);
            if backend.weights.get(me) > 0 {
                prop_assert!(backend.local.values().any(|takes_new| *takes_new));
            }
        }
    }
}
