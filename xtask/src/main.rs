//! `cargo xtask …`: everything that one does in this repository, each from nothing and quick when repeated.

mod build;
mod crds;
mod kube;
mod lab;
mod lint;
mod progress;
mod setup;
mod tally;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::Need;
use crate::workspace::{Profile, Workspace};

/// announcer's own commands. Start with `cargo xtask demo`.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what builds and tests need and this machine has not
    Setup,
    /// Build the eBPF object alone
    BuildEbpf {
        /// Compile debug lines into the packet path
        #[arg(long)]
        log: bool,
    },
    /// Build the agent, eBPF inside: target/{debug,release}/announcer
    Build {
        /// Optimised, in target/release
        #[arg(long)]
        release: bool,
    },
    /// Build kube-apiserver and etcd unless they are there, and print their paths, one a line
    KubeApiserver,
    /// Show the whole path: a cluster in network namespaces, a client, a leader killed
    Demo {
        /// Leave the lab up and print the commands to look around
        #[arg(long, conflicts_with = "clean")]
        keep: bool,
        /// Remove a lab that was kept
        #[arg(long)]
        clean: bool,
    },
    /// Run every test, or the parts named
    Test {
        /// Which parts; all when none is named
        parts: Vec<test::Part>,
        /// Only packet and lab cases whose name contains this
        #[arg(long)]
        filter: Option<String>,
    },
    /// Measure; see the README for what the figures mean
    Bench {
        /// What to measure
        #[arg(value_enum, default_value_t = lab::Bench::Datapath)]
        what: lab::Bench,
        /// For the benchmark itself, after `--`: see `-- --help`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Check formatting, clippy's lints, licences and duplicate dependencies
    Lint,
    /// Write deploy/crds from the Rust types
    Crds,
}

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("cargo xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    let workspace = Workspace::find();
    match command {
        Command::Setup => setup::run(&workspace, &Need::ALL),
        Command::BuildEbpf { log } => build::ebpf(&workspace, log),
        Command::Build { release } => build::agent(&workspace, Profile::from_flag(release)),
        Command::KubeApiserver => kube::print_paths(&workspace),
        Command::Demo { keep, clean } => lab::demo(&workspace, keep, clean),
        // Its closing line is the last word, so what failed is told before.
        Command::Test { parts, filter } => {
            let passed = test::run(&workspace, &parts, filter.as_deref())?;
            return Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Bench { what, arguments } => lab::bench(&workspace, what, &arguments),
        Command::Lint => lint::run(&workspace),
        Command::Crds => crds::write(&workspace),
    }?;
    Ok(ExitCode::SUCCESS)
}
