//! Go, which builds the API server and etcd. Any of 1.24 or newer serves; else one is fetched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt::{Apt, find_program};
use crate::progress;
use crate::workspace::Workspace;

/// What Kubernetes 1.34 needs.
const OLDEST: (u32, u32) = (1, 24);
/// Fetched where the machine's is older: a toolchain comes as a module, which any Go since 1.11 can fetch.
const FETCHED: &str = "1.24.11";

/// A Go that is new enough.
#[derive(Debug)]
pub(crate) struct Go {
    program: PathBuf,
}

impl Go {
    /// Finds one, or installs it.
    ///
    /// # Errors
    /// None is there and none can be fetched.
    pub(crate) fn ensure(workspace: &Workspace, apt: &mut Apt) -> Result<Self> {
        let usual = [find_program("go"), Some(PathBuf::from("/usr/local/go/bin/go"))];
        let fetched = Self::fetched_dir(workspace)?.join("bin/go");
        let new_enough = |program: &PathBuf| version(program).is_some_and(|version| version >= OLDEST);
        if let Some(program) = usual.into_iter().flatten().chain([fetched]).find(new_enough) {
            return Ok(Self { program });
        }
        let old = match find_program("go") {
            Some(old) => old,
            None => {
                apt.install(&["golang-go".to_string()])?;
                find_program("go").context("golang-go was installed and there is no go in PATH")?
            }
        };
        if new_enough(&old) {
            return Ok(Self { program: old });
        }
        eprintln!("set-up fetches Go {FETCHED} into {}", Self::module_cache(workspace).display());
        Ok(Self { program: fetch(workspace, &old)? })
    }

    /// A command of this Go, whatever toolchain the environment asks for.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("GOTOOLCHAIN", "local").env_remove("GOROOT");
        command
    }

    fn module_cache(workspace: &Workspace) -> PathBuf {
        workspace.tools().join("go-modules")
    }

    fn fetched_dir(workspace: &Workspace) -> Result<PathBuf> {
        Ok(Self::module_cache(workspace).join(format!("golang.org/{}", toolchain_module()?)))
    }
}

fn toolchain_module() -> Result<String> {
    let machines = BTreeMap::from([("x86_64", "amd64"), ("aarch64", "arm64")]);
    let machine = std::env::consts::ARCH;
    let Some(name) = machines.get(machine) else {
        bail!("no Go toolchain is known for {machine}; install Go {}.{} or newer", OLDEST.0, OLDEST.1);
    };
    Ok(format!("toolchain@v0.0.1-go{FETCHED}.linux-{name}"))
}

fn fetch(workspace: &Workspace, old: &Path) -> Result<PathBuf> {
    // Outside of any module, and where `cargo clean` may remove it (modules are read-only otherwise).
    let cache = Go::module_cache(workspace);
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let mut command = Command::new(old);
    command
        .current_dir(&cache)
        .args(["mod", "download", "-modcacherw"])
        .arg(format!("golang.org/{}", toolchain_module()?))
        .env("GOMODCACHE", &cache)
        .env("GOTOOLCHAIN", "local");
    progress::step(&format!("fetching Go {FETCHED}"), &mut command)
        .with_context(|| format!("no Go {}.{} or newer here, and none could be fetched", OLDEST.0, OLDEST.1))?;
    let dir = Go::fetched_dir(workspace)?;
    // A module's files are never executable; only Go 1.21 and newer put that right by themselves.
    make_executable(&dir.join("bin"))?;
    make_executable(&dir.join("pkg/tool"))?;
    let program = dir.join("bin/go");
    if version(&program).is_none() {
        bail!("the fetched {} does not run", program.display());
    }
    Ok(program)
}

fn make_executable(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path.is_dir() {
            make_executable(&path)?;
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("cannot make {} executable", path.display()))?;
        }
    }
    Ok(())
}

/// Major and minor version of a Go, if it runs.
fn version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("version").env("GOTOOLCHAIN", "local").output().ok()?;
    output.status.success().then(|| parse_version(&String::from_utf8_lossy(&output.stdout)))?
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split_whitespace().nth(2)?.strip_prefix("go")?.split('.');
    let major = parts.next()?.parse().ok()?;
    // A release candidate has no patch number: go1.25rc1.
    let minor: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::debian_12("go version go1.19.8 linux/amd64", Some((1, 19)))]
    #[case::new("go version go1.26.8 linux/amd64", Some((1, 26)))]
    #[case::release_candidate("go version go1.25rc1 linux/amd64", Some((1, 25)))]
    #[case::first_of_a_minor("go version go1.24 linux/arm64", Some((1, 24)))]
    #[case::built_from_source("go version devel +abc", None)]
    fn gos_version_is_read(#[case] text: &str, #[case] expected: Option<(u32, u32)>) {
        assert_eq!(parse_version(text), expected);
    }
}
