//! What a packet costs, by `BPF_PROG_TEST_RUN`: `announcer-tests bench datapath`.
//!
//! The method is that of `cases`: the kernel runs the program a million times on one CPU and reports whole nanoseconds a
//! packet; that is done many times, floor, control and case in turn, and the least and the median are printed. No figure
//! is printed that was not measured in the same run, goals and Katran's figures apart, which are marked as such.

mod cases;
mod measure;
mod report;

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::packets::rig;

/// What `announcer-tests bench` measures.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Nanoseconds a packet of the eBPF programs.
    Datapath(Options),
}

/// How it is measured and shown.
#[derive(Debug, Args)]
pub struct Options {
    /// Runs of each case.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Packets of a run.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// The CPU to stay on; default: the last one.
    #[arg(long)]
    cpu: Option<usize>,
    /// Only cases whose name contains this text.
    #[arg(long)]
    filter: Option<String>,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Runs a benchmark and prints its figures.
///
/// # Errors
/// The programs cannot be built or loaded, or did not do what the case is about.
pub fn run(command: &Command) -> Result<()> {
    let Command::Datapath(options) = command;
    if let Some(why) = rig::unavailable() {
        bail!("cannot measure: {why}");
    }
    let object = crate::objects::build("bench")?;
    let cpu = measure::pin(options.cpu)?;
    let mut rows = Vec::new();
    for case in cases::all() {
        if options.filter.as_ref().is_none_or(|filter| case.name.contains(filter.as_str())) {
            eprintln!("measuring: {}", case.name);
            rows.push(measure::case(&object, &case, options.runs, options.repeat)?);
        }
    }
    let report = report::Report::new(cpu, options.runs, options.repeat, rows, report::programs(&object)?);
    match options.output {
        Output::Table => report.print(),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(())
}
