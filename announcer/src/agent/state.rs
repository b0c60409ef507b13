//! What the loop owns, and one step of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::{claims::Defences, clock::Clock, facts, pace::Pace, problems::Problems};
use crate::{
    api::names,
    apply::{
        allocator::Allocator,
        announce::{Announcer, Port, Spot},
        leases::{self, Beat, HolderWrite, HolderWriter},
        maps::{FlowScan, Forwarder},
    },
    config::Settings,
    observe::{Observer, health::Health, metrics::Metrics},
    plan::{
        election::{self, Election, ElectionSettings},
        forwarding::{self, Forwarding},
        ipam::{self, IpamSettings},
    },
    world::{
        Kind, Message,
        kube::ApiServer,
        model::{Moment, World},
    },
};

/// How often flows are counted, to free what no flow needs.
const SCAN_EVERY: Duration = Duration::from_secs(5);
/// The deadline is pushed at least this often.
const PUSH_EVERY: Duration = Duration::from_secs(10);

/// One node's agent.
pub(super) struct Agent {
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) world: World,
    pub(super) election: Election,
    pub(super) forwarding: Forwarding,
    pub(super) forwarder: Forwarder,
    pub(super) announcer: Announcer,
    pub(super) flows: FlowScan,
    pub(super) problems: Problems,
    pub(super) defences: Defences,
    /// The maps hold a plan made of a complete World.
    pub(super) programmed: bool,
    holders: HolderWriter,
    allocator: Allocator,
    heart: Heart,
    health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    pace: Pace,
    next_push: Moment,
    next_scan: Moment,
}

/// The heartbeat, which begins when the maps are first programmed: until then the Lease that an earlier run left speaks
/// for this node.
struct Heart {
    api: kube::Client,
    beat: Option<watch::Sender<Beat>>,
    /// How often the Lease was found gone.
    lost: u64,
}

impl Agent {
    pub(super) fn new(
        settings: Settings,
        clock: Clock,
        forwarder: Forwarder,
        announcer: Announcer,
        api: &ApiServer,
        observer: &Observer,
    ) -> Self {
        let now = clock.now();
        Self {
            world: World::new(&settings.node_name),
            election: Election::default(),
            forwarding: Forwarding::default(),
            flows: FlowScan::default(),
            problems: Problems::default(),
            defences: Defences::default(),
            programmed: false,
            holders: HolderWriter::new(api.client.clone(), &settings.namespace),
            allocator: Allocator::start(api.client.clone(), settings.namespace.clone(), settings.node_name.clone()),
            heart: Heart { api: api.client.clone(), beat: None, lost: 0 },
            health: Arc::clone(&observer.health),
            metrics: Arc::clone(&observer.metrics),
            pace: Pace::default(),
            next_push: now,
            next_scan: Moment(now.0 + SCAN_EVERY),
            settings,
            clock,
            forwarder,
            announcer,
        }
    }

    /// When the loop has something to do even if nothing comes.
    pub(super) fn wakes_at(&self) -> Option<tokio::time::Instant> {
        let complete = self.world.is_complete();
        let times = [
            self.pace.due().filter(|_| complete),
            Some(self.next_push).filter(|_| self.in_force()),
            Some(self.next_scan),
            self.world.next_death(self.clock.now()).filter(|_| complete),
        ];
        times.into_iter().flatten().min().map(|at| self.clock.instant(at))
    }

    /// Takes one message in.
    pub(super) fn take(&mut self, message: Message) {
        let now = self.clock.now();
        if let Message::Trouble(kind, Some(text)) = &message {
            debug!(%kind, text, "a watch is in trouble");
        }
        let change = self.world.take(message, now);
        if change.completed {
            info!("every first list is in");
        }
        if change.own_heartbeat_lost {
            self.heart.lost += 1;
        }
        if change.links {
            self.attach(now);
        }
        self.pace.changed(change, now);
    }

