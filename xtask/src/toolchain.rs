//! Finds the compiler and linker for the eBPF programs and builds their object. Standard library only: `announcer`'s
//! build script includes this file by path, so that `cargo build` and `cargo xtask build-ebpf` do the same.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs' target: little-endian BPF without an operating system.
const TARGET: &str = "bpfel-unknown-none";
/// Oldest compiler that has the language features used.
const OLDEST_RUSTC: (u32, u32) = (1, 95);

/// A compiler that can build `core` for BPF, and the linker.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    /// Which of the ways it is, in words.
    pub(crate) origin: &'static str,
    rustc: PathBuf,
    linker: PathBuf,
}

/// What is not on this machine.
#[derive(Debug, Clone)]
pub(crate) enum Missing {
    /// No compiler with the sources of `core` beside it. The paths are where the sources were looked for.
    CoreSources(Vec<PathBuf>),
    /// No `bpf-linker`. The path is where set-up installs it.
    Linker(PathBuf),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CoreSources(_) => {
                write!(
                    f,
                    "no Rust compiler of version {}.{} or newer has its library sources (rust-src)",
                    OLDEST_RUSTC.0, OLDEST_RUSTC.1
                )
            }
            Self::Linker(_) => write!(f, "bpf-linker is neither in target/tools/bin nor in PATH"),
        }
    }
}

impl Missing {
    /// Paths whose appearance may change the answer.
    pub(crate) fn watch(&self) -> Vec<PathBuf> {
        match self {
            Self::CoreSources(paths) => paths.clone(),
            Self::Linker(path) => vec![path.clone()],
        }
    }
}

/// Looks for a compiler and the linker.
///
/// # Errors
/// [`Missing`] when there is none; `cargo xtask setup` installs it.
pub(crate) fn find(workspace: &Path) -> Result<Toolchain, Missing> {
    let (origin, rustc) = compiler()?;
    let linker = find_linker(workspace)?;
    Ok(Toolchain { origin, rustc, linker })
}

/// Looks for a compiler: the active one with rust-src, a nightly with it, Debian's `rustc-web` with `rust-web-src`.
///
/// # Errors
/// None has the sources of `core` beside it.
pub(crate) fn compiler() -> Result<(&'static str, PathBuf), Missing> {
    let active = env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let nightly = output(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]));
    let candidates = [
        ("the active toolchain with rust-src", Some(active)),
        ("nightly with rust-src", nightly.map(PathBuf::from)),
        ("Debian's rustc-web with rust-web-src", Some(PathBuf::from("/usr/bin/rustc"))),
    ];
    let mut looked = Vec::new();
    let found = candidates.into_iter().find_map(|(origin, rustc)| {
        let rustc = rustc?;
        let sources = PathBuf::from(output(Command::new(&rustc).args(["--print", "sysroot"]))?)
            .join("lib/rustlib/src/rust/library/core/Cargo.toml");
        let fits = version(&rustc)? >= OLDEST_RUSTC && sources.exists();
        looked.push(sources);
        fits.then_some((origin, rustc))
    });
    found.ok_or(Missing::CoreSources(looked))
}

fn find_linker(workspace: &Path) -> Result<PathBuf, Missing> {
    let own = target_dir(workspace).join("tools/bin/bpf-linker");
    let path = env::var_os("PATH").unwrap_or_default();
    [own.clone(), workspace.join("target/tools/bin/bpf-linker")]
        .into_iter()
        .chain(env::split_paths(&path).map(|dir| dir.join("bpf-linker")))
        .find(|file| file.is_file())
        .ok_or(Missing::Linker(own))
}

/// Cargo's target directory of the workspace.
fn target_dir(workspace: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), |dir| workspace.join(dir))
}

impl Toolchain {
    /// Builds the eBPF object with some features of its package and returns its path.
    ///
    /// The nested cargo has a target directory of its own, so it never waits for a lock that its caller holds.
    ///
    /// # Errors
    /// The compiler's messages.
    pub(crate) fn build(&self, workspace: &Path, features: &[&str]) -> Result<PathBuf, String> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        // One directory for each set of features, so that they do not build each other anew in turn.
        let dir = target_dir(workspace).join([&["bpf"], features].concat().join("-"));
        // The flags of the caller's build (a lint run's wrapper, its RUSTFLAGS, its job server) are not for this one.
        // v3 (kernel 5.1) has 32-bit instructions.
        let linker = format!("-Clinker={}", self.linker.display());
        // By default the linker has the compiler make a call of every memset, with a loop over its bytes: three bytes of
        // padding would cost more than a map's lookup.
        let inline = "-Clink-arg=--disable-expand-memcpy-in-order";
        let flags = ["-Ctarget-cpu=v3", "-Clink-arg=--btf", inline, linker.as_str()].join("\x1f");
        let mut command = Command::new(cargo);
        command
            .current_dir(workspace)
            .args(["build", "--package", "announcer-ebpf", "--bin", "announcer-ebpf", "--profile", "bpf"])
            .args(["-Zbuild-std=core", "--target", TARGET, "--target-dir"])
            .arg(&dir)
            .env("RUSTC", &self.rustc)
            // `-Z build-std` on a stable compiler.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags);
        for name in
            ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_MAKEFLAGS", "MAKEFLAGS", "CLIPPY_ARGS"]
        {
            command.env_remove(name);
        }
        if !features.is_empty() {
            command.args(["--features", &features.join(",")]);
        }
        let done = command.output().map_err(|error| format!("cargo does not start: {error}"))?;
        if !done.status.success() {
            let stderr = String::from_utf8_lossy(&done.stderr);
            return Err(format!("the eBPF programs do not build with {}:\n{stderr}", self.origin));
        }
        Ok(dir.join(TARGET).join("bpf/announcer-ebpf"))
    }
}

/// Major and minor version of a compiler.
fn version(rustc: &Path) -> Option<(u32, u32)> {
    let text = output(Command::new(rustc).arg("--version"))?;
    let mut parts = text.split_whitespace().nth(1)?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// A command's trimmed output, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let done = command.output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_string())
}
