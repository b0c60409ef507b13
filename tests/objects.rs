//! eBPF objects with more than the agent's own has (the benchmark's programs, debug lines), built when asked for.

use std::path::Path;

use anyhow::{Context, Result, anyhow};

#[path = "../xtask/src/toolchain.rs"]
#[allow(dead_code, reason = "shared with a build script that also watches for a toolchain to appear")]
mod toolchain;

/// The ELF file with one of the features of `announcer-ebpf`.
///
/// # Errors
/// There is no BPF toolchain, or the object does not build.
pub fn build(feature: &str) -> Result<Vec<u8>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in the workspace")?;
    let toolchain = toolchain::find(workspace).map_err(|missing| anyhow!("{missing}: run `cargo xtask setup`"))?;
    eprintln!("building the programs with feature {feature} with {}", toolchain.origin);
    let path = toolchain.build(workspace, &[feature]).map_err(|message| anyhow!(message))?;
    std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
}