    /// One step: whatever is due now.
    pub(super) fn act(&mut self) {
        let now = self.clock.now();
        if self.next_push <= now && self.in_force() {
            self.push_deadline(now);
        }
        if self.is_one_dead(now) {
            self.pace.no_later_than(now);
        }
        // Until every first list is in, nothing is taken back that an earlier run programmed.
        if self.world.is_complete() && self.pace.take(now) {
            self.plan(now);
        }
        if self.next_scan <= now {
            self.next_scan = Moment(now.0 + SCAN_EVERY);
            self.scan();
            // A link that refused the programs may take them now.
            self.attach(now);
        }
        self.health.stamp();
        self.health.set_ready(self.waiting());
    }

    /// A node that the last plan counted as alive is not any more. Asked at every turn: a beat moves the time of a death
    /// and is no change that is planned for.
    fn is_one_dead(&self, now: Moment) -> bool {
        self.election.alive.iter().any(|node| !self.world.is_alive(node, now))
    }

    /// The agent ends: the data path has the whole hold time from now.
    pub(super) fn farewell(&mut self) {
        if self.in_force() {
            self.push_deadline(self.clock.now());
        }
    }

    /// Whether the maps hold what is, or lately was, right. What an earlier run left behind longer than the hold time ago
    /// gets no new life before it is put right.
    fn in_force(&self) -> bool {
        self.programmed || !self.forwarder.has_lapsed()
    }

    /// What this node still needs before its data path takes traffic; None: nothing.
    pub(super) fn waiting(&self) -> Option<String> {
        let listed = &self.world.sources.listed;
        let missing: Vec<&str> =
            Kind::ALL.iter().filter(|kind| !listed.contains(kind)).map(|kind| kind.name()).collect();
        if !missing.is_empty() {
            Some(format!("waiting for the first list of {}", missing.join(", ")))
        } else if !self.programmed {
            Some("the maps are not programmed".to_owned())
        } else if !facts::of(&self.world, true).ready {
            Some("no link is up with the programs on it".to_owned())
        } else {
            None
        }
    }

    fn push_deadline(&mut self, now: Moment) {
        let hold = self.settings.hold_time;
        self.next_push = Moment(now.0 + PUSH_EVERY.min(hold / 10));
        let pushed = self.forwarder.push_deadline(hold);
        self.problems.note("deadline", pushed.err());
    }

    /// Takes the programs off links that are gone, or that the settings do not name any more.
    fn detach(&mut self) {
        for name in self.forwarder.attached().into_keys().filter(|name| !self.world.links.contains_key(name)) {
            let detached = self.forwarder.detach(&name);
            self.problems.note(&format!("link {name}"), detached.err());
        }
    }

    fn attach(&mut self, now: Moment) {
        for link in self.world.links.values_mut().filter(|link| link.attached.is_none()) {
            let topic = format!("link {}", link.name);
            match self.forwarder.attach(link) {
                Ok(mode) => {
                    info!(link = link.name, ?mode, "programs attached");
                    link.attached = Some(mode);
                    self.problems.clear(&topic);
                    self.pace.no_later_than(now);
                }
                Err(error) => self.problems.note(&topic, Some(error)),
            }
        }
    }

