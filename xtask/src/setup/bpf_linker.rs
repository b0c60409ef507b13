//! bpf-linker: links the programs' LLVM bitcode. Its LLVM must be at least the compiler's, or it cannot read it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use super::apt::Apt;
use super::cargo_tool::{Installed, build_quickly};
use crate::progress;
use crate::toolchain;
use crate::workspace::Workspace;

const VERSION: &str = "0.13.0";
/// The versions of LLVM that this bpf-linker can be built with.
const LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// The package of LLVM to install, if none that fits is there.
///
/// # Errors
/// No LLVM that fits the compiler is to be had.
pub(crate) fn missing_package(apt: &Apt) -> Result<Option<String>> {
    let compiler = active_compiler();
    let needed = compilers_llvm(&compiler)?;
    if installed_llvm(needed).is_some() {
        return Ok(None);
    }
    // Without any list yet, the compiler's own version is the best guess.
    let version = fitting(needed)?.find(|version| apt.knows(&package(*version))).unwrap_or(needed.max(*LLVM.start()));
    Ok(Some(package(version)))
}

/// Makes sure that a bpf-linker is there whose LLVM reads what the compiler writes.
///
/// # Errors
/// It cannot be built.
pub(crate) fn ensure(workspace: &Workspace, apt: &mut Apt) -> Result<bool> {
    let compiler = chosen_compiler();
    let needed = compilers_llvm(&compiler)?;
    if let Some(has) = linkers_llvm(workspace)
        && has >= needed
        && starts(&workspace.tools().join("bin/bpf-linker"))
    {
        return Ok(false);
    }
    let llvm = match installed_llvm(needed) {
        Some(llvm) => llvm,
        None => {
            apt.update();
            let found = fitting(needed)?.find(|version| apt.knows(&package(*version)));
            let Some(version) = found else {
                bail!(
                    "{} uses LLVM {needed}, and no package llvm-{needed}-dev or newer (to {}) is known here. Add a \
                     package source that has one, or use a Rust toolchain with an older LLVM",
                    compiler.display(),
                    LLVM.end()
                );
            };
            apt.install(&[package(version)])?;
            installed_llvm(needed).context("LLVM was installed and is not in /usr/lib/llvm-*")?
        }
    };
    if llvm != needed {
        eprintln!("the compiler's LLVM is {needed}, bpf-linker's will be {llvm}: newer is fine");
    }
    eprintln!(
        "set-up builds bpf-linker {VERSION} with LLVM {llvm} (about a minute) into {}",
        workspace.tools().display()
    );
    let prefix = llvm_prefix(llvm);
    let mut command = workspace.cargo();
    command
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force", "--no-default-features"])
        .args(["--features", &format!("llvm-{llvm}"), "--root"])
        .arg(workspace.tools())
        .env("LLVM_PREFIX", &prefix)
        .env(format!("LLVM_SYS_{llvm}1_PREFIX"), &prefix);
    build_quickly(&mut command);
    progress::step("building bpf-linker", &mut command)?;
    Ok(true)
}

fn package(version: u32) -> String {
    format!("llvm-{version}-dev")
}

fn llvm_prefix(version: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{version}"))
}

/// The versions of LLVM that read the bitcode of a compiler with LLVM `needed`, nearest first.
fn fitting(needed: u32) -> Result<std::ops::RangeInclusive<u32>> {
    if needed > *LLVM.end() {
        bail!(
            "the Rust compiler uses LLVM {needed}; bpf-linker {VERSION} knows LLVM only to {}. Use an older Rust \
             toolchain for this repository, for example: rustup override set 1.95.0",
            LLVM.end()
        );
    }
    Ok(needed.max(*LLVM.start())..=*LLVM.end())
}

fn installed_llvm(needed: u32) -> Option<u32> {
    fitting(needed).ok()?.find(|version| llvm_prefix(*version).join("include/llvm-c/Core.h").exists())
}

/// The compiler that a plain `cargo build` uses.
fn active_compiler() -> PathBuf {
    env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)
}

/// The compiler that builds the programs; the same as above unless it has no sources.
fn chosen_compiler() -> PathBuf {
    toolchain::compiler().map_or_else(|_| active_compiler(), |(_, compiler)| compiler)
}

fn compilers_llvm(compiler: &Path) -> Result<u32> {
    let output = Command::new(compiler)
        .arg("-vV")
        .output()
        .with_context(|| format!("cannot run {}; install Rust first", compiler.display()))?;
    llvm_major(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{} -vV does not name its LLVM", compiler.display()))
}

fn llvm_major(version: &str) -> Option<u32> {
    let line = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

/// The LLVM of the bpf-linker that set-up installed: cargo's record names the feature it was built with.
fn linkers_llvm(workspace: &Workspace) -> Option<u32> {
    let record = fs::read(workspace.tools().join(".crates2.json")).ok()?;
    let installed = Installed::find(&record, "bpf-linker", VERSION)?;
    installed.features.iter().find_map(|feature| feature.strip_prefix("llvm-")?.parse().ok())
}

/// It does not when the LLVM library that it was linked with has gone.
fn starts(linker: &Path) -> bool {
    Command::new(linker).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_llvm_is_read_from_its_verbose_version() {
        let text = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        assert_eq!(llvm_major(text), Some(22));
        assert_eq!(llvm_major("rustc 1.95.0\n"), None);
    }

    #[test]
    fn no_older_llvm_than_the_compilers_is_ever_taken() {
        assert_eq!(fitting(22).unwrap().collect::<Vec<_>>(), [22, 23]);
        assert_eq!(fitting(19).unwrap().collect::<Vec<_>>(), [21, 22, 23]);
    }

    #[test]
    fn a_compiler_that_is_too_new_is_answered_with_what_to_do() {
        let text = fitting(24).unwrap_err().to_string();
        assert!(text.contains("LLVM 24") && text.contains("rustup override"), "{text}");
    }
}
