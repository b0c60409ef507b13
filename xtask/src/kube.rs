//! kube-apiserver, kubectl and etcd of the lab: the caller's, or built as Go tools and kept under target/kube.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::progress;
use crate::setup::{self, Apt, Go, Need};
use crate::workspace::Workspace;

/// The variable of Kubernetes' own test tools: a directory with the binaries.
pub(crate) const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// Stands in tests/kube/kubernetes/go.mod as well.
const KUBERNETES: &str = "v1.34.4";

/// Binaries that are built together from one Go module.
struct Module {
    dir: &'static str,
    packages: &'static [&'static str],
    binaries: &'static [&'static str],
    about: &'static str,
}

const MODULES: [Module; 2] = [
    Module {
        dir: "tests/kube/kubernetes",
        packages: &["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl"],
        binaries: &["kube-apiserver", "kubectl"],
        about: "kube-apiserver and kubectl (about 4 minutes)",
    },
    Module {
        dir: "tests/kube/etcd",
        packages: &["go.etcd.io/etcd/server/v3"],
        binaries: &["etcd"],
        about: "etcd (about a minute)",
    },
];

/// `cargo xtask kube-apiserver`. Nothing but the two paths goes to standard output.
///
/// # Errors
/// A build fails, or the caller's directory lacks a binary.
pub(crate) fn print_paths(workspace: &Workspace) -> Result<()> {
    setup::run(workspace, &[Need::Kube])?;
    let dir = assets(workspace)?;
    println!("{}\n{}", dir.join("kube-apiserver").display(), dir.join("etcd").display());
    Ok(())
}

/// The directory of the binaries: the caller's, or ours.
///
/// # Errors
/// The caller's directory lacks a binary.
pub(crate) fn assets(workspace: &Workspace) -> Result<PathBuf> {
    let Some(dir) = env::var_os(ASSETS).filter(|dir| !dir.is_empty()).map(PathBuf::from) else {
        return Ok(workspace.kube().join("bin"));
    };
    let dir = dir.canonicalize().with_context(|| format!("{ASSETS} is {}, which is not there", dir.display()))?;
    for name in MODULES.iter().flat_map(|module| module.binaries) {
        if !dir.join(name).is_file() {
            bail!(
                "{ASSETS} is {}, which has no {name}; put it there, or unset {ASSETS} to have it built",
                dir.display()
            );
        }
    }
    Ok(dir)
}

/// Builds what is missing or was built from other versions. True if there was something to do.
///
/// # Errors
/// No Go, or a build fails.
pub(crate) fn ensure(workspace: &Workspace, apt: &mut Apt) -> Result<bool> {
    if env::var_os(ASSETS).is_some_and(|dir| !dir.is_empty()) {
        assets(workspace)?;
        return Ok(false);
    }
    let mut go = None;
    for module in &MODULES {
        let inputs = module.inputs(workspace)?;
        let stamp = workspace.kube().join(module.binaries[0]).with_extension("built-from");
        if module.is_built(workspace) && fs::read_to_string(&stamp).is_ok_and(|built| built == inputs) {
            continue;
        }
        let go = match &go {
            Some(go) => go,
            None => go.insert(Go::ensure(workspace, apt)?),
        };
        module.build(workspace, go)?;
        fs::write(&stamp, inputs).with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    Ok(go.is_some())
}

impl Module {
    /// All that decides what is built. Kept whole beside the binaries, so that equal means equal.
    fn inputs(&self, workspace: &Workspace) -> Result<String> {
        let read = |name: &str| {
            let path = workspace.root().join(self.dir).join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(format!("{}\n{}\n{}", linker_flags(), read("go.mod")?, read("go.sum")?))
    }

    fn is_built(&self, workspace: &Workspace) -> bool {
        self.binaries.iter().all(|name| workspace.kube().join("bin").join(name).is_file())
    }

    /// Builds beside and then moves, so that a build that is cut off leaves no half of a binary.
    fn build(&self, workspace: &Workspace, go: &Go) -> Result<()> {
        let (fresh, bin) = (workspace.kube().join("fresh"), workspace.kube().join("bin"));
        for dir in [&fresh, &bin] {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        eprintln!("set-up builds {} with Go, modules from Go's module proxy", self.about);
        let mut command = go.command();
        command
            .current_dir(workspace.root().join(self.dir))
            .args(["build", "-mod=readonly", "-trimpath", "-ldflags", &linker_flags(), "-o"])
            .arg(output_of(&fresh, self.binaries))
            .args(self.packages)
            .env("CGO_ENABLED", "0")
            .env_remove("GOFLAGS");
        progress::step(&format!("building {}", self.binaries.join(", ")), &mut command)?;
        for name in self.binaries {
            fs::rename(fresh.join(name), bin.join(name)).with_context(|| format!("cannot move {name} into place"))?;
        }
        Ok(())
    }
}

/// A file where there is one binary (etcd's package would be named after its version), else a directory.
fn output_of(dir: &Path, binaries: &[&str]) -> PathBuf {
    match binaries {
        [only] => dir.join(only),
        _ => dir.join(""),
    }
}

/// Without them the API server calls itself v0.0.0-master, which clients take for an ancient one.
fn linker_flags() -> String {
    let version = "k8s.io/component-base/version";
    let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
    format!(
        "-s -w -X {version}.gitVersion={KUBERNETES} -X {version}.gitMajor=1 -X {version}.gitMinor={minor} \
         -X {version}.gitTreeState=clean"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_the_binaries_tell_is_the_one_that_go_mod_requires() {
        let text = MODULES[0].inputs(&Workspace::find()).unwrap();
        assert!(
            text.contains(&format!("require k8s.io/kubernetes {KUBERNETES}"))
                || text.contains(&format!("\tk8s.io/kubernetes {KUBERNETES}"))
        );
        let staging = KUBERNETES.replacen("v1.", "v0.", 1);
        let replaced: Vec<&str> = text.lines().filter(|line| line.contains("=> k8s.io/")).collect();
        assert_eq!(replaced.len(), 31);
        assert!(replaced.iter().all(|line| line.ends_with(&staging)), "{replaced:?}");
    }
}
