//! Debian packages: what is missing, and its installation.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::progress;

/// Administrators' tools lie here and may not be in PATH.
const ADMIN_DIRS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// A program that something runs, and the packages that have it and what it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    program: &'static str,
    pub(crate) packages: &'static str,
}

impl Tool {
    pub(crate) const fn new(program: &'static str, packages: &'static str) -> Self {
        Self { program, packages }
    }

    pub(crate) fn is_there(&self) -> bool {
        find_program(self.program).is_some()
    }
}

/// A program in PATH or among the administrators' tools.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(ADMIN_DIRS.map(PathBuf::from)).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Whether this process may do all: the owner of its /proc entry is its effective user.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The package manager. Its lists are brought up to date at most once.
#[derive(Debug)]
pub(crate) struct Apt {
    updated: bool,
}

impl Apt {
    pub(crate) fn new() -> Self {
        Self { updated: false }
    }

    /// Whether the lists on this machine have a package of that name.
    pub(crate) fn knows(&self, package: &str) -> bool {
        let shown = Command::new("apt-cache").args(["show", "--no-all-versions", package]).output();
        shown.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
    }

    /// Installs packages; says which before. True if there was something to do.
    ///
    /// # Errors
    /// Not root, no apt, or apt fails.
    pub(crate) fn install(&mut self, packages: &[String]) -> Result<bool> {
        if packages.is_empty() {
            return Ok(false);
        }
        let list = packages.join(" ");
        if !Path::new("/usr/bin/apt-get").exists() {
            bail!(
                "missing on this machine, by the names of their Debian packages: {list}. Install them, then try again"
            );
        }
        if !is_root() {
            bail!(
                "missing on this machine: {list}. Run this, then try again:\n  \
                 sudo sh -c 'apt-get update && apt-get install --yes --no-install-recommends {list}'"
            );
        }
        eprintln!("set-up installs Debian packages: {list}");
        self.update();
        let mut command = Command::new("apt-get");
        command
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive");
        progress::step("apt-get install", &mut command)
            .with_context(|| format!("installing {list} failed; mend what apt says below, then try again"))?;
        Ok(true)
    }

    /// A list that cannot be had (some other software's source) is no reason to stop: installing tells.
    pub(crate) fn update(&mut self) {
        if !self.updated && is_root() {
            self.updated = true;
            if let Err(error) = progress::step("apt-get update", Command::new("apt-get").arg("update")) {
                eprintln!("{error:#}\ngoing on with the lists that are there");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_path_and_an_unknown_one_is_not() {
        assert!(Tool::new("sh", "dash").is_there());
        assert!(!Tool::new("no-such-program-here", "none").is_there());
    }

    #[test]
    fn nothing_to_install_is_no_work() {
        assert!(!Apt::new().install(&[]).unwrap());
    }
}
