//! `announcer-tests`: runs the cases, the demo and the benchmarks. `cargo xtask test|demo|bench` builds what it needs and
//! calls it.

use std::{path::PathBuf, process::ExitCode};

use announcer_tests::{
    bench, cases, demo,
    lab::{self, RunId},
    registry, runner,
};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Tests, demo and benchmarks of announcer. Start them by `cargo xtask`, which builds what they need.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the cases; the last line is `N passed, N failed, N skipped`.
    Run(runner::Options),
    /// Measure and print the figures.
    Bench {
        #[command(subcommand)]
        what: bench::Command,
    },
    /// Show the whole path: a cluster in network namespaces, a client, a leader killed and one cut off.
    Demo(demo::Options),
    /// Run named cases in this process (the runner starts these).
    #[command(hide = true)]
    Case {
        #[arg(long)]
        run: RunId,
        #[arg(long)]
        logs: PathBuf,
        #[arg(long)]
        keep: bool,
        names: Vec<String>,
    },
    /// Remove a lab when its starter is gone (the lab starts it).
    #[command(hide = true)]
    Guard {
        #[arg(long)]
        run: RunId,
    },
    /// Make a lab and wait to be killed (a case starts it).
    #[command(hide = true)]
    HoldLab {
        #[arg(long)]
        run: RunId,
    },
    /// The server in a pod (the lab starts it).
    #[command(hide = true)]
    Pod {
        #[arg(long)]
        name: String,
        #[arg(long)]
        port: u16,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Run(options) => {
            if !runner::run(registry(), &options)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Bench { what } => bench::run(&what)?,
        Command::Demo(options) => demo::demo(&options)?,
        Command::Case { run, logs, keep, names } => runner::run_child(registry(), run, keep, &logs, &names)?,
        Command::HoldLab { run } => cases::hold_lab(run)?,
        Command::Guard { run } => lab::guard(run),
        Command::Pod { name, port } => lab::traffic::server::serve(&name, port)?,
    }
    Ok(ExitCode::SUCCESS)
}
