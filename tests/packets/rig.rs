//! The real object, loaded and run through `BPF_PROG_TEST_RUN`, with counters read around every packet.

use std::collections::BTreeMap;
use std::io;

use announcer_ebpf::abi::{Outcome, VipCounters, map, program};
use anyhow::{Context, Result, anyhow, bail, ensure};
use aya::maps::{Map, MapData, PerCpuArray};
use aya::programs::{Program, SchedClassifier, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};

/// Which program a packet is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `announcer_xdp`: a frame from the LAN.
    Xdp,
    /// `announcer_egress`: a frame on its way out.
    Egress,
}

/// What a program said of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Passed up the stack (XDP_PASS), or on to the next program or the wire (TC_ACT_OK, TCX_NEXT).
    Pass,
    Drop,
    /// Back out of the link that it came from (XDP_TX).
    Tx,
}

impl Verdict {
    fn of(hook: Hook, value: u32) -> Result<Self> {
        match (hook, value as i32) {
            (Hook::Xdp, 1) | (Hook::Egress, 2) => Ok(Self::Drop),
            (Hook::Xdp, 2) | (Hook::Egress, 0 | -1) => Ok(Self::Pass),
            (Hook::Xdp, 3) => Ok(Self::Tx),
            (hook, other) => bail!("{hook:?} program returned {other}, which is no verdict of ours"),
        }
    }
}

/// A frame after a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub verdict: Verdict,
    pub frame: Vec<u8>,
}

/// A loaded object with small maps of its own. Nothing of it is attached or pinned.
pub struct Rig {
    pub bpf: Ebpf,
    /// What the filter map holds, since its bits are set one by one.
    pub filter: Box<announcer_ebpf::abi::Filter>,
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rig").finish_non_exhaustive()
    }
}

/// The global that holds the link slot.
pub const LINK_GLOBAL: &str = "LINK";

/// Entries of the flow tables, unless a row needs the real sizes.
const FLOWS: u32 = 8_192;

/// Why this machine cannot run the programs, if so.
pub fn unavailable() -> Option<String> {
    if announcer::datapath::OBJECT.is_empty() {
        return Some("built without its eBPF programs: run `cargo xtask setup`, then build again".to_owned());
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    // Bits of linux/capability.h: CAP_NET_ADMIN, CAP_SYS_ADMIN (which implies the other two), CAP_PERFMON, CAP_BPF.
    let has = |bit: u32| effective & (1 << bit) != 0;
    let enough = has(12) && (has(21) || (has(38) && has(39)));
    (!enough).then(|| "needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN: run as root".to_owned())
}

impl Rig {
    /// Loads both programs for link slot `link`, with flow tables of [`FLOWS`] entries.
    pub fn load(link: u32) -> Result<Self> {
        Self::load_sized(link, FLOWS)
    }

    /// Loads both programs with flow tables of `flows` entries.
    pub fn load_sized(link: u32, flows: u32) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        for name in [map::FLOWS, map::HALF_OPEN, map::REVERSE, map::REVERSE_HALF] {
            loader.map_max_entries(name, flows);
        }
        loader.map_max_entries(map::VIP_COUNTERS, 64);
        loader.override_global(LINK_GLOBAL, &link, true);
        Self::load_with(loader, announcer::datapath::OBJECT)
    }

    /// Loads both programs of `object` as `loader` says, which sets [`LINK_GLOBAL`].
    pub fn load_with(mut loader: EbpfLoader<'_>, object: &[u8]) -> Result<Self> {
        let mut bpf = loader.load(object).context("parse the eBPF object and make its maps")?;
        let xdp: &mut Xdp = named(&mut bpf, program::XDP)?.try_into()?;
        xdp.load().context("load the XDP program")?;
        let egress: &mut SchedClassifier = named(&mut bpf, program::EGRESS)?.try_into()?;
        egress.load().context("load the egress program")?;
        Ok(Self { bpf, filter: Box::default() })
    }

    /// Runs one frame through a program. No counter is read.
    pub fn run(&self, hook: Hook, frame: &[u8]) -> Result<Ran> {
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::new() };
        let result = match (hook, self.bpf.program(name(hook))) {
            (Hook::Xdp, Some(Program::Xdp(xdp))) => xdp.test_run(options),
            (Hook::Egress, Some(Program::SchedClassifier(egress))) => egress.test_run(options),
            _ => bail!("the object has no program {}", name(hook)),
        };
        let result = result.with_context(|| format!("test run of {} bytes", frame.len()))?;
        out.truncate(result.data_size_out as usize);
        Ok(Ran { verdict: Verdict::of(hook, result.return_value)?, frame: out })
    }

    /// A handle of a map by its name.
    pub fn map<'a, M>(&'a mut self, name: &str) -> Result<M>
    where
        M: TryFrom<&'a mut Map>,
        M::Error: std::error::Error + Send + Sync + 'static,
    {
        let map = self.bpf.map_mut(name).ok_or_else(|| anyhow!("the object has no map {name}"))?;
        M::try_from(map).with_context(|| format!("map {name}"))
    }

    fn per_cpu<V: Pod>(&self, name: &str) -> Result<PerCpuArray<&MapData, V>> {
        let map = self.bpf.map(name).ok_or_else(|| anyhow!("the object has no map {name}"))?;
        PerCpuArray::try_from(map).with_context(|| format!("map {name}"))
    }

    /// The count of one outcome over all CPUs.
    pub fn outcome(&self, outcome: Outcome) -> Result<u64> {
        Ok(self.per_cpu::<u64>(map::OUTCOMES)?.get(&(outcome as u32), 0)?.iter().sum())
    }

    /// Every outcome that was counted, with its count over all CPUs.
    pub fn outcomes(&self) -> Result<BTreeMap<Outcome, u64>> {
        let counters = self.per_cpu::<u64>(map::OUTCOMES)?;
        let mut counted = BTreeMap::new();
        for outcome in Outcome::ALL {
            let count: u64 = counters.get(&(*outcome as u32), 0)?.iter().sum();
            if count > 0 {
                counted.insert(*outcome, count);
            }
        }
        Ok(counted)
    }

    /// The counters of a VIP's index over all CPUs.
    pub fn vip_counters(&self, index: u32) -> Result<VipCounters> {
        let mut sum = VipCounters::default();
        for cpu in self.per_cpu::<VipCounters>(map::VIP_COUNTERS)?.get(&index, 0)?.iter() {
            sum.forwarded_packets += cpu.forwarded_packets;
            sum.forwarded_bytes += cpu.forwarded_bytes;
            sum.delivered_packets += cpu.delivered_packets;
            sum.delivered_bytes += cpu.delivered_bytes;
            sum.replied_packets += cpu.replied_packets;
            sum.replied_bytes += cpu.replied_bytes;
            sum.answers += cpu.answers;
            sum.dropped += cpu.dropped;
        }
        Ok(sum)
    }
}

fn name(hook: Hook) -> &'static str {
    match hook {
        Hook::Xdp => program::XDP,
        Hook::Egress => program::EGRESS,
    }
}

fn named<'a>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program> {
    bpf.program_mut(name).ok_or_else(|| anyhow!("the object has no program {name}"))
}

/// CLOCK_MONOTONIC in nanoseconds, as the programs read it.
pub fn monotonic_ns() -> Result<u64> {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_err(io::Error::from)?;
    let (seconds, nanos) = (u64::try_from(time.tv_sec())?, u64::try_from(time.tv_nsec())?);
    ensure!(seconds > 0, "the monotonic clock stands");
    Ok(seconds * 1_000_000_000 + nanos)
}
