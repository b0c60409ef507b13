//! Several agents, one store of Leases with compare-and-swap, crashes, cuts and slow watches, under a simulated clock.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use proptest::prelude::*;

use super::{
    Election, ElectionSettings,
    fixture::{become_node, claim, facts, node, service, vip, world},
    plan,
};
use crate::{
    api::names,
    world::{
        beats::{BEAT_EVERY, STALE_AFTER},
        message::{Lease, Message, Update},
        model::{AllocatorLease, Claim, Moment, World},
    },
};

const STEP: Duration = Duration::from_millis(500);

/// What happens to an agent at a time.
#[derive(Debug, Clone, Copy)]
enum Event {
    Crash(usize),
    Start(usize),
    /// The agent reaches the API server no more: neither writes nor news.
    Cut(usize),
    Heal(usize),
    /// Its news arrive this many steps late.
    Slow(usize, usize),
}

/// The API server.
#[derive(Default)]
struct Store {
    version: u64,
    leases: BTreeMap<String, Lease>,
}

impl Store {
    /// Writes if the version is the one that was seen; what was written.
    fn swap(&mut self, name: &str, seen: &str, change: impl FnOnce(&mut Lease)) -> bool {
        let Some(lease) = self.leases.get_mut(name) else { return false };
        if version(lease) != seen {
            return false;
        }
        change(lease);
        self.version += 1;
        *version_mut(lease) = self.version.to_string();
        true
    }

    fn put(&mut self, name: String, mut lease: Lease) {
        self.version += 1;
        *version_mut(&mut lease) = self.version.to_string();
        self.leases.insert(name, lease);
    }
}

fn version_mut(lease: &mut Lease) -> &mut String {
    match lease {
        Lease::Vip { claim: Claim { resource_version, .. }, .. }
        | Lease::Node { resource_version, .. }
        | Lease::Allocator(AllocatorLease { resource_version, .. }) => resource_version,
    }
}

fn version(lease: &Lease) -> &str {
    match lease {
        Lease::Vip { claim: Claim { resource_version, .. }, .. }
        | Lease::Node { resource_version, .. }
        | Lease::Allocator(AllocatorLease { resource_version, .. }) => resource_version,
    }
}

struct Agent {
    n: usize,
    world: World,
    running: bool,
    cut: bool,
    delay: usize,
    /// News on the way: snapshots of the store, one for each step.
    news: VecDeque<BTreeMap<String, Lease>>,
    next_beat: Duration,
    /// Something is new, so that a plan is due.
    changed: bool,
    election: Election,
}

struct Cluster {
    now: Duration,
    store: Store,
    agents: Vec<Agent>,
}

impl Cluster {
    fn new(nodes: usize, vips: usize) -> Self {
        let mut store = Store::default();
        for n in 0..vips {
            store.put(names::vip_lease(vip(n)), Lease::Vip { ip: vip(n), claim: claim(n, None, 0) });
        }
        store.put(names::ALLOCATOR_LEASE.to_owned(), Lease::Allocator(AllocatorLease::default()));
        let agents = (0..nodes).map(|n| Agent {
            n,
            world: World::default(),
            running: false,
            cut: false,
            delay: 0,
            news: VecDeque::new(),
            next_beat: Duration::ZERO,
            changed: false,
            election: Election::default(),
        });
        let mut cluster = Self { now: Duration::ZERO, store, agents: agents.collect() };
        (0..nodes).for_each(|n| cluster.happen(Event::Start(n)));
        cluster
    }

