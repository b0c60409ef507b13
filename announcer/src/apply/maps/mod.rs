//! The data path's executor: brings programs and maps to what the plan says. Synchronous; it never waits for the API.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    os::fd::BorrowedFd,
    path::PathBuf,
    time::Duration,
};

use announcer_ebpf::abi::{Event, Outcome, VipCounters};

use crate::{
    datapath::Error,
    plan::forwarding::{Forwarding, Frontend},
    world::model::{AttachMode, Link, Moment, ObjectName},
};

/// Where the data path lives and how large it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Directory on a bpffs, this agent's alone; made if it is missing.
    pub bpffs: PathBuf,
    /// Holds the ledger of assignments; made if it is missing.
    pub run_dir: PathBuf,
    /// This node's name.
    pub me: String,
    /// Entries of the flow tables.
    pub flows: u32,
    /// Slots of the arena of tables, 2 bytes each.
    pub slots: u32,
}

/// What one call of [`Forwarder::apply`] came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Map entries written or removed. 0: all was in place.
    pub writes: usize,
    /// When time alone next changes something; call again then.
    pub look_again: Option<Moment>,
    /// What could not be done; the rest was.
    pub refused: BTreeSet<Refusal>,
    /// Earlier tables given up with flows that only they led to.
    pub dropped: Vec<Dropped>,
}

/// Something that found no place in the data path, said in words for an Event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    #[error("map {map} is full ({most} entries): {what} is not served by this node; {remedy}")]
    Full { map: &'static str, most: u32, what: String, remedy: &'static str, service: Option<ObjectName> },
}

/// An earlier table that a full list had no room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    pub frontend: Frontend,
    /// Flows of this node that no other table leads to.
    pub flows: u64,
}

/// What the programs counted since they were first loaded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    /// In the order of [`Outcome::ALL`].
    pub outcomes: Vec<(Outcome, u64)>,
    pub vips: BTreeMap<Ipv4Addr, VipCounters>,
    /// Slots of the arena in use, and all.
    pub slots: [u32; 2],
    /// Distinct tables in use.
    pub tables: usize,
}

/// What a look at this node's flows showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowScan {
    /// Flows of this node's pods.
    pub flows: u64,
    /// Flows of which one packet was seen.
    pub half_open: u64,
    /// Flows by frontend.
    pub by_frontend: BTreeMap<Frontend, u64>,
}

/// This node's data path.
#[derive(Debug)]
pub struct Forwarder {
    settings: Settings,
}

impl Forwarder {
    /// Loads the maps, or adopts those that are pinned under `<bpffs>/v1` with all that they hold.
    ///
    /// # Errors
    /// No bpffs, missing capabilities, a kernel too old, another layout; each with its remedy.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings })
    }

    /// Attaches the programs to a link of this thread's network namespace, or replaces those that an earlier run
    /// attached, without a gap.
    ///
    /// # Errors
    /// The link is gone, has another's XDP program, or takes none.
    pub fn attach(&mut self, link: &Link) -> Result<AttachMode, Error> {
        Err(Error::NoLink { link: link.name.clone() })
    }

    /// Takes the programs off a link; nothing happens where there are none.
    ///
    /// # Errors
    /// A pin cannot be removed.
    pub fn detach(&mut self, _link: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Links that have the programs, with their mode.
    #[must_use]
    pub fn attached(&self) -> BTreeMap<String, AttachMode> {
        BTreeMap::new()
    }

    /// Brings the maps to `plan`. What finds no place is refused and said in the answer; the rest is done.
    ///
    /// # Errors
    /// A system call on a map fails, or the ledger cannot be written.
    pub fn apply(&mut self, _plan: &Forwarding, _now: Moment) -> Result<Applied, Error> {
        Ok(Applied::default())
    }

    /// The data path goes on for `hold` from now without hearing from the agent.
    ///
    /// # Errors
    /// A system call on a map fails.
    pub fn push_deadline(&mut self, _hold: Duration) -> Result<(), Error> {
        Ok(())
    }

    /// Reads all counters.
    ///
    /// # Errors
    /// A system call on a map fails.
    pub fn counters(&self) -> Result<Counters, Error> {
        Ok(Counters::default())
    }

    /// Counts this node's flows, and which earlier tables they need. Call every few seconds: what nobody needs makes
    /// room in full lists.
    ///
    /// # Errors
    /// A system call on a map fails.
    pub fn scan_flows(&mut self) -> Result<FlowScan, Error> {
        Ok(FlowScan::default())
    }

    /// Readable when [`Self::next_event`] has one.
    #[must_use]
    pub fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The next message of the programs.
    pub fn next_event(&mut self) -> Option<Event> {
        None
    }

    /// Tables in the list of `frontend`, the newest included; 0: it is not programmed.
    #[must_use]
    pub fn tables(&self, _frontend: &Frontend) -> usize {
        0
    }

    /// What it was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
