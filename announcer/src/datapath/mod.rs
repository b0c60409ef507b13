//! Loading, attaching, pinning and adopting the eBPF programs; typed views of their maps.
//!
//! Must not know: Kubernetes, Services, who leads.

mod error;

pub use error::Error;

/// The eBPF object; empty where the agent was built without a BPF toolchain.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/announcer-ebpf"));
