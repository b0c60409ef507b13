//! The sources of Rust's `core`, which is compiled for BPF with the programs.

use std::process::Command;

use anyhow::{Result, bail};

use super::apt::{Apt, find_program};
use crate::progress;
use crate::toolchain;
use crate::workspace::Workspace;

/// A compiler with its sources from the distribution, where rustup's server is out of reach.
const DEBIAN_RUST: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Makes sure that one compiler has its library sources; tries what changes least first.
///
/// # Errors
/// None of the ways works.
pub(crate) fn ensure(workspace: &Workspace, apt: &mut Apt) -> Result<bool> {
    if is_there() {
        return Ok(false);
    }
    if find_program("rustup").is_some() {
        eprintln!("set-up installs rust-src into the active Rust toolchain");
        if add_component(workspace, None) && is_there() {
            return Ok(true);
        }
        if nightly_is_installed() {
            eprintln!("set-up installs rust-src into the nightly Rust toolchain instead");
            if add_component(workspace, Some("nightly")) && is_there() {
                return Ok(true);
            }
        }
    }
    eprintln!("set-up takes Debian's compiler for the eBPF programs instead");
    apt.install(&DEBIAN_RUST.map(String::from))?;
    if let Err(missing) = toolchain::compiler() {
        let looked: Vec<String> = missing.watch().iter().map(|path| path.display().to_string()).collect();
        bail!("{missing}; looked for {}. Run: rustup component add rust-src", looked.join(", "));
    }
    Ok(true)
}

fn is_there() -> bool {
    toolchain::compiler().is_ok()
}

fn nightly_is_installed() -> bool {
    let found = Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]).output();
    found.is_ok_and(|output| output.status.success())
}

fn add_component(workspace: &Workspace, toolchain: Option<&str>) -> bool {
    let mut command = Command::new("rustup");
    command.current_dir(workspace.root()).args(["component", "add", "rust-src"]);
    if let Some(toolchain) = toolchain {
        command.args(["--toolchain", toolchain]);
    }
    let done = progress::step("rustup component add rust-src", &mut command);
    if let Err(error) = &done {
        eprintln!("{error:#}");
    }
    done.is_ok()
}
