//! The pass program on the bridge's ports: frames that a node sends by XDP_TX reach a veth's far side only where a
//! native XDP program runs.

use std::fs;

use announcer::datapath::OBJECT;
use announcer_ebpf::abi::program;
use anyhow::{Context, bail};
use aya::{
    EbpfLoader,
    programs::{Xdp, XdpMode, links::FdLink},
};

use super::{Namespace, RunId};

/// Attaches `announcer_pass` natively to `ports` in `namespace` and pins the links, so that they outlive this process in
/// a lab that is kept.
pub(super) fn attach(run: RunId, namespace: &Namespace, ports: &[String]) -> anyhow::Result<()> {
    if OBJECT.is_empty() {
        bail!("built without eBPF programs: run `cargo xtask setup`, then build again");
    }
    let pins = run.bpffs().join("lan");
    fs::create_dir_all(&pins).with_context(|| format!("creating {}", pins.display()))?;
    namespace.run(|| {
        let mut loader = EbpfLoader::new();
        // Loading makes every map of the object; the pass program uses none of them.
        for map in ["FLOWS", "HALF_OPEN", "REVERSE", "REVERSE_HALF", "SOURCES", "SERVICES", "VIPS", "SLOTS"] {
            loader.map_max_entries(map, 64);
        }
        let mut object = loader.load(OBJECT).context("loading the eBPF object")?;
        let pass: &mut Xdp = object.program_mut(program::PASS).context("the object has no pass program")?.try_into()?;
        pass.load()?;
        for port in ports {
            let link = pass
                .attach(port, XdpMode::Driver)
                .with_context(|| format!("attaching the pass program to {port} in {}", namespace.name()))?;
            let link: FdLink = pass.take_link(link)?.try_into().context("the kernel gave no BPF link")?;
            link.pin(pins.join(port))?;
        }
        Ok(())
    })
}
