//! The eBPF object that the build script compiled.

/// The ELF file with every program and map; empty when the build had no BPF toolchain.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/announcer-ebpf"));
