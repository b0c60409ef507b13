use std::{
    io::Read,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use anyhow::Context;

use super::{RunId, reaper};

/// A process that waits for its starter's end, however it comes, and then removes what carries the run's id.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    pub(super) fn start(run: RunId) -> anyhow::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["guard", "--run", &run.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: setsid is async-signal-safe and touches only the new process, which so survives its starter's group.
        unsafe { command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?)) };
        command.spawn().map(Self).context("starting the lab's guard")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Closes its standard input: it finds the lab removed, or kept.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Body of the guard's process.
pub fn guard(run: RunId) {
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
    if !reaper::is_kept(&run) {
        reaper::remove(&run);
    }
}
