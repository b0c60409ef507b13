//! The run directory's lock: one agent on a node.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

/// Why the run directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "another agent runs on this node (pid {pid}, run directory {run_dir}): stop it first, or give this one its own \
         --run-dir and --bpffs"
    )]
    Taken { pid: String, run_dir: PathBuf },
    #[error("cannot use the run directory {run_dir}: {source}; create it, run as root, or choose another --run-dir")]
    RunDir { run_dir: PathBuf, source: io::Error },
}

/// Holds the lock until dropped; the kernel frees it however the process ends.
#[derive(Debug)]
pub struct RunDirLock {
    _file: File,
}

impl RunDirLock {
    /// The file that is locked; it holds the process id.
    #[must_use]
    pub fn file(run_dir: &Path) -> PathBuf {
        run_dir.join("agent.pid")
    }

    /// Makes the run directory where it is missing, locks it and leaves the own process id in `agent.pid`.
    ///
    /// # Errors
    /// Another process holds it, or the directory cannot be used.
    pub fn take(run_dir: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::RunDir { run_dir: run_dir.to_owned(), source };
        std::fs::create_dir_all(run_dir).map_err(failed)?;
        // Not truncated at opening: until the lock is ours, the content is the holder's.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(Self::file(run_dir))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _unread = file.read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() { "unknown" } else { pid.trim() };
                return Err(LockError::Taken { pid: pid.to_owned(), run_dir: run_dir.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_told_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("run");
        let first = RunDirLock::take(&run_dir).unwrap();
        let error = RunDirLock::take(&run_dir).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(first);
        RunDirLock::take(&run_dir).unwrap();
    }

    #[test]
    fn a_run_directory_that_cannot_be_made_is_named() {
        let error = RunDirLock::take(Path::new("/proc/announcer")).unwrap_err().to_string();
        assert!(error.contains("/proc/announcer") && error.contains("--run-dir"), "{error}");
    }
}
