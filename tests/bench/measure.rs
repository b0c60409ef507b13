//! Runs of a case beside its floor and its control.

use announcer_ebpf::abi::Outcome;
use announcer_ebpf::bench;
use anyhow::{Context, Result, bail, ensure};
use aya::EbpfLoader;
use aya::maps::Array;
use aya::programs::{Program, SchedClassifier, TestRun, TestRunOptions, Xdp};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

use super::cases::Case;
use crate::packets::rig::{Hook, LINK_GLOBAL, Rig};
use crate::packets::scene::LINK;

/// Nanoseconds a packet over all runs of one program, as the kernel reports them: whole.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Figure {
    pub min: u64,
    pub median: u64,
}

/// A case, measured.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub name: &'static str,
    /// A program that only says its verdict.
    pub floor: Figure,
    /// A program that only puts the frame back.
    pub control: Figure,
    /// The program, and the frame put back.
    pub case: Figure,
    /// Most nanoseconds by the project's goal.
    pub goal: Option<u64>,
    /// Katran's figure for the like (measured earlier, on another day).
    pub katran: Option<&'static str>,
}

impl Row {
    /// The median without the cost of putting the frame back, which no real packet pays.
    pub(super) fn net(&self) -> u64 {
        self.case.median.saturating_sub(self.control.median.saturating_sub(self.floor.median))
    }
}

/// Keeps this thread on one CPU and returns which.
pub(super) fn pin(cpu: Option<usize>) -> Result<usize> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let cpu = cpu.or(last).context("this process may run on no CPU")?;
    let mut one = CpuSet::new();
    one.set(cpu)?;
    sched_setaffinity(this, &one).with_context(|| format!("CPU {cpu} cannot be used: name another by --cpu"))?;
    Ok(cpu)
}

/// Measures a case: floor, control and case in turn, `runs` times, after one run of each that is not counted.
pub(super) fn case(object: &[u8], case: &Case, runs: u32, repeat: u32) -> Result<Row> {
    let mut rig = load(object, case.vary)?;
    rig.set_up()?;
    (case.arrange)(&mut rig).with_context(|| format!("arranging {:?}", case.name))?;
    let mut frame = (case.frame)();
    frame.resize(frame.len().max(60), 0);
    put_back(&mut rig, &frame)?;
    let programs = match case.hook {
        Hook::Xdp => [announcer_ebpf::abi::program::PASS, bench::program::XDP_CONTROL, bench::program::XDP],
        Hook::Egress => [bench::program::EGRESS_FLOOR, bench::program::EGRESS_CONTROL, bench::program::EGRESS],
    };
    let mut times: [Vec<u64>; 3] = Default::default();
    for counted in 0..=runs {
        for (program, times) in programs.iter().zip(&mut times) {
            let before = rig.outcome(case.outcome)?;
            let nanos = test_run(&rig, program, &frame, repeat)?;
            if *program == programs[2] {
                check(&rig, case, rig.outcome(case.outcome)? - before, repeat)?;
            }
            if counted > 0 {
                times.push(nanos);
            }
        }
    }
    let [floor, control, measured] = times.map(figure);
    Ok(Row { name: case.name, floor, control, case: measured, goal: case.goal, katran: case.katran })
}

/// Loads the object with maps of the real sizes.
pub(super) fn load(object: &[u8], vary: u32) -> Result<Rig> {
    let mut loader = EbpfLoader::new();
    loader.override_global(bench::VARY, &vary, true);
    loader.override_global(LINK_GLOBAL, &LINK, true);
    let mut rig = Rig::load_with(loader, object)?;
    for name in [announcer_ebpf::abi::program::PASS, bench::program::XDP, bench::program::XDP_CONTROL] {
        let program: &mut Xdp = rig.bpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
        program.load().with_context(|| format!("loading {name}"))?;
    }
    for name in [bench::program::EGRESS, bench::program::EGRESS_CONTROL, bench::program::EGRESS_FLOOR] {
        let program = rig.bpf.program_mut(name).with_context(|| format!("no program {name}"))?;
        let program: &mut SchedClassifier = program.try_into()?;
        program.load().with_context(|| format!("loading {name}"))?;
    }
    Ok(rig)
}

fn put_back(rig: &mut Rig, frame: &[u8]) -> Result<()> {
    let mut head = [0; 7];
    for (word, bytes) in head.iter_mut().zip(frame.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    let value = bench::BenchFrame { head, counter: 0, _pad: 0 };
    Ok(rig.map::<Array<_, bench::BenchFrame>>(bench::MAP)?.set(0, value, 0)?)
}

/// Average nanoseconds of `repeat` packets.
fn test_run(rig: &Rig, name: &str, frame: &[u8], repeat: u32) -> Result<u64> {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
    let result = match rig.bpf.program(name) {
        Some(Program::Xdp(program)) => program.test_run(options),
        Some(Program::SchedClassifier(program)) => program.test_run(options),
        _ => bail!("the object has no program {name}"),
    };
    let result = result.with_context(|| format!("test run of {name}"))?;
    Ok(u64::try_from(result.duration.as_nanos())?)
}

/// A figure counts only if every packet of the run had the outcome that the case is about.
fn check(rig: &Rig, case: &Case, had: u64, repeat: u32) -> Result<()> {
    // LRU tables may drop one entry for another under a flood; all else is exact.
    ensure!(
        had == u64::from(repeat),
        "{:?}: {had} of {repeat} packets were {}; counted in all: {:?}",
        case.name,
        case.outcome.name(),
        rig.outcomes()?.iter().map(|(outcome, count)| (Outcome::name(*outcome), *count)).collect::<Vec<_>>()
    );
    Ok(())
}

fn figure(mut times: Vec<u64>) -> Figure {
    times.sort_unstable();
    Figure { min: times[0], median: times[times.len() / 2] }
}
