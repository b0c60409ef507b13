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

impl Error {
    /// A call of bpf(2) that failed: for want of a capability, or of a feature.
    pub(super) fn of_bpf(what: impl Into<String>, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        let what = what.into();
        if os_error(&error) == Some(libc::EPERM) {
            Self::NotPermitted { what }
        } else {
            Self::Kernel { what, source: error.into() }
        }
    }

    /// An access to a map that failed.
    pub(super) fn of_map(map: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Map { map, source: error.into() }
    }
}

/// The number of the system's error at the bottom of a chain of errors.
pub(super) fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error))
}
