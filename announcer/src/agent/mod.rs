//! The agent: messages make the World, plans are made of it, the difference is written.

pub mod lock;

use crate::config::Settings;

/// Runs the agent until it is told to end.
///
/// # Errors
/// What keeps it from starting, with the remedy.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    let _lock = lock::RunDirLock::take(&settings.paths.run_dir)?;
    Ok(())
}
