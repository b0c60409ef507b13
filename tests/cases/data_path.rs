//! The data path without agents or an API server: loaded, attached and filled by hand on each node.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
    time::{Duration, Instant},
};

use announcer::{
    apply::maps::{Applied, Forwarder, Settings},
    datapath,
    plan::{
        forwarding::{Backend, Forwarding, Frontend, Node as Peer, Vip},
        maglev::{NodeName, Weights},
    },
    world::model::{AttachMode, Link, Moment, ObjectName, Protocol},
};
use announcer_ebpf::abi::{DEFAULT_FLOWS, Outcome, SourceKind};
use anyhow::{Context, bail, ensure};

use crate::{
    lab::{
        Lab, Node, POD_PORT, Pod, Shape, client_address, node_address, node_mac,
        traffic::{Held, Prober, fetch, udp_ask},
    },
    runner::{Case, Scope, Suite},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 25, 150, 222);
const HOLD: Duration = Duration::from_secs(600);

pub(super) fn cases() -> Vec<Case> {
    let case = |name, body: fn(&mut Scope) -> anyhow::Result<()>| Case::new(Suite::Lab, name, body).limit(60);
    vec![
        case("the_data_path_alone_carries_tcp_and_udp_to_pods_on_every_node", carries),
        case("a_data_path_that_is_opened_again_is_adopted_without_a_lost_packet", adopted),
        case("connections_survive_one_pod_to_three_and_back_and_a_change_of_leader", survives),
        case("cleanup_leaves_nothing_on_a_node_and_may_be_repeated", cleaned),
        case("an_interface_with_another_xdp_program_is_refused_by_name", taken),
        case("a_place_that_is_no_bpf_file_system_is_refused_with_the_mount_command", no_bpffs),
        case("ten_thousand_services_are_programmed_within_seconds_and_a_change_within_milliseconds", scale).alone(),
    ]
}

/// What one node's agent would hold.
pub(super) struct Machine<'l> {
    lab: &'l Lab,
    node: &'l Node,
    forwarder: Forwarder,
}

pub(super) fn settings(lab: &Lab, node: &Node, slots: u32) -> Settings {
    Settings {
        bpffs: lab.bpffs(node),
        run_dir: lab.run_dir(node),
        me: node.name.clone(),
        flows: DEFAULT_FLOWS / 16,
        slots,
    }
}

pub(super) fn link(node: &Node) -> anyhow::Result<Link> {
    let index = node.namespace.run(|| nix::net::if_::if_nametoindex("eth0"))?;
    let address = format!("{}/24", node.address).parse()?;
    Ok(Link {
        name: "eth0".into(),
        index,
        mac: node.mac,
        mtu: 1_500,
        up: true,
        addresses: vec![address],
        attached: None,
    })
}

impl<'l> Machine<'l> {
    pub(super) fn start(lab: &'l Lab, node: &'l Node) -> anyhow::Result<Self> {
        let forwarder = Forwarder::open(settings(lab, node, 1 << 20))?;
        Ok(Self { lab, node, forwarder })
    }

    fn attach(&mut self) -> anyhow::Result<()> {
        self.attach_to(&link(self.node)?).map(drop)
    }

    pub(super) fn attach_to(&mut self, link: &Link) -> anyhow::Result<AttachMode> {
        let mode = self.node.namespace.run(|| self.forwarder.attach(link))?;
        self.forwarder.push_deadline(HOLD)?;
        Ok(mode)
    }

    pub(super) fn apply(&mut self, leader: u8, pods: &[&Pod]) -> anyhow::Result<Applied> {
        let mut applied = self.apply_once(leader, pods)?;
        // Additions are gathered for a second; here nothing more is to come.
        while let Some(Moment(then)) = applied.look_again {
            std::thread::sleep(then.saturating_sub(datapath::monotonic()));
            applied = self.apply_once(leader, pods)?;
        }
        Ok(applied)
    }

    fn apply_once(&mut self, leader: u8, pods: &[&Pod]) -> anyhow::Result<Applied> {
        let plan = plan(self.lab, self.node, leader, pods);
        let applied = self.forwarder.apply(&plan, Moment(datapath::monotonic()))?;
        ensure!(applied.refused.is_empty(), "{:?}", applied.refused);
        Ok(applied)
    }

