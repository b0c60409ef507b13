use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::PathBuf,
};

use announcer_ebpf::abi::{Outcome, VipCounters};

use crate::{
    plan::forwarding::Frontend,
    world::model::{Moment, ObjectName},
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

/// What one call of [`super::Forwarder::apply`] came to.
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
