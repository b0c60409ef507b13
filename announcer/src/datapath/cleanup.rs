//! Removes what announcer left on a node, of whatever version: no map is opened, only names are removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Error, attach::unpin, bpffs::is_bpffs};

/// What [`cleanup`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Cleaned {
    /// Pinned links, whose programs are off now.
    pub links: Vec<PathBuf>,
    /// Pinned maps and programs.
    pub maps: Vec<PathBuf>,
    /// Directories, the deepest first.
    pub directories: Vec<PathBuf>,
    /// Files of the run directory.
    pub files: Vec<PathBuf>,
}

/// Takes every program off, removes every pin, directory and file of the data path. May be repeated; what is not there
/// is no error. No agent may be running.
///
/// # Errors
/// Something cannot be removed. `bpffs` is not on a BPF file system: then nothing is touched in it, lest a wrong setting
/// delete files.
pub fn cleanup(bpffs: &Path, run_dir: &Path) -> Result<Cleaned, Error> {
    let mut cleaned = Cleaned::default();
    if bpffs.exists() {
        if !is_bpffs(bpffs).map_err(|source| Error::File { path: bpffs.to_owned(), source })? {
            return Err(Error::NotBpffs { path: bpffs.to_owned(), mount: bpffs.to_owned() });
        }
        for layout in children(bpffs)? {
            let name = layout.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if is_layout(&name) && layout.is_dir() {
                remove_layout(&layout, &mut cleaned)?;
            }
        }
        // Ours unless it is the root of the file system or holds others' pins.
        if fs::remove_dir(bpffs).is_ok() {
            cleaned.directories.push(bpffs.to_owned());
        }
    }
    let ledger = run_dir.join(crate::apply::maps::LEDGER);
    match fs::remove_file(&ledger) {
        Ok(()) => cleaned.files.push(ledger),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::File { path: ledger, source }),
    }
    Ok(cleaned)
}

/// `v1`, `v2`, …
fn is_layout(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|version| !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit()))
}

/// Links first: the programs are off before their maps lose their names.
fn remove_layout(layout: &Path, cleaned: &mut Cleaned) -> Result<(), Error> {
    let links = layout.join("links");
    for link in children(&links)? {
        let (first, rest): (Vec<PathBuf>, Vec<PathBuf>) =
            children(&link)?.into_iter().partition(|pin| pin.file_name().is_some_and(|name| name == "xdp"));
        for pin in first.into_iter().chain(rest) {
            if unpin(&pin)? {
                cleaned.links.push(pin);
            }
        }
        remove_dir(&link, cleaned)?;
    }
    remove_dir(&links, cleaned)?;
    for pin in children(layout)? {
        if pin.is_dir() {
            for inner in children(&pin)? {
                remove_pin(&inner, cleaned)?;
            }
            remove_dir(&pin, cleaned)?;
        } else {
            remove_pin(&pin, cleaned)?;
        }
    }
    remove_dir(layout, cleaned)
}

fn children(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs::read_dir(dir) {
        Ok(entries) => {
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            Ok(paths)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(source) => Err(Error::File { path: dir.to_owned(), source }),
    }
}

fn remove_pin(pin: &Path, cleaned: &mut Cleaned) -> Result<(), Error> {
    fs::remove_file(pin).map_err(|source| Error::File { path: pin.to_owned(), source })?;
    cleaned.maps.push(pin.to_owned());
    Ok(())
}

fn remove_dir(dir: &Path, cleaned: &mut Cleaned) -> Result<(), Error> {
    match fs::remove_dir(dir) {
        Ok(()) => {
            cleaned.directories.push(dir.to_owned());
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::File { path: dir.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_file_system_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("v1")).unwrap();
        assert!(matches!(cleanup(dir.path(), dir.path()), Err(Error::NotBpffs { .. })));
        assert!(dir.path().join("v1").exists());
    }

    #[test]
    fn nothing_there_is_nothing_to_do() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(cleanup(&dir.path().join("none"), dir.path()).unwrap(), Cleaned::default());
    }
}
