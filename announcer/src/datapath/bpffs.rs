//! Where things are pinned, and whether that is a BPF file system at all.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use announcer_ebpf::abi::LAYOUT_VERSION;

use super::Error;

/// `BPF_FS_MAGIC` of <linux/magic.h>.
const BPF_FS_MAGIC: u64 = 0xCAFE_4A11;

/// The pins of one agent: `<bpffs>/v1/<MAP>` and `<bpffs>/v1/links/<interface>/{xdp,egress}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// The pins under `bpffs`, which need not be there yet.
    #[must_use]
    pub fn new(bpffs: &Path) -> Self {
        Self { root: bpffs.join(format!("v{LAYOUT_VERSION}")) }
    }

    /// Makes the directories, after a check that they will lie on a BPF file system.
    ///
    /// # Errors
    /// [`Error::NotBpffs`], or what the file system says.
    pub fn create(&self) -> Result<(), Error> {
        let links = self.links();
        let there = links.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        if !is_bpffs(there).map_err(|source| Error::File { path: there.to_owned(), source })? {
            let usual = Path::new("/sys/fs/bpf");
            let bpffs = self.root.parent().unwrap_or(&self.root);
            let mount = if self.root.starts_with(usual) { usual } else { bpffs };
            return Err(Error::NotBpffs { path: bpffs.to_owned(), mount: mount.to_owned() });
        }
        fs::create_dir_all(&links).map_err(|source| Error::File { path: links, source })
    }

    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Directory of an interface's link pins.
    #[must_use]
    pub fn link(&self, interface: &str) -> PathBuf {
        self.links().join(encoded(interface))
    }

    /// Interfaces that have a directory of pins.
    ///
    /// # Errors
    /// What the file system says, other than that there is none.
    pub fn linked(&self) -> Result<Vec<String>, Error> {
        let links = self.links();
        let entries = match fs::read_dir(&links) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::File { path: links, source }),
        };
        Ok(entries.flatten().map(|entry| decoded(&entry.file_name().to_string_lossy())).collect())
    }
}

/// A BPF file system takes no dots in names, and VLAN interfaces have one.
fn encoded(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2E")
}

fn decoded(name: &str) -> String {
    name.replace("%2E", ".").replace("%25", "%")
}

/// Whether a path lies on a BPF file system.
///
/// # Errors
/// statfs(2)'s.
pub(super) fn is_bpffs(path: &Path) -> io::Result<bool> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: path is a string, stat has room for what the kernel writes.
    if unsafe { libc::statfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so stat is filled.
    let kind = unsafe { stat.assume_init() }.f_type;
    // The field's type and sign differ between architectures; the magic is its low 32 bits.
    Ok(kind as u64 & 0xFFFF_FFFF == BPF_FS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_on_no_bpf_file_system_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let bpffs = dir.path().join("bpf/announcer");
        let error = Pins::new(&bpffs).create().unwrap_err();
        let said = error.to_string();
        assert!(said.contains(&format!("mount -t bpf bpf {}", bpffs.display())), "{said}");
        assert!(!bpffs.exists(), "nothing is made before the check");
    }

    #[test]
    fn interface_names_with_dots_are_pinned_under_names_without() {
        let pins = Pins::new(Path::new("/sys/fs/bpf/announcer"));
        assert_eq!(pins.link("eth0.100"), Path::new("/sys/fs/bpf/announcer/v1/links/eth0%2E100"));
        assert_eq!(decoded(&encoded("a%2E.b")), "a%2E.b");
    }
}
