//! What runs `announcer-tests`: the demo, the benchmarks, and the cases for `test`.

use std::process::Command;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::setup::{self, Need};
use crate::workspace::{Profile, Workspace};
use crate::{build, kube};

/// What can be measured.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Bench {
    /// Nanoseconds a packet, by BPF_PROG_TEST_RUN
    Datapath,
}

/// `cargo xtask demo`
///
/// # Errors
/// Not root, a build fails, or the demo does.
pub(crate) fn demo(workspace: &Workspace, keep: bool, clean: bool) -> Result<()> {
    setup::require_root("cargo xtask demo")?;
    // Removing needs nothing but the program that made it.
    if !(clean && workspace.binary(Profile::Debug, "announcer-tests").is_file()) {
        setup::run(workspace, &[Need::Build, Need::Kube, Need::Lab])?;
        build::for_tests(workspace, Profile::Debug)?;
    }
    let mut command = announcer_tests(workspace, Profile::Debug)?;
    command.arg("demo");
    if keep {
        command.arg("--keep");
    }
    if clean {
        command.arg("--clean");
    }
    run(&mut command)
}

/// `cargo xtask bench`
///
/// # Errors
/// Not root, a build fails, or the measurement does.
pub(crate) fn bench(workspace: &Workspace, what: Bench, arguments: &[String]) -> Result<()> {
    setup::require_root("cargo xtask bench")?;
    setup::run(workspace, &[Need::Build])?;
    build::for_tests(workspace, Profile::Release)?;
    let mut command = announcer_tests(workspace, Profile::Release)?;
    let what = match what {
        Bench::Datapath => "datapath",
    };
    command.args(["bench", what]).args(arguments);
    run(&mut command)
}

/// `announcer-tests` with what it has to know of the builds.
///
/// # Errors
/// The caller's directory of API server binaries lacks one.
pub(crate) fn announcer_tests(workspace: &Workspace, profile: Profile) -> Result<Command> {
    let mut command = Command::new(workspace.binary(profile, "announcer-tests"));
    command
        .current_dir(workspace.root())
        .env("ANNOUNCER_BIN", workspace.binary(profile, "announcer"))
        .env(kube::ASSETS, kube::assets(workspace)?);
    Ok(command)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().display());
    }
    Ok(())
}
