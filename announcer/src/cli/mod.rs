//! The commands of the binary.

mod cleanup;
mod show;
mod table;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

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
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match cli.command {
        Command::Agent(flags) => Settings::load(flags).map_err(Into::into).and_then(crate::agent::run),
        Command::Status(ask) => show::show(&ask, path::STATUS, table::status),
        Command::Vips(ask) => show::show(&ask, path::VIPS, |vips: &Vec<_>| table::vips(vips)),
        Command::Services(ask) => show::show(&ask, path::SERVICES, |services: &Vec<_>| table::services(services)),
        Command::Cleanup(cleanup) => cleanup.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("announcer: {}", message(&error));
            ExitCode::FAILURE
        }
    }
}

/// The command line, to which an empty variable of the environment is as good as none.
fn command() -> clap::Command {
    let unset_if_empty = |arg: clap::Arg| match arg.get_env().map(std::env::var_os) {
        Some(Some(value)) if value.is_empty() => arg.env(None::<&str>),
        _ => arg,
    };
    Cli::command().mut_subcommands(|command| command.mut_args(unset_if_empty))
}

/// An error with its causes, each said once: most of our messages name their cause themselves.
fn message(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| {
        let cause = cause.to_string();
        match (said.is_empty(), said.contains(&cause)) {
            (true, _) => cause,
            (_, true) => said,
            _ => format!("{said}: {cause}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_that_the_message_names_is_not_said_twice() {
        let error = || std::io::Error::other("no such device");
        assert_eq!(
            message(&Err::<(), _>(error()).context("cannot attach").unwrap_err()),
            "cannot attach: no such device"
        );
        let named = Err::<(), _>(error()).context("cannot attach (no such device): plug it in").unwrap_err();
        assert_eq!(message(&named), "cannot attach (no such device): plug it in");
    }

    #[test]
    fn every_command_that_shows_takes_an_output() {
        for command in ["status", "vips", "services", "cleanup"] {
            assert!(Cli::try_parse_from(["announcer", command, "--output", "json"]).is_ok(), "{command}");
            assert!(Cli::try_parse_from(["announcer", command, "-o", "table"]).is_ok(), "{command}");
        }
    }
}
