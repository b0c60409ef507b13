//! What the node must offer before anything is tried: one clear message each.

use std::path::Path;

/// What is missing, with the remedy.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error(
        "this process lacks the capabilities {0}: run it as root, or in a pod add them under \
         securityContext.capabilities.add"
    )]
    Capabilities(String),
    #[error(
        "Linux {0} is too old: announcer needs 6.6 or newer; start the node with a newer kernel, or keep announcer off \
         it with the DaemonSet's nodeSelector"
    )]
    Kernel(String),
}

/// Capability numbers of linux/capability.h with the names that Kubernetes uses.
const NEEDED: [(u32, &str); 4] = [(39, "BPF"), (12, "NET_ADMIN"), (38, "PERFMON"), (13, "NET_RAW")];
/// Stands for BPF and PERFMON.
const SYS_ADMIN: u32 = 21;
/// Oldest kernel with tcx, by which replies leave.
const OLDEST: (u32, u32) = (6, 6);

/// Checks kernel and capabilities of this process. What `/proc` does not tell is left to the system calls to come.
///
/// # Errors
/// [`CheckError`].
pub(super) fn node() -> Result<(), CheckError> {
    if let Some(release) = read("/proc/sys/kernel/osrelease") {
        kernel(release.trim())?;
    }
    let status = read("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    match effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) {
        Some(mask) => capabilities(mask),
        None => Ok(()),
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(path)).ok()
}

fn kernel(release: &str) -> Result<(), CheckError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST => Err(CheckError::Kernel(release.to_owned())),
        _ => Ok(()),
    }
}

fn capabilities(mask: u64) -> Result<(), CheckError> {
    let has = |number: u32| mask & (1 << number) != 0;
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(number, name)| !has(*number) && (!matches!(*name, "BPF" | "PERFMON") || !has(SYS_ADMIN)))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(CheckError::Capabilities(missing.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        assert!(capabilities(u64::MAX).is_ok());
        assert!(capabilities(1 << SYS_ADMIN | 1 << 12 | 1 << 13).is_ok());
        let error = capabilities(1 << 12).unwrap_err().to_string();
        assert!(error.contains("BPF, PERFMON, NET_RAW"), "{error}");
    }

    #[test]
    fn an_old_kernel_is_named_and_an_odd_name_let_through() {
        assert!(kernel("6.1.0-33-amd64").unwrap_err().to_string().contains("6.1.0-33-amd64"));
        for release in ["6.6.0", "6.12.0-41-cloud-amd64", "7.2", "custom"] {
            assert!(kernel(release).is_ok(), "{release}");
        }
    }
}
