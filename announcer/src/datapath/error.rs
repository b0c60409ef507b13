use std::{io, path::PathBuf};

/// What can go wrong with programs, maps and pins; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("announcer was built without its eBPF programs: run `cargo xtask setup`, then build again")]
    NoObject,
    #[error(
        "{path} is not on a BPF file system: mount one with `mount -t bpf bpf {mount}` (in a pod: a hostPath volume of \
         /sys/fs/bpf), or name another place with --bpffs"
    )]
    NotBpffs { path: PathBuf, mount: PathBuf },
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error(
        "the kernel refuses eBPF to this process ({what}): it needs the capabilities BPF, NET_ADMIN and PERFMON \
         (in a pod: securityContext.capabilities.add)"
    )]
    NotPermitted { what: String },
    #[error("{what}: the running kernel does not have what announcer needs (Linux 6.6 or newer): {source}")]
    Kernel { what: String, source: anyhow::Error },
    #[error(
        "the pinned map {path} has another layout ({found}) than this version's ({expected}): run `announcer cleanup` \
         on this node, then start the agent again"
    )]
    Layout { path: PathBuf, found: String, expected: String },
    #[error("map {map}: {source}")]
    Map { map: &'static str, source: anyhow::Error },
    #[error("link {link} is gone")]
    NoLink { link: String },
    #[error(
        "link {link} already has an XDP program ({program}): announcer cannot share it; take that program off \
         (`ip link set dev {link} xdp off`), or leave this link out with --interface"
    )]
    LinkTaken { link: String, program: String },
    #[error("link {link} takes no XDP program in native, fragmented or generic mode: {source}")]
    Attach { link: String, source: anyhow::Error },
    #[error("{link} is one link more than the {most} that announcer serves on a node: name fewer with --interface")]
    TooManyLinks { link: String, most: u32 },
}