    fn plan(&mut self, now: Moment) {
        self.detach();
        let started = Instant::now();
        self.election = election::plan(&self.world, now, &ElectionSettings::default());
        self.forwarding = forwarding::plan(&self.world, &self.election);
        self.metrics.plan_seconds.observe(started.elapsed().as_secs_f64());
        let started = Instant::now();
        let applied = self.forwarder.apply(&self.forwarding, now);
        self.metrics.apply_seconds.observe(started.elapsed().as_secs_f64());
        match applied {
            Ok(applied) => {
                if let Some(at) = applied.look_again {
                    self.pace.no_later_than(at);
                }
                for dropped in &applied.dropped {
                    warn!(?dropped, "an earlier table was given up for lack of room");
                }
                self.problems.replace("map", applied.refused.iter().map(ToString::to_string));
                self.problems.clear("maps");
                if !self.programmed {
                    info!(writes = applied.writes, "the maps are in step with the API server");
                }
                if !self.programmed {
                    self.programmed = true;
                    self.push_deadline(now);
                }
                self.metrics.synced();
            }
            Err(error) => {
                error!("cannot write the data path's maps: {error}");
                self.problems.note("maps", Some(error));
                self.programmed = false;
                self.pace.failed(now);
            }
        }
        self.problems.replace("refused", self.forwarding.refused.iter().map(ToString::to_string));
        self.beat();
        // Nobody is told of a VIP whose data path is not in place.
        if self.programmed {
            self.announcer.set(self.spots());
            self.holders.want(self.holder_writes());
        }
        self.allocate();
    }

    /// The node that holds the allocator's Lease gives out addresses.
    fn allocate(&mut self) {
        self.problems.replace("allocator", self.allocator.trouble());
        let settings = IpamSettings { classless: self.settings.classless };
        let plan = self.election.allocator.then(|| Arc::new(ipam::plan(&self.world, &settings)));
        self.allocator.set(plan);
    }

    fn spots(&self) -> BTreeMap<Spot, Port> {
        let mut spots = BTreeMap::new();
        for (ip, decision) in &self.election.vips {
            let IpAddr::V4(vip) = *ip else { continue };
            for link in &decision.announce {
                if let Some(known) = self.world.links.get(link) {
                    spots.insert(Spot { vip, link: link.clone() }, Port { index: known.index, mac: known.mac });
                }
            }
        }
        spots
    }

    fn holder_writes(&self) -> Vec<HolderWrite> {
        let me = &self.settings.node_name;
        let mut writes: Vec<HolderWrite> = self
            .election
            .vips
            .iter()
            .filter(|(_, decision)| decision.take_over || decision.release)
            .filter_map(|(ip, decision)| {
                Some(HolderWrite {
                    lease: names::vip_lease(*ip),
                    holder: decision.take_over.then(|| me.clone()),
                    term: decision.term,
                    resource_version: Some(self.world.claims.get(ip)?.resource_version.clone()),
                })
            })
            .collect();
        if let Some(term) = self.election.take_allocator {
            writes.push(HolderWrite {
                lease: names::ALLOCATOR_LEASE.to_owned(),
                holder: Some(me.clone()),
                term,
                resource_version: self.world.allocator.as_ref().map(|lease| lease.resource_version.clone()),
            });
        }
        writes
    }

    fn beat(&mut self) {
        let beat = Beat {
            facts: facts::of(&self.world, self.programmed),
            node_uid: self.world.nodes.get(&self.settings.node_name).map(|node| node.uid.clone()),
            again: self.heart.lost,
        };
        match &self.heart.beat {
            Some(sender) => {
                sender.send_if_modified(|old| {
                    let changed = *old != beat;
                    *old = beat;
                    changed
                });
            }
            None if self.programmed => {
                let (sender, receiver) = watch::channel(beat);
                let Settings { namespace, node_name, .. } = &self.settings;
                leases::spawn_heartbeat(self.heart.api.clone(), namespace, node_name, receiver);
                self.heart.beat = Some(sender);
            }
            None => {}
        }
    }

    fn scan(&mut self) {
        match self.forwarder.scan_flows() {
            Ok(scan) => {
                self.flows = scan;
                self.problems.clear("flows");
            }
            Err(error) => self.problems.note("flows", Some(error)),
        }
    }

    /// VIPs that this node leads.
    pub(super) fn led(&self) -> BTreeSet<IpAddr> {
        let led = self.election.vips.iter().filter(|(_, decision)| !decision.announce.is_empty());
        led.map(|(ip, _)| *ip).collect()
    }
}
