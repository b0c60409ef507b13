use std::{
    fs::File,
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Command, Output},
    sync::Arc,
    thread::JoinHandle,
};

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, setns};

use super::RunId;

/// A network namespace of a lab. It exists until the reaper removes it by its name.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: String,
    file: Arc<File>,
}

impl Namespace {
    /// Makes the namespaces `parts` of the run, each with its loopback up.
    pub fn create(run: RunId, parts: &[&str]) -> anyhow::Result<Vec<Self>> {
        let add: Vec<String> = parts.iter().map(|p| format!("netns add {}", run.namespace(p))).collect();
        ip_batch(None, &add)?;
        parts
            .iter()
            .map(|part| {
                let name = run.namespace(part);
                let path = format!("/run/netns/{name}");
                let file = File::open(&path).with_context(|| format!("opening {path}"))?;
                let namespace = Self { name, file: Arc::new(file) };
                namespace.ip(&["link set lo up".to_owned()])?;
                Ok(namespace)
            })
            .collect()
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `f` on a thread inside: sockets that it opens belong to this namespace.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                f()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The same in the background.
    pub fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let namespace = self.clone();
        std::thread::spawn(move || {
            namespace.enter();
            f()
        })
    }

    /// A command whose process starts inside. Only the network changes: file systems, bpffs among them, stay (unlike
    /// with `ip netns exec`, which mounts a fresh /sys), so /sys/class/net still shows the machine's own links.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let file = Arc::clone(&self.file);
        // SAFETY: setns is async-signal-safe, changes only the new process, and its descriptor lives in the closure.
        unsafe { command.pre_exec(move || Ok(setns(file.as_fd(), CloneFlags::CLONE_NEWNET)?)) };
        command
    }

    /// Runs a command line (split at blanks) to its end.
    pub fn output(&self, line: &str) -> anyhow::Result<Output> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        self.command(program).args(words).output().with_context(|| format!("running {line} in {}", self.name))
    }

    /// The same; its standard output, or an error with what it wrote to standard error.
    pub fn text(&self, line: &str) -> anyhow::Result<String> {
        let output = self.output(line)?;
        if !output.status.success() {
            bail!("{line} in {}: {}: {}", self.name, output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `ip` commands (without the leading `ip`) in one process.
    pub fn ip(&self, lines: &[String]) -> anyhow::Result<()> {
        ip_batch(Some(&self.name), lines)
    }

    /// Writes a sysctl given by its path below /proc/sys/net.
    pub fn sysctl(&self, path: &str, value: &str) -> anyhow::Result<()> {
        let path = format!("/proc/sys/net/{path}");
        self.run(|| std::fs::write(&path, value)).with_context(|| format!("writing {value} to {path} in {}", self.name))
    }

    /// Moves this thread inside, for good.
    fn enter(&self) {
        if let Err(error) = setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET) {
            panic!("entering namespace {}: {error}", self.name);
        }
    }
}

/// Runs lines of `ip -batch`, which stops at the first that fails.
pub(super) fn ip_batch(namespace: Option<&str>, lines: &[String]) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new().context("a file for ip -batch")?;
    std::fs::write(file.path(), lines.join("\n") + "\n")?;
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    let output = command.arg("-batch").arg(file.path()).output().context("running ip (package iproute2)")?;
    if !output.status.success() {
        bail!(
            "ip -batch in {}: {}\n{}",
            namespace.unwrap_or("the machine"),
            String::from_utf8_lossy(&output.stderr).trim(),
            lines.join("\n")
        );
    }
    Ok(())
}
