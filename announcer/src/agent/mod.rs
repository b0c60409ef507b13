//! The agent: messages make the World, plans are made of it, the difference is written.
//!
//! One loop owns the World, the plans and the data path's maps, so nothing is locked. What may wait (the API server,
//! clients of the metrics, frames to send) runs in tasks of its own, fed with what is wanted now. Nothing here undoes
//! the data path when the agent ends, however it ends: the next agent adopts it.

mod checks;
mod claims;
mod clock;
mod events;
mod facts;
pub mod lock;
mod pace;
mod problems;
mod report;
mod start;
mod state;
mod turn;

use std::{io::IsTerminal, time::Duration};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

/// How long tasks may take to end after the loop has.
const FAREWELL: Duration = Duration::from_millis(300);

/// Runs the agent until it is told to end.
///
/// # Errors
/// What keeps it from starting or from going on, with the remedy.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    log_to_stderr(settings.log_format);
    end_at_panic();
    let lock = lock::RunDirLock::take(&settings.paths.run_dir)?;
    checks::node()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .context("cannot start the agent's threads")?;
    let outcome = runtime.block_on(start::run(settings));
    // Writes under way are not waited for: each is safe to interrupt and is made again by the next agent.
    runtime.shutdown_timeout(FAREWELL);
    drop(lock);
    outcome
}

/// What is logged: `ANNOUNCER_LOG` in the form of tracing's filters; by default, what an operator wants to know (the
/// client's own line about each failed call stays out: the agent says the same with the consequence).
fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_env("ANNOUNCER_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,kube_client::client::builder=off"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second initialisation happens in tests only, and the first one serves.
    let _set_before = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}

/// A panic anywhere ends the process: an agent with a part missing would look alive. The data path stays.
fn end_at_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        eprintln!(
            "announcer: this is a bug, please report it with the lines above; the data path goes on until the agent is \
             back or the hold time ends"
        );
        std::process::exit(101);
    }));
}
