//! Builds the eBPF object into the binary. Without the BPF toolchain the agent still builds, with an empty object that
//! `announcer agent` refuses.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

/// Set to 1: no eBPF object. For quick checks of the rest.
const SKIP: &str = "ANNOUNCER_SKIP_EBPF";

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let workspace = manifest.parent().expect("the package lies in the workspace");
    let object = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("announcer-ebpf");
    println!("cargo::rerun-if-env-changed={SKIP}");
    for path in [
        "announcer-ebpf/src",
        "announcer-ebpf/Cargo.toml",
        "Cargo.toml",
        "xtask/src/toolchain.rs",
        "announcer/build.rs",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    let bytes = if env::var_os(SKIP).is_some_and(|value| value == "1") { Vec::new() } else { build(workspace) };
    // An unchanged file keeps its time, so nothing that embeds it is compiled again.
    if fs::read(&object).ok().as_ref() != Some(&bytes) {
        fs::write(&object, bytes).expect("OUT_DIR is writable");
    }
}

fn build(workspace: &Path) -> Vec<u8> {
    let features: &[&str] = if env::var_os("CARGO_FEATURE_EBPF_LOG").is_some() { &["log"] } else { &[] };
    match toolchain::find(workspace) {
        Ok(toolchain) => match toolchain.build(workspace, features) {
            Ok(built) => fs::read(&built).unwrap_or_else(|error| panic!("{}: {error}", built.display())),
            Err(message) => {
                eprintln!("{message}");
                std::process::exit(1);
            }
        },
        Err(missing) => {
            println!(
                "cargo::warning=built without eBPF programs: {missing}; run `cargo xtask setup`, then build again"
            );
            for path in missing.watch() {
                println!("cargo::rerun-if-changed={}", path.display());
            }
            Vec::new()
        }
    }
}