    fn count(&self, outcome: Outcome) -> anyhow::Result<u64> {
        let counters = self.forwarder.counters()?;
        Ok(counters.outcomes.iter().find(|(which, _)| *which == outcome).map_or(0, |(_, count)| *count))
    }
}

/// TCP and UDP port 80 of the VIP lead to `pods`.
fn plan(lab: &Lab, me: &Node, leader: u8, pods: &[&Pod]) -> Forwarding {
    let mut plan = Forwarding { cluster_uid: Some("a-lab-of-its-own".into()), ..Forwarding::default() };
    for node in &lab.nodes {
        let links = BTreeMap::from([("eth0".to_owned(), (node_mac(node.number), node_address(node.number)))]);
        let peer = Peer { me: node.number == me.number, alive: true, links };
        plan.nodes.insert(NodeName::from(node.name.as_str()), peer);
        plan.sources.insert(node.address.into(), SourceKind::Node);
    }
    plan.sources.extend(pods.iter().map(|pod| (pod.address.into(), SourceKind::Pod)));
    let lead = if me.number == leader { ["eth0".to_owned()].into() } else { Default::default() };
    plan.vips.insert(VIP, Vip { lead, term: 1, kernel_path: false });
    let here = pods.iter().filter(|pod| pod.node == me.name);
    let local: BTreeMap<SocketAddrV4, bool> =
        here.map(|pod| (SocketAddrV4::new(pod.address, POD_PORT), true)).collect();
    let weights: Weights = pods.iter().map(|pod| (pod.node.as_str(), 1)).collect();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let backend = Backend {
            service: ObjectName { namespace: "default".into(), name: "web".into() },
            weights: weights.clone(),
            local: local.clone(),
            affinity: false,
            kernel_path: false,
        };
        plan.services.insert(Frontend { vip: VIP, protocol, port: 80 }, backend);
    }
    plan
}

pub(super) fn vip() -> SocketAddr {
    (VIP, 80).into()
}

fn start<'l>(lab: &'l Lab, leader: u8, pods: &[&Pod]) -> anyhow::Result<Vec<Machine<'l>>> {
    let mut machines = lab.nodes.iter().map(|node| Machine::start(lab, node)).collect::<anyhow::Result<Vec<_>>>()?;
    for machine in &mut machines {
        machine.attach()?;
        machine.apply(leader, pods)?;
    }
    Ok(machines)
}

pub(super) fn pods(lab: &Lab) -> anyhow::Result<Vec<Pod>> {
    lab.nodes.iter().map(|node| Pod::start(lab, node, 1)).collect()
}

fn carries(scope: &mut Scope) -> anyhow::Result<()> {
    let lab = Lab::new(scope.run, Shape::default())?;
    let pods = pods(&lab)?;
    let pods: Vec<&Pod> = pods.iter().collect();
    let machines = start(&lab, 1, &pods)?;
    let mut seen = BTreeMap::<String, u32>::new();
    for _ in 0..30 {
        let answer = fetch(lab.client(), vip(), Duration::from_secs(2))?;
        ensure!(answer.client.ip() == client_address(1), "the pod saw {}", answer.client);
        *seen.entry(answer.pod).or_default() += 1;
    }
    ensure!(seen.len() == 3, "30 connections went to {seen:?}");
    ensure!(machines[0].count(Outcome::Forwarded)? > 0 && machines[1].count(Outcome::DeliveredNew)? > 0);
    ensure!(machines[2].count(Outcome::ReplyTranslated)? > 0);
    let vip_counters = machines[0].forwarder.counters()?.vips.remove(&VIP).context("the VIP has no counters")?;
    ensure!(vip_counters.answers > 0 && vip_counters.forwarded_packets > 0, "{vip_counters:?}");
    for _ in 0..10 {
        udp_ask(lab.client(), vip(), b"hello", Duration::from_secs(2))?;
    }
    Ok(())
}

