//! Tools that are crates: installed into the target directory, for this repository alone.

use std::fs;
use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::progress;
use crate::workspace::Workspace;

/// Checks licences, sources and duplicate dependencies.
pub(crate) const CARGO_DENY: CargoTool = CargoTool { name: "cargo-deny", version: "0.20.2", about: "3 minutes" };

/// A tool of one exact version.
#[derive(Debug)]
pub(crate) struct CargoTool {
    name: &'static str,
    version: &'static str,
    /// How long it takes to build.
    about: &'static str,
}

impl CargoTool {
    /// Installs it unless it is there.
    ///
    /// # Errors
    /// It does not build.
    pub(crate) fn ensure(&self, workspace: &Workspace) -> Result<bool> {
        let Self { name, version, about } = self;
        let record = fs::read(workspace.tools().join(".crates2.json")).unwrap_or_default();
        if Installed::find(&record, name, version).is_some() && workspace.tools().join("bin").join(name).is_file() {
            return Ok(false);
        }
        eprintln!("set-up builds {name} {version} (about {about}) into {}", workspace.tools().display());
        let mut command = workspace.cargo();
        command.args(["install", name, "--version", version, "--locked", "--force", "--root"]).arg(workspace.tools());
        build_quickly(&mut command);
        progress::step(&format!("building {name}"), &mut command)?;
        Ok(true)
    }
}

/// A tool that runs for seconds is not worth a minute more of optimising it.
pub(crate) fn build_quickly(command: &mut Command) {
    for (setting, value) in [("OPT_LEVEL", "1"), ("LTO", "off"), ("CODEGEN_UNITS", "16"), ("DEBUG", "0")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
}

/// An entry of the record that `cargo install` keeps.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) features: Vec<String>,
}

impl Installed {
    /// Looks for a package of that very version in `.crates2.json`.
    pub(crate) fn find(record: &[u8], name: &str, version: &str) -> Option<Self> {
        let record: Value = serde_json::from_slice(record).ok()?;
        let prefix = format!("{name} {version} ");
        let (_, entry) = record.get("installs")?.as_object()?.iter().find(|(key, _)| key.starts_with(&prefix))?;
        let features = entry.get("features")?.as_array()?;
        Some(Self { features: features.iter().filter_map(|f| f.as_str().map(String::from)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str =
        r#"{"installs":{"bpf-linker 0.13.0 (registry+x)":{"bins":["bpf-linker"],"features":["llvm-22"]}}}"#;

    #[test]
    fn an_installed_tool_is_found_with_its_features() {
        let found = Installed::find(RECORD.as_bytes(), "bpf-linker", "0.13.0");
        assert_eq!(found, Some(Installed { features: vec!["llvm-22".into()] }));
    }

    #[test]
    fn another_version_or_a_broken_record_is_not_installed() {
        assert_eq!(Installed::find(RECORD.as_bytes(), "bpf-linker", "0.13"), None);
        assert_eq!(Installed::find(b"{", "bpf-linker", "0.13.0"), None);
    }
}
