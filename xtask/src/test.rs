//! `cargo xtask test`: the parts one after the other, a table of them, and one closing line for all.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use crate::setup::{self, Need};
use crate::tally::Tally;
use crate::workspace::{Profile, Workspace};
use crate::{build, lab, lint, progress};

/// A part of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Formatting, clippy, dependencies
    Lint,
    /// Every crate's own tests; no root
    Unit,
    /// The programs in the kernel, packet by packet (BPF_PROG_TEST_RUN)
    Packets,
    /// Agents, a real API server and clients in network namespaces; brings `packets` along
    Lab,
}

impl Part {
    const ALL: [Self; 4] = [Self::Lint, Self::Unit, Self::Packets, Self::Lab];

    fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Unit => "unit",
            Self::Packets => "packets",
            Self::Lab => "lab",
        }
    }

    fn needs(self) -> &'static [Need] {
        match self {
            Self::Lint => &[Need::Build, Need::Lint],
            Self::Unit | Self::Packets => &[Need::Build],
            Self::Lab => &[Need::Build, Need::Kube, Need::Lab],
        }
    }

    fn needs_root(self) -> bool {
        matches!(self, Self::Packets | Self::Lab)
    }
}

/// The parts to run, in their order.
fn chosen(named: &[Part]) -> Vec<Part> {
    let wanted = |part: &Part| {
        named.is_empty() || named.contains(part) || (*part == Part::Packets && named.contains(&Part::Lab))
    };
    Part::ALL.into_iter().filter(wanted).collect()
}

/// Runs the parts named, or all. False when a test failed.
///
/// # Errors
/// Not root where a part needs it, or set-up fails.
pub(crate) fn run(workspace: &Workspace, named: &[Part], filter: Option<&str>) -> Result<bool> {
    let parts = chosen(named);
    if parts.iter().any(|part| part.needs_root()) {
        setup::require_root("cargo xtask test")?;
    }
    let needs: Vec<Need> = parts.iter().flat_map(|part| part.needs()).copied().collect();
    let mut rows = Vec::new();
    let started = Instant::now();
    setup::run(workspace, &needs)?;
    rows.push(Row { name: "set-up", tally: None, time: started.elapsed() });
    let mut built = None;
    for part in parts {
        if part.needs_root() && built.is_none() {
            let started = Instant::now();
            let tally = counted(build::for_tests(workspace, Profile::Debug));
            built = Some(tally.failed == 0);
            rows.push(Row { name: "build", tally: Some(tally), time: started.elapsed() });
        }
        if part.needs_root() && built == Some(false) {
            // The build's own failure is counted; its cases never ran.
            continue;
        }
        eprintln!("--- {}", part.name());
        let started = Instant::now();
        let tally = match part {
            Part::Lint => lint::checks(workspace),
            Part::Unit => unit(workspace)?,
            Part::Packets | Part::Lab => cases(workspace, part, filter)?,
        };
        rows.push(Row { name: part.name(), tally: Some(tally), time: started.elapsed() });
    }
    Ok(print_summary(&rows).failed == 0)
}

fn unit(workspace: &Workspace) -> Result<Tally> {
    let mut command = workspace.cargo();
    command.args(["test", "--locked", "--workspace", "--no-fail-fast"]);
    let mut tally = Tally::default();
    let status = progress::stream(&mut command, |line| {
        if let Some(more) = Tally::from_cargo_line(line) {
            tally += more;
        }
        true
    })?;
    if !status.success() && tally.failed == 0 {
        // It did not compile, or a test took its whole process with it.
        tally += Tally::ONE_FAILED;
    }
    Ok(tally)
}

fn cases(workspace: &Workspace, part: Part, filter: Option<&str>) -> Result<Tally> {
    let mut command = lab::announcer_tests(workspace, Profile::Debug)?;
    command.args(["run", part.name()]);
    if let Some(filter) = filter {
        command.args(["--filter", filter]);
    }
    let mut closing = None;
    let status = progress::stream(&mut command, |line| {
        let tally = Tally::from_closing_line(line);
        closing = tally.or(closing);
        // The closing line of the whole run is the only one of its form.
        tally.is_none()
    })?;
    Ok(match closing {
        Some(tally) if status.success() || tally.failed > 0 => tally,
        other => {
            eprintln!("announcer-tests run {} ended with {status} without saying which case failed", part.name());
            let mut tally = other.unwrap_or_default();
            tally += Tally::ONE_FAILED;
            tally
        }
    })
}

fn counted(done: Result<()>) -> Tally {
    match done {
        Ok(()) => Tally::ONE_PASSED,
        Err(error) => {
            eprintln!("{error:#}");
            Tally::ONE_FAILED
        }
    }
}

struct Row {
    name: &'static str,
    /// None: nothing that counts as a test.
    tally: Option<Tally>,
    time: Duration,
}

/// Prints the table and the closing line; returns the sum.
fn print_summary(rows: &[Row]) -> Tally {
    println!("\n{:<10}{:>8}{:>8}{:>9}{:>16}", "part", "passed", "failed", "skipped", "time");
    let mut sum = Tally::default();
    for Row { name, tally, time } in rows {
        let time = progress::elapsed(*time);
        match tally {
            Some(tally) => {
                println!("{name:<10}{:>8}{:>8}{:>9}{time:>16}", tally.passed, tally.failed, tally.skipped);
                sum += *tally;
            }
            None => println!("{name:<10}{:>8}{:>8}{:>9}{time:>16}", "-", "-", "-"),
        }
    }
    let total = progress::elapsed(rows.iter().map(|row| row.time).sum());
    println!("{:<10}{:>8}{:>8}{:>9}{total:>16}\n", "all", sum.passed, sum.failed, sum.skipped);
    println!("{sum}");
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_every_part_runs_and_the_quick_ones_first() {
        assert_eq!(chosen(&[]), Part::ALL);
    }

    #[test]
    fn the_lab_brings_the_packet_tables_along() {
        assert_eq!(chosen(&[Part::Lab]), [Part::Packets, Part::Lab]);
    }

    #[test]
    fn the_unit_tests_need_no_root() {
        assert!(chosen(&[Part::Unit, Part::Lint]).iter().all(|part| !part.needs_root()));
    }
}
