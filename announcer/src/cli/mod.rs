//! The commands of the binary.

mod cleanup;
mod show;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{
    config::{Flags, PathFlags, Settings},
    observe::control::path,
};

/// Announces LoadBalancer addresses of Kubernetes Services on bare metal and forwards their traffic in XDP.
#[derive(Debug, Parser)]
#[command(name = "announcer", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent of this node
    Agent(Flags),
    /// Show this node's agent: links, nodes, maps, problems
    Status(Ask),
    /// Show each address: who leads it, and since which term
    Vips(Ask),
    /// Show each Service: its path, nodes and endpoints
    Services(Ask),
    /// Remove every trace of announcer from this node
    Cleanup(cleanup::Cleanup),
}

/// Flags of the commands that ask the running agent.
#[derive(Debug, clap::Args)]
struct Ask {
    #[command(flatten)]
    paths: PathFlags,
    /// How the answer is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    #[default]
    Table,
    Json,
}

/// Runs the command of the command line; what went wrong is on standard error, with the remedy.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Agent(flags) => Settings::load(flags).map_err(Into::into).and_then(crate::agent::run),
        Command::Status(ask) => show::show(&ask, path::STATUS, table::status),
        Command::Vips(ask) => show::show(&ask, path::VIPS, |vips: &Vec<_>| table::vips(vips)),
        Command::Services(ask) => show::show(&ask, path::SERVICES, |services: &Vec<_>| table::services(services)),
        Command::Cleanup(cleanup) => cleanup.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("announcer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_shows_takes_an_output() {
        for command in ["status", "vips", "services", "cleanup"] {
            assert!(Cli::try_parse_from(["announcer", command, "--output", "json"]).is_ok(), "{command}");
            assert!(Cli::try_parse_from(["announcer", command, "-o", "table"]).is_ok(), "{command}");
        }
    }
}
