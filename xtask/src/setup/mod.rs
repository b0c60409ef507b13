//! Set-up: finds what is missing, says what it will install, installs it. Under a second when all is there.

mod apt;
mod bpf_linker;
mod cargo_tool;
mod go;
mod rust_src;

use std::time::Instant;

use anyhow::{Result, bail};

pub(crate) use apt::Apt;
pub(crate) use cargo_tool::CARGO_DENY;
pub(crate) use go::Go;

use crate::workspace::Workspace;
use crate::{kube, progress};
use apt::Tool;

/// What a command is going to do, and so what must be there for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Build the agent and its eBPF programs.
    Build,
    /// Run an API server.
    Kube,
    /// Make namespaces and send packets through them.
    Lab,
    /// Check dependencies.
    Lint,
}

impl Need {
    pub(crate) const ALL: [Self; 4] = [Self::Build, Self::Kube, Self::Lab, Self::Lint];
}

/// ring, a dependency of the agent, compiles C.
const BUILD_TOOLS: &[Tool] = &[Tool::new("cc", "gcc libc6-dev")];
/// `ip` makes the lab's namespaces, `ethtool` sets their offloads; a client there uses the others as anybody would.
const LAB_TOOLS: &[Tool] = &[
    Tool::new("ip", "iproute2"),
    Tool::new("ethtool", "ethtool"),
    Tool::new("arping", "arping"),
    Tool::new("curl", "curl"),
];

/// Makes sure that all of `needs` can be done on this machine.
///
/// # Errors
/// Something cannot be installed. The message has the command to run.
pub(crate) fn run(workspace: &Workspace, needs: &[Need]) -> Result<()> {
    let started = Instant::now();
    let _lock = workspace.lock()?;
    let mut apt = Apt::new();
    let tools = |need: Need, tools: &'static [Tool]| if needs.contains(&need) { tools } else { &[] };
    let mut packages: Vec<String> = [tools(Need::Build, BUILD_TOOLS), tools(Need::Lab, LAB_TOOLS)]
        .into_iter()
        .flatten()
        .filter(|tool| !tool.is_there())
        .flat_map(|tool| tool.packages.split(' ').map(String::from))
        .collect();
    if needs.contains(&Need::Build) {
        packages.extend(bpf_linker::missing_package(&apt)?);
    }
    let mut changed = apt.install(&packages)?;
    if needs.contains(&Need::Build) {
        changed |= rust_src::ensure(workspace, &mut apt)?;
        changed |= bpf_linker::ensure(workspace, &mut apt)?;
    }
    if needs.contains(&Need::Kube) {
        changed |= kube::ensure(workspace, &mut apt)?;
    }
    if needs.contains(&Need::Lint) {
        changed |= CARGO_DENY.ensure(workspace)?;
    }
    if changed {
        eprintln!("set-up done in {}", progress::elapsed(started.elapsed()));
    }
    Ok(())
}

/// Ends at once where the command cannot work without root.
///
/// # Errors
/// Not root.
pub(crate) fn require_root(command: &str) -> Result<()> {
    if apt::is_root() {
        return Ok(());
    }
    bail!(
        "{command} makes network namespaces and loads eBPF programs, which only root may. Run:\n  \
         sudo --preserve-env=PATH,HOME,RUSTUP_HOME,CARGO_HOME {command}"
    )
}
