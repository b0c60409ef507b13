mod fake;
mod plans;

use std::{collections::BTreeMap, time::Duration};

use announcer_ebpf::{
    abi::{
        ENDPOINT_PRESENT, ENDPOINT_READY, FlowEntry, FlowKey, LinkEntry, MAX_NODES, NODE_ALIVE, NODE_SELF,
        ServiceEntry, TableRef, addr, ip,
    },
    hash::flow_hash,
};
use proptest::prelude::*;

use super::*;
use crate::{
    datapath::Store,
    plan::{maglev::Weights, tables},
};
use fake::Fake;
use plans::{Change, VIP, frontend, plan};

/// An agent on maps in memory, with a clock.
struct Agent {
    fake: Fake,
    executor: Executor<Fake>,
    run_dir: tempfile::TempDir,
    now: Duration,
}

impl Agent {
    fn new() -> Self {
        let (fake, run_dir) = (Fake::new(65_536), tempfile::tempdir().unwrap());
        let mut executor = Executor::open(fake.clone(), run_dir.path()).unwrap();
        let entry = LinkEntry { mac: [2, 0, 0, 0, 0, 1], ifindex: 7, ..LinkEntry::default() };
        let Executor { links, store, ledger, .. } = &mut executor;
        links.slot("eth0", entry, store, ledger).unwrap();
        links.set_attached("eth0", AttachMode::Native, ledger).unwrap();
        Self { fake, executor, run_dir, now: Duration::from_secs(1_000) }
    }

    fn try_apply(&mut self, plan: &Forwarding) -> Result<Applied, Error> {
        let ticks = datapath::ticks_at(self.now);
        self.fake.0.borrow_mut().now = ticks;
        self.executor.apply(plan, Moment(self.now), ticks)
    }

