//! `cargo xtask crds`: the agent's test that compares deploy/crds with the Rust types can also write them.

use anyhow::Result;

use crate::progress;
use crate::workspace::Workspace;

/// Writes deploy/crds.
///
/// # Errors
/// The types do not compile, or a file cannot be written.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["test", "--locked", "--package", "announcer", "--test", "crds"]).env("ANNOUNCER_WRITE_CRDS", "1");
    progress::step("writing deploy/crds", &mut command)
}
