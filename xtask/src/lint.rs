//! Checks that need no test to run.

use std::process::Command;

use anyhow::{Result, bail};

use crate::progress;
use crate::setup::{self, Need};
use crate::tally::Tally;
use crate::workspace::Workspace;

/// `cargo xtask lint`
///
/// # Errors
/// A check fails.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::run(workspace, &[Need::Build, Need::Lint])?;
    let tally = checks(workspace);
    if tally.failed > 0 {
        bail!("{tally}");
    }
    Ok(())
}

/// Runs every check, also when one fails.
pub(crate) fn checks(workspace: &Workspace) -> Tally {
    let mut fmt = workspace.cargo();
    fmt.args(["fmt", "--all", "--check"]);
    let mut clippy = workspace.cargo();
    clippy.args(["clippy", "--locked", "--workspace", "--all-targets", "--keep-going", "--", "-D", "warnings"]);
    let mut deny = Command::new(workspace.tools().join("bin/cargo-deny"));
    deny.current_dir(workspace.root()).args([
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]);
    let mut tally = Tally::default();
    for (label, mut command) in [
        ("cargo fmt --all --check", fmt),
        ("cargo clippy --all-targets -D warnings", clippy),
        ("cargo deny check bans licenses sources", deny),
    ] {
        tally += match progress::step(label, &mut command) {
            Ok(()) => Tally::ONE_PASSED,
            Err(error) => {
                eprintln!("{error:#}");
                Tally::ONE_FAILED
            }
        };
    }
    tally
}
