//! What the lab's processes wrote, saved before the lab goes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::RunId;

static SAVE_TO: OnceLock<PathBuf> = OnceLock::new();

/// Labs of this process that are dropped leave their logs in `directory`.
pub fn save_on_drop(directory: &Path) {
    let _ = SAVE_TO.set(directory.to_owned());
}

/// Copies the agents' logs of a lab that is about to be removed.
pub fn save(run: RunId, directory: &Path) {
    for path in agents(&run.directory()) {
        if let Some(name) = path.file_name().and_then(|n| n.to_str()) {
            let _ = fs::copy(&path, directory.join(format!("{}-{name}", run.number())));
        }
    }
}

pub(super) fn save_dropped(run: RunId) {
    if let Some(directory) = SAVE_TO.get() {
        save(run, directory);
    }
}

/// Logs of agents in a directory; with a run's number before the name where they were saved.
#[must_use]
pub fn agents(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|e| e == "log")
                && path.file_stem().is_some_and(|n| n.to_string_lossy().contains("agent-"))
        })
        .collect();
    found.sort();
    found
}
