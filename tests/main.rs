//! `announcer-tests`: runs the cases, the demo and the benchmarks. `cargo xtask test|demo|bench` builds what it needs and
//! calls it.

use std::{path::PathBuf, process::ExitCode};

use announcer_tests::{lab::RunId, registry, runner};
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
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Run(options) => {
            Ok(if runner::run(registry(), &options)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Case { run, logs, keep, names } => {
            runner::run_child(registry(), run, keep, &logs, &names)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