    fn happen(&mut self, event: Event) {
        let (nodes, vips) =
            (self.agents.len(), self.store.leases.values().filter(|l| matches!(l, Lease::Vip { .. })).count());
        let (Event::Crash(n) | Event::Start(n) | Event::Cut(n) | Event::Heal(n) | Event::Slow(n, _)) = event;
        let now = self.now;
        let agent = &mut self.agents[n % nodes];
        match event {
            Event::Crash(_) => {
                agent.running = false;
                agent.election = Election::default();
            }
            Event::Start(_) if agent.running => {}
            Event::Start(_) => {
                // An agent's memory begins empty: what it knows of Leases, it has yet to hear.
                let mut fresh = world(nodes, &vec![None; vips], Moment(now));
                become_node(&mut fresh, agent.n);
                fresh.heartbeats.clear();
                fresh.claims.clear();
                agent.world = fresh;
                agent.running = true;
                agent.news.clear();
                agent.next_beat = now;
            }
            Event::Cut(_) => agent.cut = true,
            Event::Heal(_) => agent.cut = false,
            Event::Slow(_, steps) => agent.delay = steps,
        }
    }

    /// Everybody hears, decides, writes; in the order of `first` and on.
    fn step(&mut self, first: usize) {
        self.now += STEP;
        let nodes = self.agents.len();
        for turn in 0..nodes {
            let Self { now, store, agents } = self;
            let agent = &mut agents[(first + turn) % nodes];
            if !agent.running {
                continue;
            }
            agent.hear(store, *now);
            agent.act(store, *now);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turn = 0;
        while self.now < end {
            turn += 1;
            self.step(turn);
        }
    }

    fn holder(&self, n: usize) -> Option<String> {
        match &self.store.leases[&names::vip_lease(vip(n))] {
            Lease::Vip { claim, .. } => claim.holder.clone(),
            _ => None,
        }
    }
}

impl Agent {
    fn leads(&self) -> BTreeSet<IpAddr> {
        self.election.vips.iter().filter(|(_, d)| !d.announce.is_empty()).map(|(ip, _)| *ip).collect()
    }

    fn hear(&mut self, store: &Store, now: Duration) {
        if self.cut {
            self.news.clear();
            return;
        }
        self.news.push_back(store.leases.clone());
        while self.news.len() > self.delay {
            let Some(leases) = self.news.pop_front() else { break };
            let message = Message::Leases(Update::All(leases.into_iter().collect()));
            self.changed |= self.world.take(message, Moment(now)).any();
        }
    }

