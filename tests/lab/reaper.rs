//! Removes what a run left: processes, pins, namespaces, files. Safe to repeat.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::RunId;

/// One directory a lab; in memory, gone with a reboot like the namespaces.
pub const STATE: &str = "/run/announcer-lab";
/// Prefix of the labs' pin directories.
pub const PINS: &str = "/sys/fs/bpf/announcer-lab-";
const NETNS: &str = "/run/netns";
const KEEP: &str = "keep";
const PIDS: &str = "pids";

/// Notes a process that the lab started, so that it is ended even when its starter cannot do it any more.
pub fn record_process(run: RunId, pid: u32) -> std::io::Result<()> {
    let mut file = fs::File::options().create(true).append(true).open(run.directory().join(PIDS))?;
    writeln!(file, "{pid} {}", start_time(pid).unwrap_or(0))
}

/// Marks the lab as one that stays until somebody removes it by name (`announcer-tests demo --clean`).
pub fn keep(run: RunId) -> std::io::Result<()> {
    fs::write(run.directory().join(KEEP), "")
}

#[must_use]
pub fn is_kept(run: &RunId) -> bool {
    run.directory().join(KEEP).exists()
}

/// Every run of which something is on the machine.
#[must_use]
pub fn runs() -> BTreeSet<RunId> {
    let mut runs = BTreeSet::new();
    runs.extend(names(Path::new(NETNS)).iter().filter_map(|n| RunId::of_namespace(n)));
    runs.extend(names(Path::new(STATE)).iter().filter_map(|n| n.parse::<RunId>().ok()));
    let pins = Path::new(PINS);
    if let (Some(parent), Some(prefix)) = (pins.parent(), pins.file_name().and_then(|p| p.to_str())) {
        runs.extend(names(parent).iter().filter_map(|n| n.strip_prefix(prefix)?.parse::<RunId>().ok()));
    }
    runs
}

/// Removes the labs whose owner is gone and that nobody asked to keep.
pub fn remove_stale() {
    for run in runs() {
        if !owner_lives(run) && !is_kept(&run) {
            remove(&run);
        }
    }
}

/// Removes everything that carries the run's id.
pub fn remove(run: &RunId) {
    let namespaces = namespaces(*run);
    if namespaces.is_empty() && !run.directory().exists() && !run.bpffs().exists() {
        return;
    }
    end_processes(*run, &namespaces);
    // Removing a link's pin detaches its program.
    remove_tree(&run.bpffs());
    for path in &namespaces {
        let _ = umount2(path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(path);
    }
    remove_tree(&run.directory());
    // Only when it was the last.
    let _ = fs::remove_dir(STATE);
}

/// What of the run is on the machine, for a person or a test.
#[must_use]
pub fn leftovers(run: RunId) -> Vec<String> {
    let namespaces = namespaces(run);
    let mut left: Vec<String> = namespaces.iter().map(|p| p.display().to_string()).collect();
    left.extend(processes(run, &namespaces).iter().map(|(pid, _)| format!("process {pid}")));
    left.extend([run.bpffs(), run.directory()].iter().filter(|p| p.exists()).map(|p| p.display().to_string()));
    left
}

fn owner_lives(run: RunId) -> bool {
    // The id may have been given to another program since.
    fs::read_to_string(format!("/proc/{}/comm", run.owner())).is_ok_and(|comm| comm.starts_with("announcer-test"))
}

fn namespaces(run: RunId) -> Vec<PathBuf> {
    let prefix = run.namespace("");
    let dir = Path::new(NETNS);
    names(dir).iter().filter(|n| n.starts_with(&prefix)).map(|n| dir.join(n)).collect()
}

/// The recorded processes that still are what was recorded, and whoever lives in the run's namespaces: (id, start).
fn processes(run: RunId, namespaces: &[PathBuf]) -> Vec<(i32, u64)> {
    let mut found = BTreeSet::new();
    for line in fs::read_to_string(run.directory().join(PIDS)).unwrap_or_default().lines() {
        let mut words = line.split(' ').filter_map(|w| w.parse::<u64>().ok());
        if let (Some(pid), Some(start)) = (words.next().and_then(|p| u32::try_from(p).ok()), words.next())
            && start_time(pid) == Some(start)
        {
            found.insert((pid, start));
        }
    }
    let inodes: BTreeSet<u64> = namespaces.iter().filter_map(|p| Some(fs::metadata(p).ok()?.ino())).collect();
    for pid in names(Path::new("/proc")).iter().filter_map(|n| n.parse::<u32>().ok()) {
        if fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| inodes.contains(&m.ino())) {
            found.extend(start_time(pid).map(|start| (pid, start)));
        }
    }
    let me = std::process::id();
    found.into_iter().filter(|(pid, _)| *pid != me).filter_map(|(p, s)| Some((i32::try_from(p).ok()?, s))).collect()
}

fn end_processes(run: RunId, namespaces: &[PathBuf]) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = processes(run, namespaces);
        if left.is_empty() || Instant::now() > deadline {
            return;
        }
        for (pid, _) in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            // Ours to collect, where we started it.
            let _ = nix::sys::wait::waitpid(Pid::from_raw(pid), Some(nix::sys::wait::WaitPidFlag::WNOHANG));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// When the process began, in clock ticks after boot; None: there is none, or only its exit status is left.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok()).collect()
}

fn remove_tree(path: &Path) {
    if path.is_dir() && fs::remove_dir_all(path).is_err() {
        // bpffs refuses what remove_dir_all does with open directories on some kernels: one by one.
        for name in names(path) {
            let entry = path.join(name);
            if entry.is_dir() {
                remove_tree(&entry);
            } else {
                let _ = fs::remove_file(&entry);
            }
        }
        let _ = fs::remove_dir(path);
    }
}