fn adopted(scope: &mut Scope) -> anyhow::Result<()> {
    let lab = Lab::new(scope.run, Shape::default())?;
    let pods = pods(&lab)?;
    let pods: Vec<&Pod> = pods.iter().collect();
    let mut machines = start(&lab, 1, &pods)?;
    let prober = Prober::start(lab.client(), vip(), Duration::from_millis(20), Duration::from_secs(1));
    for _ in 0..3 {
        for machine in &mut machines {
            let node = machine.node;
            // Replaced only once the new one is open: a map's last user need not be the pin.
            machine.forwarder = Forwarder::open(settings(&lab, node, 1 << 20))?;
            ensure!(machine.forwarder.attached().contains_key("eth0"), "{} does not know its link", node.name);
            let applied = machine.apply(1, &pods)?;
            ensure!(applied.writes == 0, "{} wrote {applied:?} over what it found", node.name);
            machine.attach()?;
            let applied = machine.apply(1, &pods)?;
            ensure!(applied.writes == 0, "{} wrote {applied:?} after it had attached", node.name);
        }
    }
    let report = prober.finish()?;
    ensure!(report.lost().is_empty(), "{}", report.summary());
    Ok(())
}

fn survives(scope: &mut Scope) -> anyhow::Result<()> {
    let lab = Lab::new(scope.run, Shape::default())?;
    let pods = pods(&lab)?;
    let [first, second, third] = [&pods[0], &pods[1], &pods[2]];
    let mut machines = start(&lab, 1, &[first])?;
    let mut now = |leader: u8, pods: &[&Pod]| -> anyhow::Result<()> {
        machines.iter_mut().try_for_each(|machine| machine.apply(leader, pods).map(drop))
    };
    let held = Held::open(lab.client(), vip(), 100, Duration::from_millis(50))?;
    now(1, &[first, second])?;
    now(1, &[first, second, third])?;
    now(2, &[first, second, third])?;
    now(2, &[first, third])?;
    now(3, &[first])?;
    now(1, &[first, second, third])?;
    now(1, &[first])?;
    let before = held.exchanged();
    std::thread::sleep(Duration::from_millis(500));
    ensure!(held.exchanged() > before, "the connections stand still");
    let report = held.finish()?;
    ensure!(report.broken.is_empty(), "{report:?}");
    Ok(())
}

fn cleaned(scope: &mut Scope) -> anyhow::Result<()> {
    let lab = Lab::new(scope.run, Shape { nodes: 1, clients: 1 })?;
    let node = lab.node(1);
    let mut machine = Machine::start(&lab, node)?;
    machine.attach()?;
    machine.apply(1, &[])?;
    ensure!(programs(node)? == (true, 1), "attached: {:?}", programs(node)?);
    // A pin of another version's layout goes too.
    let old = lab.bpffs(node).join("v0");
    std::fs::create_dir_all(old.join("links/eth9"))?;
    drop(machine);
    ensure!(programs(node)? == (true, 1), "the programs stay when the agent goes");

    let removed = datapath::cleanup(&lab.bpffs(node), &lab.run_dir(node))?;
    ensure!(removed.links.len() == 2 && removed.maps.len() >= 17 && removed.files.len() == 1, "{removed:?}");
    ensure!(programs(node)? == (false, 0), "left: {:?}", programs(node)?);
    ensure!(!lab.bpffs(node).exists(), "the pin directory is left");
    let again = datapath::cleanup(&lab.bpffs(node), &lab.run_dir(node))?;
    ensure!(again == datapath::Cleaned::default(), "the second time it removed {again:?}");
    Ok(())
}

/// Whether a node's link has XDP, and how many tcx programs at egress.
fn programs(node: &Node) -> anyhow::Result<(bool, usize)> {
    let xdp = node.namespace.text("ip -d link show dev eth0")?.contains("prog/xdp");
    let egress = node.namespace.run(|| {
        aya::programs::SchedClassifier::query_tcx("eth0", aya::programs::TcAttachType::Egress)
            .map(|(_, programs)| programs.len())
    })?;
    Ok((xdp, egress))
}

fn taken(scope: &mut Scope) -> anyhow::Result<()> {
    let lab = Lab::new(scope.run, Shape { nodes: 2, clients: 1 })?;
    let [node, other] = [lab.node(1), lab.node(2)];
    Machine::start(&lab, node)?.attach()?;
    // Another agent with its own maps wants the same link.
    let mut second = Forwarder::open(settings(&lab, other, 1 << 16))?;
    let link = link(node)?;
    let Err(error) = node.namespace.run(|| second.attach(&link)) else { bail!("two programs share a link") };
    let said = error.to_string();
    ensure!(said.starts_with("link eth0 already has an XDP program (announcer"), "{said}");
    ensure!(programs(node)? == (true, 1), "what was tried is taken back: {:?}", programs(node)?);
    Ok(())
}

