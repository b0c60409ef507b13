//! Builds of the workspace's own binaries.

use anyhow::{Result, anyhow};

use crate::progress;
use crate::setup::{self, Need};
use crate::toolchain;
use crate::workspace::{Profile, Workspace};

/// `cargo xtask build-ebpf`
///
/// # Errors
/// No toolchain, or the programs do not build.
pub(crate) fn ebpf(workspace: &Workspace, log: bool) -> Result<()> {
    setup::run(workspace, &[Need::Build])?;
    let toolchain = toolchain::find(workspace.root()).map_err(|missing| anyhow!("{missing}"))?;
    eprintln!("eBPF programs: compiled with {}", toolchain.origin);
    let object =
        toolchain.build(workspace.root(), if log { &["log"] } else { &[] }).map_err(|message| anyhow!(message))?;
    println!("{}", object.display());
    Ok(())
}

/// `cargo xtask build`
///
/// # Errors
/// It does not build.
pub(crate) fn agent(workspace: &Workspace, profile: Profile) -> Result<()> {
    setup::run(workspace, &[Need::Build])?;
    cargo_build(workspace, profile, &["announcer"])?;
    println!("{}", workspace.binary(profile, "announcer").display());
    Ok(())
}

/// The agent and the program that tests it, with one set of features, so that they share their dependencies.
///
/// # Errors
/// They do not build.
pub(crate) fn for_tests(workspace: &Workspace, profile: Profile) -> Result<()> {
    cargo_build(workspace, profile, &["announcer", "announcer-tests"])
}

fn cargo_build(workspace: &Workspace, profile: Profile, packages: &[&str]) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["build", "--locked"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let label = match profile {
        Profile::Debug => format!("building {}", packages.join(", ")),
        Profile::Release => {
            command.arg("--release");
            format!("building {} (optimised)", packages.join(", "))
        }
    };
    progress::step(&label, &mut command)
}
