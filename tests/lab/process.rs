use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{RunId, reaper};
use crate::wait::wait_until;

/// A process of the lab with its output in a file; ended when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Outlives this value (a lab that is kept).
    detached: bool,
}

impl Process {
    /// Starts `command`; its output is appended to `<name>.log` in the run's directory.
    pub fn start(run: RunId, name: &str, mut command: Command) -> anyhow::Result<Self> {
        let log = run.directory().join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // SAFETY: setsid is async-signal-safe and touches only the new process. Signals to a case's group (an interrupt
        // at the terminal) then reach it only through the lab's own clean-up.
        unsafe { command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?)) };
        let child =
            command.spawn().with_context(|| format!("starting {name} ({})", command.get_program().display()))?;
        reaper::record_process(run, child.id()).context("recording a process")?;
        Ok(Self { name: name.to_owned(), child, log, detached: false })
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let name = self.name.clone();
        wait_until(&format!("{name} ends"), limit, || Ok(self.child.try_wait()?))
    }

    /// SIGKILL, and collects it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// All that it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Lets it live on after this value.
    pub fn detach(&mut self) {
        self.detached = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.detached {
            self.kill();
        }
    }
}