    fn act(&mut self, store: &mut Store, now: Duration) {
        if now >= self.next_beat {
            self.next_beat = now + BEAT_EVERY;
            if !self.cut {
                let (node, facts) = (node(self.n), facts(self.n));
                let lease = Lease::Node {
                    node: node.clone(),
                    facts,
                    beat: format!("{now:?}"),
                    resource_version: String::new(),
                };
                store.put(names::node_lease(&node), lease);
            }
        }
        // As the agent's loop does it: at news, and when the last plan said so.
        if std::mem::take(&mut self.changed) || self.election.next_check.is_some_and(|at| at <= Moment(now)) {
            self.election = plan(&self.world, Moment(now), &ElectionSettings::default());
        }
        if self.cut {
            return;
        }
        let (me, election) = (self.world.me.clone(), &self.election);
        for (ip, decision) in election.vips.iter().filter(|(_, decision)| decision.take_over || decision.release) {
            let Some(claim) = self.world.claims.get(ip) else { continue };
            let seen = claim.resource_version.clone();
            store.swap(&names::vip_lease(*ip), &seen, |lease| {
                if let Lease::Vip { claim, .. } = lease {
                    assert!(decision.release || decision.term > claim.term, "terms only grow");
                    claim.holder = decision.take_over.then(|| me.clone());
                    claim.term = decision.term;
                }
            });
        }
        if let (Some(term), Some(lease)) = (election.take_allocator, &self.world.allocator) {
            let seen = lease.resource_version.clone();
            store.swap(names::ALLOCATOR_LEASE, &seen, |lease| {
                if let Lease::Allocator(lease) = lease {
                    lease.holder = Some(me.clone());
                    lease.term = term;
                }
            });
        }
    }
}

/// Long enough for everything to come to rest: a death is seen, taken over, and heard of late.
const QUIET: Duration = Duration::from_secs(60);

#[test]
fn a_crashed_leader_is_replaced_within_thirty_seconds_and_only_its_vips_move() {
    let mut cluster = Cluster::new(3, 6);
    cluster.run(QUIET);
    let before: Vec<_> = (0..6).map(|n| cluster.holder(n).unwrap()).collect();
    cluster.happen(Event::Cut(1));
    cluster.run(STALE_AFTER + Duration::from_secs(5));
    for (n, old) in before.iter().enumerate() {
        let new = cluster.holder(n).unwrap();
        assert!(if *old == node(1) { new != *old } else { new == *old }, "{n}: {old} -> {new}");
    }
    // It has heard nothing, so it goes on; when it is back, it yields at once.
    assert!(!cluster.agents[1].leads().is_empty());
    cluster.happen(Event::Heal(1));
    cluster.run(2 * STEP);
    let held: BTreeSet<IpAddr> = (0..6).filter(|n| cluster.holder(*n) == Some(node(1))).map(vip).collect();
    assert_eq!(cluster.agents[1].leads(), held);
}

#[test]
fn an_api_server_away_for_all_moves_nothing_and_leaves_every_vip_answered() {
    let mut cluster = Cluster::new(3, 6);
    cluster.run(QUIET);
    let before: Vec<_> = (0..6).map(|n| cluster.holder(n)).collect();
    (0..3).for_each(|n| cluster.happen(Event::Cut(n)));
    cluster.run(Duration::from_secs(3600));
    let led: usize = cluster.agents.iter().map(|agent| agent.leads().len()).sum();
    assert_eq!(led, 6);
    (0..3).for_each(|n| cluster.happen(Event::Heal(n)));
    cluster.run(QUIET);
    assert_eq!((0..6).map(|n| cluster.holder(n)).collect::<Vec<_>>(), before);
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = (0..5_u8, 0..4_usize, 0..8_usize).prop_map(|(kind, n, steps)| match kind {
        0 => Event::Crash(n),
        1 => Event::Start(n),
        2 => Event::Cut(n),
        3 => Event::Heal(n),
        _ => Event::Slow(n, steps),
    });
    proptest::collection::vec((0..40_u64, event), 0..15)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn after_things_are_quiet_exactly_one_living_node_leads_each_vip(
        nodes in 1..4_usize, vips in 1..8_usize, events in events()
    ) {
        let mut cluster = Cluster::new(nodes, vips);
        for (pause, event) in events {
            cluster.run(Duration::from_secs(pause));
            cluster.happen(event);
        }
        // One at least is alive, and all that are reach the API server.
        cluster.happen(Event::Start(0));
        for n in 0..nodes {
            cluster.happen(Event::Heal(n));
            cluster.happen(Event::Slow(n, 0));
        }
        cluster.run(2 * QUIET);
        for n in 0..vips {
            let leaders: Vec<String> =
                cluster.agents.iter().filter(|agent| agent.leads().contains(&vip(n))).map(|agent| node(agent.n)).collect();
            prop_assert_eq!(leaders.len(), 1, "{}: {:?}", vip(n), leaders);
            prop_assert_eq!(cluster.holder(n), leaders.first().cloned());
        }
        let allocators: Vec<usize> = cluster
            .agents
            .iter()
            .filter(|agent| agent.election.allocator)
            .map(|agent| agent.n)
            .collect();
        prop_assert_eq!(allocators.len(), 1);
    }
}

#[test]
fn a_store_refuses_a_write_on_an_old_version() {
    let mut store = Store::default();
    store.put("a".to_owned(), Lease::Allocator(AllocatorLease::default()));
    assert!(store.swap("a", "1", |_| ()));
    assert!(!store.swap("a", "1", |_| ()));
    assert_eq!(service(0).to_string(), "shop/s0");
}
