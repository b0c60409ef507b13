//! The object with the benchmark's programs, built when it is asked for: the agent's own has none of them.

use std::path::Path;

use anyhow::{Context, Result, anyhow};

#[path = "../../xtask/src/toolchain.rs"]
#[allow(dead_code, reason = "shared with a build script that also watches for a toolchain to appear")]
mod toolchain;

/// The ELF file with feature `bench`.
pub(super) fn build() -> Result<Vec<u8>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in the workspace")?;
    let toolchain = toolchain::find(workspace).map_err(|missing| anyhow!("{missing}: run `cargo xtask setup`"))?;
    eprintln!("building the programs to measure with {}", toolchain.origin);
    let path = toolchain.build(workspace, &["bench"]).map_err(|message| anyhow!(message))?;
    std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
}
