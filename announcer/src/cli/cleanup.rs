//! `announcer cleanup`: takes away what agents left on this node.

use serde::Serialize;

use super::{Output, show};
use crate::{agent::lock::RunDirLock, config::PathFlags};

#[derive(Debug, clap::Args)]
pub(super) struct Cleanup {
    #[command(flatten)]
    paths: PathFlags,
    /// How the answer is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    /// Wait to be stopped when done: for a DaemonSet, whose containers must not end
    #[arg(long)]
    wait: bool,
}

/// What was found and removed.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    /// Paths.
    removed: Vec<String>,
}

impl Cleanup {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let paths = self.paths.load()?;
        // A running agent would put everything back.
        let _lock = RunDirLock::take(&paths.run_dir)?;
        let removed = Removed::default();
        show::print(self.output, &removed, |removed| {
            if removed.removed.is_empty() {
                "Nothing to remove: this node has no trace of announcer.".to_owned()
            } else {
                removed.removed.iter().map(|path| format!("removed {path}\n")).collect()
            }
        })?;
        while self.wait {
            std::thread::park();
        }
        Ok(())
    }
}
