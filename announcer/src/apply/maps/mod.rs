//! The data path's executor: brings programs and maps to what the plan says. Synchronous; it never waits for the API.

mod adopt;
mod endpoints;
mod executor;
mod flow_key;
mod ledger;
mod links;
mod nodes;
mod placed;
mod scan;
mod services;
mod types;

use std::{collections::BTreeMap, os::fd::BorrowedFd, time::Duration};

use announcer_ebpf::abi::{Event, LinkEntry, MAX_LINKS, ip};

use executor::{Executor, Pass};
pub use flow_key::flow_key;
pub use ledger::LEDGER;
pub use types::{Applied, Counters, Dropped, FlowScan, Refusal, Settings};

use crate::{
    datapath::{self, Error, Maps, Pins, Sizes, attach},
    plan::forwarding::{Forwarding, Frontend},
    world::model::{AttachMode, Link, Moment},
};

/// This node's data path.
#[derive(Debug)]
pub struct Forwarder {
    settings: Settings,
    pins: Pins,
    executor: Executor<Maps>,
    /// Interface index of each link that this run has attached to.
    indices: BTreeMap<String, u32>,
}

impl Forwarder {
    /// Loads the maps, or adopts those that are pinned under `<bpffs>/v1` with all that they hold.
    ///
    /// # Errors
    /// No bpffs, missing capabilities, a kernel too old, another layout; each with its remedy.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let pins = Pins::new(&settings.bpffs);
        let maps = Maps::open(&pins, sizes(&settings))?;
        let mut executor = Executor::open(maps, &settings.run_dir)?;
        for name in pins.linked()? {
            if let Some(index) = attach::attached_to(&pins, &name) {
                executor.links.adopt_pinned(&name, index);
            }
        }
        Ok(Self { settings, pins, executor, indices: BTreeMap::new() })
    }

    /// Attaches the programs to a link of this thread's network namespace, or replaces those that an earlier run
    /// attached, without a gap. Nothing happens where this run has done so already and the link is the same.
    ///
    /// # Errors
    /// The link is gone, has another's XDP program, or takes none.
    pub fn attach(&mut self, link: &Link) -> Result<AttachMode, Error> {
        let entry = LinkEntry { mac: link.mac.0, ifindex: link.index, ..LinkEntry::default() };
        let Executor { links, store, ledger, .. } = &mut self.executor;
        let Some(slot) = links.slot(&link.name, entry, store, ledger)? else {
            return Err(Error::TooManyLinks { link: link.name.clone(), most: MAX_LINKS });
        };
        let earlier = links.mode(&link.name);
        if let (Some(mode), Some(index)) = (earlier, self.indices.get(&link.name))
            && *index == link.index
        {
            return Ok(mode);
        }
        let mode = attach::attach(&self.pins, sizes(&self.settings), slot, link, earlier)?;
        let Executor { links, ledger, .. } = &mut self.executor;
        links.set_attached(&link.name, mode, ledger)?;
        self.indices.insert(link.name.clone(), link.index);
        Ok(mode)
    }

    /// Takes the programs off a link; nothing happens where there are none.
    ///
    /// # Errors
    /// A pin cannot be removed.
    pub fn detach(&mut self, link: &str) -> Result<(), Error> {
        attach::detach(&self.pins, link)?;
        self.indices.remove(link);
        self.executor.links.remove(link, &mut self.executor.store)
    }

    /// Links that have the programs, those of an earlier run too, with their mode (native, where that is not known any
    /// more).
    #[must_use]
    pub fn attached(&self) -> BTreeMap<String, AttachMode> {
        let attached = self.executor.links.attached();
        attached.map(|(name, mode)| (name.clone(), mode.unwrap_or(AttachMode::Native))).collect()
    }

    /// Brings the maps to `plan`. What finds no place is refused and said in the answer; the rest is done. Leadership
    /// and nodes count only for links that are attached, so attach first.
    ///
    /// # Errors
    /// A system call on a map fails, or the ledger cannot be written. Applying again goes on where it stopped.
    pub fn apply(&mut self, plan: &Forwarding, now: Moment) -> Result<Applied, Error> {
        self.executor.apply(plan, now, datapath::ticks())
    }

    /// The data path goes on for `hold` from now without hearing from the agent.
    ///
    /// # Errors
    /// A system call on a map fails.
    pub fn push_deadline(&mut self, hold: Duration) -> Result<(), Error> {
        let deadline = (datapath::monotonic() + hold).as_nanos();
        self.executor.push_deadline(u64::try_from(deadline).unwrap_or(u64::MAX))
    }

    /// The deadline has passed, or none was ever set: nothing that the maps hold has effect, and it may be long outdated.
    #[must_use]
    pub fn has_lapsed(&self) -> bool {
        u128::from(self.executor.deadline()) <= datapath::monotonic().as_nanos()
    }

    /// Reads all counters.
    ///
    /// # Errors
    /// A system call on a map fails.
    pub fn counters(&self) -> Result<Counters, Error> {
        let executor = &self.executor;
        let by_vip = |(addr, vip): (&u32, &announcer_ebpf::abi::VipEntry)| {
            Ok((ip(*addr), executor.store.vip_counters(vip.index)?))
        };
        Ok(Counters {
            outcomes: executor.store.outcomes()?,
            vips: executor.vips.iter().map(by_vip).collect::<Result<_, Error>>()?,
            slots: executor.placed.slots(),
            tables: executor.placed.len(),
        })
    }

    /// Counts this node's flows, and which earlier tables they need. Call every few seconds: what nobody needs makes
    /// room in full lists.
    ///
    /// # Errors
    /// A system call on a map fails.
    pub fn scan_flows(&mut self) -> Result<FlowScan, Error> {
        self.executor.scan(datapath::ticks())
    }

    /// Readable when [`Self::next_event`] has one.
    #[must_use]
    pub fn events_fd(&self) -> BorrowedFd<'_> {
        self.executor.store.events_fd()
    }

    /// The next message of the programs.
    pub fn next_event(&mut self) -> Option<Event> {
        self.executor.store.next_event()
    }

    /// Tables in the list of `frontend`, the newest included; 0: it is not programmed.
    #[must_use]
    pub fn tables(&self, frontend: &Frontend) -> usize {
        let held = self.executor.services.get(&services::key(frontend));
        held.map_or(0, |held| 1 + usize::from(held.entry.earlier_len))
    }

    /// What it was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

fn sizes(settings: &Settings) -> Sizes {
    Sizes { flows: settings.flows, slots: settings.slots }
}

#[cfg(test)]
mod tests;