fn no_bpffs(scope: &mut Scope) -> anyhow::Result<()> {
    let lab = Lab::new(scope.run, Shape { nodes: 1, clients: 1 })?;
    let elsewhere = lab.run_dir(lab.node(1)).join("bpf");
    let settings = Settings { bpffs: elsewhere.clone(), ..settings(&lab, lab.node(1), 1 << 16) };
    let Err(error) = Forwarder::open(settings) else { bail!("maps are pinned outside of a bpffs") };
    let said = error.to_string();
    ensure!(said.contains(&format!("mount -t bpf bpf {}", elsewhere.display())), "{said}");
    ensure!(!Path::new(&elsewhere).exists());
    Ok(())
}

/// 10,000 Services with 10 endpoints each, spread over ten nodes in as many ways.
fn many(services: u32, changed: u32) -> Forwarding {
    let mut plan = Forwarding { cluster_uid: Some("a-lab-of-its-own".into()), ..Forwarding::default() };
    let names: Vec<NodeName> = (1..=10).map(|n| NodeName::from(format!("n{n}"))).collect();
    for (n, name) in (1..).zip(&names) {
        let links = BTreeMap::from([("eth0".to_owned(), (node_mac(n), node_address(n)))]);
        plan.nodes.insert(name.clone(), Peer { me: n == 1, alive: true, links });
    }
    for service in 0..services {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 99, 0, 0)) + service);
        let vip = address;
        plan.vips.insert(vip, Vip::default());
        // Ten endpoints: most on one node, the rest by the bits of the Service's number.
        let weight = |at: usize| 1 + (service.wrapping_mul(0x9E37_79B1) >> (3 * at) & 3) + u32::from(service < changed);
        let weights: Weights = names.iter().enumerate().map(|(at, name)| (name.clone(), weight(at))).collect();
        let pod = |n: u32| {
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 244, 0, 0)) + service * 2 + n);
            SocketAddrV4::new(address, 8_080)
        };
        let backend = Backend {
            service: ObjectName { namespace: "many".into(), name: format!("s{service}") },
            weights,
            local: BTreeMap::from([(pod(0), true)]),
            affinity: false,
            kernel_path: false,
        };
        plan.services.insert(Frontend { vip, protocol: Protocol::Tcp, port: 80 }, backend);
    }
    plan
}

fn scale(scope: &mut Scope) -> anyhow::Result<()> {
    let lab = Lab::new(scope.run, Shape { nodes: 1, clients: 1 })?;
    let node = lab.node(1);
    // A table of 1,021 rows for each Service, twice.
    let mut forwarder = Forwarder::open(settings(&lab, node, 1 << 25))?;
    let link = link(node)?;
    node.namespace.run(|| forwarder.attach(&link))?;
    // The release build is what the promise is about; without optimisation only the shape is checked.
    let slower = if cfg!(debug_assertions) { 20 } else { 1 };
    let mut timed = |plan: &Forwarding, limit: Duration| -> anyhow::Result<usize> {
        let started = Instant::now();
        let applied = forwarder.apply(plan, Moment(datapath::monotonic()))?;
        let took = started.elapsed();
        println!("{} writes in {took:?}", applied.writes);
        ensure!(applied.refused.is_empty(), "{:?}", applied.refused.first());
        ensure!(took < limit * slower, "{} writes took {took:?}, more than {limit:?}", applied.writes);
        Ok(applied.writes)
    };
    ensure!(timed(&many(10_000, 0), Duration::from_secs(5))? > 10_000);
    ensure!(timed(&many(10_000, 0), Duration::from_millis(50))? == 0);
    // One pod less.
    let mut plan = many(10_000, 0);
    if let Some(backend) = plan.services.values_mut().nth(5_000) {
        backend.weights = backend.weights.iter().skip(1).map(|(name, weight)| (name.clone(), weight)).collect();
        backend.local.clear();
    }
    ensure!(timed(&plan, Duration::from_millis(50))? > 0);
    let started = Instant::now();
    let mut forwarder = Forwarder::open(settings(&lab, node, 1 << 25))?;
    let applied = forwarder.apply(&plan, Moment(datapath::monotonic()))?;
    println!("opened again in {:?}", started.elapsed());
    ensure!(applied.writes == 0, "{} writes over what was found", applied.writes);
    ensure!(started.elapsed() < Duration::from_secs(5) * slower, "adopting took {:?}", started.elapsed());
    Ok(())
}