    fn apply(&mut self, plan: &Forwarding) -> Applied {
        self.try_apply(plan).unwrap()
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Applies until nothing waits any more.
    fn settle(&mut self, plan: &Forwarding) {
        for _ in 0..5 {
            match self.apply(plan).look_again {
                Some(then) => self.now = then.0,
                None => return,
            }
        }
        panic!("additions wait for ever");
    }

    fn restart(&mut self) {
        self.executor = Executor::open(self.fake.clone(), self.run_dir.path()).unwrap();
        self.executor.links.adopt_pinned("eth0", 7);
    }

    fn entry(&self, port: u16) -> ServiceEntry {
        self.fake.0.borrow().services[&services::key(&frontend(port))]
    }

    /// Rows of each node by name.
    fn rows(&self, table: TableRef) -> BTreeMap<String, u32> {
        let mut rows = BTreeMap::new();
        let owner_at = |row: u32| match table.rows {
            1 => table.base as u16,
            _ => self.executor.store.slot(table.base + row).unwrap(),
        };
        for row in 0..table.rows {
            let owner = self.executor.nodes.name_at(owner_at(row)).map_or("?".to_owned(), ToString::to_string);
            *rows.entry(owner).or_default() += 1;
        }
        rows
    }

    /// Addresses and ports of the endpoints to which an entry leads.
    fn local(&self, entry: &ServiceEntry) -> Vec<String> {
        let kernel = self.fake.0.borrow();
        let indices: Vec<u32> = match entry.local.rows {
            1 => vec![entry.local.base],
            rows => (entry.local.base..entry.local.base + rows).map(|at| kernel.slots[at as usize].into()).collect(),
        };
        let name = |index: &u32| {
            let entry = kernel.endpoints[index];
            format!("{}:{}", ip(entry.addr), u16::from_be(entry.port))
        };
        indices.iter().map(name).collect()
    }
}

use Change::{Gone, Pods};

#[test]
fn a_service_is_programmed_whole() {
    let mut agent = Agent::new();
    let plan = plan(&[Pods(80, 1, 2), Pods(80, 2, 1)]);
    assert!(agent.apply(&plan).writes > 0);
    let entry = agent.entry(80);
    assert_eq!(agent.rows(entry.newest), [("n1".to_owned(), 167), ("n2".to_owned(), 84)].into());
    assert_eq!(agent.local(&entry), ["10.244.1.1:8080", "10.244.1.2:8080"]);
    let kernel = agent.fake.0.borrow();
    assert!(kernel.sees(VIP));
    assert_eq!(kernel.vips[&addr(VIP)].lead, 1);
    let own = &kernel.nodes[&kernel.runtime.own_node];
    assert_eq!((own.flags & NODE_SELF, own.flags & NODE_ALIVE), (NODE_SELF, NODE_ALIVE));
    assert_eq!(kernel.runtime.flow_key, flow_key("cluster"));
    assert_eq!(kernel.peers.len(), 3, "all nodes but this one");
}

#[test]
fn a_second_pass_writes_nothing() {
    let mut agent = Agent::new();
    let plan = plan(&[Pods(80, 1, 2), Pods(80, 2, 1), Pods(443, 3, 4)]);
    agent.apply(&plan);
    assert_eq!(agent.apply(&plan), Applied::default());
}

#[test]
fn a_restarted_agent_takes_over_what_it_finds_and_writes_nothing() {
    let mut agent = Agent::new();
    agent.apply(&plan(&[Pods(80, 1, 2), Pods(80, 2, 1), Pods(443, 3, 4)]));
    let plan = plan(&[Pods(80, 1, 1), Pods(80, 2, 1), Pods(443, 2, 1)]);
    agent.settle(&plan);
    let before = agent.entry(80);
    assert_eq!(before.earlier_len, 1);
    agent.restart();
    assert_eq!(agent.apply(&plan), Applied::default());
    assert_eq!(agent.entry(80), before);
}

#[test]
fn without_its_ledger_an_agent_keeps_tables_and_nodes() {
    let mut agent = Agent::new();
    let plan = plan(&[Pods(80, 1, 2), Pods(80, 2, 1), Pods(80, 4, 1)]);
    agent.apply(&plan);
    let before = agent.entry(80);
    let nodes: Vec<_> = agent.fake.0.borrow().nodes.clone().into_iter().collect();
    std::fs::remove_file(agent.run_dir.path().join(LEDGER)).unwrap();
    agent.restart();
    agent.settle(&plan);
    let after = agent.entry(80);
    assert_eq!(agent.fake.0.borrow().nodes.clone().into_iter().collect::<Vec<_>>(), nodes, "known by their MACs");
    assert_eq!(agent.rows(after.newest), agent.rows(before.newest));
    assert_eq!(after.earlier[0].table, before.newest, "what was there is kept for its flows");
}

#[test]
fn an_endpoint_that_is_gone_voids_its_flows_and_its_index_is_used_again_under_another_generation() {
    let mut agent = Agent::new();
    agent.apply(&plan(&[Pods(80, 1, 2)]));
    let first = agent.fake.0.borrow().endpoints[&1];
    agent.apply(&plan(&[Pods(80, 1, 1)]));
    assert_eq!(agent.fake.0.borrow().endpoints[&1].flags, 0);
    agent.settle(&plan(&[Pods(80, 1, 2)]));
    let again = agent.fake.0.borrow().endpoints[&1];
    assert_eq!((again.addr, again.flags), (first.addr, ENDPOINT_PRESENT | ENDPOINT_READY));
    assert_eq!(again.generation, first.generation + 1);
}

#[test]
fn a_service_that_is_gone_leaves_nothing() {
    let mut agent = Agent::new();
    agent.apply(&plan(&[Pods(80, 1, 2), Pods(80, 3, 1)]));
    agent.apply(&plan(&[Gone]));
    agent.wait(Duration::from_secs(2));
    agent.apply(&plan(&[Gone]));
    let kernel = agent.fake.0.borrow();
    assert!(kernel.services.is_empty() && kernel.vips.is_empty() && !kernel.sees(VIP));
    assert!(kernel.endpoints.values().all(|entry| entry.flags == 0));
    assert_eq!(agent.executor.placed.slots()[0], 0);
}

#[test]
fn a_node_that_is_gone_is_no_peer_and_its_index_is_free_when_no_table_leads_there() {
    let mut agent = Agent::new();
    let mut with = plan(&[Pods(80, 1, 1), Pods(80, 4, 1)]);
    agent.apply(&with);
    let index = agent.executor.nodes.index("n4").unwrap();
    with.nodes.remove("n4");
    let mut without = plan(&[Pods(80, 1, 1)]);
    without.nodes.remove("n4");
    agent.apply(&without);
    assert_eq!(agent.executor.nodes.index("n4"), Some(index), "the list still has a table with it");
    assert_eq!(agent.fake.0.borrow().nodes[&u32::from(index)].flags, 0);
    let mut nothing = plan(&[Gone]);
    nothing.nodes.remove("n4");
    agent.apply(&nothing);
    assert_eq!(agent.executor.nodes.index("n4"), None);
}

#[test]
fn equal_services_share_one_table() {
    let mut agent = Agent::new();
    let all: Vec<Change> = (1..=50).flat_map(|port| [Pods(port, 1, 1), Pods(port, 2, 2)]).collect();
    agent.apply(&plan(&all));
    assert_eq!(agent.executor.placed.len(), 1);
    assert_eq!(agent.entry(1).newest, agent.entry(50).newest);
}

#[test]
fn a_full_arena_refuses_what_is_new_and_keeps_the_rest() {
    let mut agent = Agent::new();
    let all: Vec<Change> =
        (1..=300).flat_map(|port| [Pods(port, 1, 1), Pods(port, 2, port.into()), Pods(port, 3, 1)]).collect();
    let applied = agent.apply(&plan(&all));
    let served = agent.fake.0.borrow().services.len();
    assert!((50..70).contains(&served), "{served} tables of 1,021 fit");
    assert_eq!(applied.refused.len(), 300 - served);
    let said = applied.refused.first().unwrap().to_string();
    assert!(said.starts_with("map SLOTS is full (65536 entries): the newest state of shop/web-"), "{said}");
    // Room that is made is used.
    let fewer = plan(&all[..60]);
    agent.apply(&fewer);
    agent.wait(Duration::from_secs(2));
    let other = plan(&[&all[..60], &all[870..]].concat());
    assert!(agent.apply(&other).refused.is_empty());
}

#[test]
fn without_the_clusters_identity_nothing_is_forwarded() {
    let mut agent = Agent::new();
    let mut early = plan(&[Pods(80, 1, 1)]);
    early.cluster_uid = None;
    agent.apply(&early);
    assert!(agent.fake.0.borrow().vips.is_empty() && !agent.fake.0.borrow().sees(VIP));
}

#[test]
fn the_flow_key_is_kept_once_it_is_there() {
    let mut agent = Agent::new();
    let mut plan = plan(&[Pods(80, 1, 1)]);
    agent.apply(&plan);
    plan.cluster_uid = Some("another".to_owned());
    agent.apply(&plan);
    agent.restart();
    agent.apply(&plan);
    assert_eq!(agent.fake.0.borrow().runtime.flow_key, flow_key("cluster"));
}

#[test]
fn a_scan_tells_which_earlier_tables_flows_need() {
    let mut agent = Agent::new();
    agent.apply(&plan(&[Pods(80, 1, 1)]));
    let key = FlowKey {
        client: addr([192, 168, 1, 7].into()),
        vip: addr(VIP),
        client_port: 40_000_u16.to_be(),
        port: 80_u16.to_be(),
        protocol: 6,
        ..FlowKey::default()
    };
    let generation = agent.fake.0.borrow().endpoints[&0].generation;
    let known = FlowEntry { endpoint: 0, generation, ..FlowEntry::default() };
    let void = FlowEntry { generation: generation + 1, ..known };
    agent.fake.0.borrow_mut().flows = vec![(key, known), (FlowKey { client: 1, ..key }, void)];
    // Most rows are n2's now.
    agent.settle(&plan(&[Pods(80, 1, 1), Pods(80, 2, 39)]));
    let scan = agent.executor.scan(0).unwrap();
    assert_eq!((scan.flows, scan.by_frontend), (1, [(frontend(80), 1)].into()));
    let hash = flow_hash(&flow_key("cluster"), key.client, key.vip, key.client_port, key.port, 6);
    let newest = agent.entry(80).newest;
    let owner = agent.executor.store.slot(newest.base + announcer_ebpf::hash::row(hash, newest.rows)).unwrap();
    let held = &agent.executor.services[&services::key(&frontend(80))];
    let needed = u64::from(u32::from(owner) != agent.fake.0.borrow().runtime.own_node);
    assert_eq!(held.need.values().copied().collect::<Vec<_>>(), [needed]);
}

fn any_changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec((1_u16..5, 1_u8..=4, 0_u32..4), 0..12)
        .prop_map(|all| all.into_iter().map(|(port, node, pods)| Pods(port, node, pods)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The fake checks after every write that no packet meets half a state.
    #[test]
    fn whatever_fails_and_whenever_the_agent_restarts_the_maps_reach_the_plan(
        plans in prop::collection::vec(
            (any_changes(), prop::option::of(0_usize..12), any::<bool>(), any::<bool>(), 0_u64..3), 1..10),
    ) {
        let mut agent = Agent::new();
        for (changes, fails_after, restart, lose_ledger, seconds) in plans {
            let plan = plan(&changes);
            agent.fake.0.borrow_mut().fails_after = fails_after;
            let _may_fail: Result<Applied, Error> = agent.try_apply(&plan);
            agent.fake.0.borrow_mut().fails_after = None;
            if restart {
                // A program may still be reading what the agent freed before it died.
                agent.wait(Duration::from_secs(2));
                if lose_ledger {
                    std::fs::remove_file(agent.run_dir.path().join(LEDGER)).unwrap();
                }
                agent.restart();
            }
            agent.wait(Duration::from_secs(seconds));
            agent.settle(&plan);
            prop_assert_eq!(agent.apply(&plan), Applied::default());
            for (frontend, backend) in &plan.services {
                let entry = agent.entry(frontend.port);
                let rows = agent.rows(entry.newest);
                let sum: u32 = backend.weights.iter().map(|(_, weight)| weight).sum();
                for (node, weight) in backend.weights.iter() {
                    let exact = f64::from(entry.newest.rows) * f64::from(weight) / f64::from(sum);
                    prop_assert!((f64::from(rows[&**node]) - exact).abs() < 1.0);
                }
                prop_assert_eq!(rows.len(), backend.weights.len());
                let local: Vec<String> = backend.local.keys().map(ToString::to_string).collect();
                prop_assert_eq!(agent.local(&entry), local);
            }
            // Nothing leaks: who starts anew counts the same slots.
            agent.wait(Duration::from_secs(2));
            agent.apply(&plan);
            let used = agent.executor.placed.slots();
            agent.restart();
            prop_assert_eq!(agent.executor.placed.slots(), used);
            let kernel = agent.fake.0.borrow();
            prop_assert_eq!(kernel.services.len(), plan.services.len());
            prop_assert_eq!(kernel.vips.len(), plan.vips.len());
            let present = kernel.nodes.iter().filter(|(at, entry)| **at < MAX_NODES && entry.flags != 0).count();
            prop_assert_eq!(present, plan.nodes.len());
        }
    }
}

#[test]
fn weights_of_the_test_plans_are_those_of_the_planner() {
    let plan = plan(&[Pods(80, 1, 2)]);
    let weights: Weights = [("n1", 2)].into_iter().collect();
    assert_eq!(plan.services[&frontend(80)].weights, weights);
    assert_eq!(tables::Table::of(&weights, 0).rows(), 1);
}
