use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    lab::{Lab, Namespace, Node, Process},
    wait::wait_for,
};

/// Where an agent's metrics and health are, in its node's namespace.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9962);

/// An agent's process on a node, and its command line.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    namespace: Namespace,
    kubeconfig: PathBuf,
    bpffs: PathBuf,
    run_dir: PathBuf,
}

/// The agent's binary: `ANNOUNCER_BIN`, else beside this program.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    let path = match std::env::var_os("ANNOUNCER_BIN") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.with_file_name("announcer"),
    };
    ensure!(path.is_file(), "there is no {}: run `cargo xtask build`, or set ANNOUNCER_BIN", path.display());
    Ok(path)
}

impl Agent {
    /// Starts an agent as its Pod would: the ServiceAccount's token, pins and run directory of its own.
    pub fn start(lab: &Lab, node: &Node, kubeconfig: &Path, extra: &[&str]) -> anyhow::Result<Self> {
        let (bpffs, run_dir) = (lab.bpffs(node), lab.run_dir(node));
        let mut command = command(&node.namespace)?;
        command.arg("agent");
        command.arg("--node-name").arg(&node.name);
        command.arg("--kubeconfig").arg(kubeconfig);
        command.arg("--run-dir").arg(&run_dir);
        // These may be given otherwise; a flag twice would be an error.
        if !extra.contains(&"--bpffs") {
            command.arg("--bpffs").arg(&bpffs);
        }
        if !extra.contains(&"--listen") {
            command.args(["--listen", &LISTEN.to_string()]);
        }
        command.args(extra);
        let process = Process::start(lab.run, &format!("agent-{}", node.name), command)?;
        Ok(Self { process, namespace: node.namespace.clone(), kubeconfig: kubeconfig.to_owned(), bpffs, run_dir })
    }

    /// Ends what is left of the process and starts it again.
    pub(super) fn restart(mut self, lab: &Lab, node: &Node, extra: &[&str]) -> anyhow::Result<Self> {
        self.process.kill();
        Self::start(lab, node, &self.kubeconfig, extra)
    }

    /// Waits until `/readyz` says so.
    pub fn wait_ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        let (namespace, process) = (&self.namespace, &mut self.process);
        wait_for("the agent is ready", limit, || {
            if let Some(status) = process.ended()? {
                bail!("it ended ({status})");
            }
            let answer = get(namespace, "/readyz")?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "/readyz: {answer}");
            Ok(true)
        })
        .with_context(|| format!("the agent's log ends: {}", tail(&self.process.log(), 8)))
    }

    /// The body of `/metrics`.
    pub fn metrics(&self) -> anyhow::Result<String> {
        let answer = get(&self.namespace, "/metrics")?;
        Ok(answer.split_once("\r\n\r\n").context("no body")?.1.to_owned())
    }

    /// Runs `announcer <arguments>` on the node, with this agent's directories.
    pub fn cli(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = command(&self.namespace)?;
        command.args(arguments).arg("--run-dir").arg(&self.run_dir).arg("--bpffs").arg(&self.bpffs);
        command.output().context("running announcer")
    }

    /// The same with `--output json`, parsed.
    pub fn json(&self, command: &str) -> anyhow::Result<Value> {
        let output = self.cli(&[command, "--output", "json"])?;
        ensure!(output.status.success(), "announcer {command}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The command line by which a person runs `announcer <what>` on the node.
    pub fn line(&self, what: &str) -> anyhow::Result<String> {
        Ok(format!("{} {} {what} --run-dir {}", self.enter(), binary()?.display(), self.run_dir.display()))
    }

    /// What a person types before a command to run it on the node. (`ip netns exec` would hide the BPF file system.)
    #[must_use]
    pub fn enter(&self) -> String {
        format!("nsenter --net=/run/netns/{}", self.namespace.name())
    }

    #[must_use]
    pub fn log_path(&self) -> &Path {
        self.process.log_path()
    }

    /// SIGKILL; the process is gone when this returns.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(limit)
    }

    /// Waits for its end without doing anything to it.
    pub fn wait_end(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.process.wait(limit)
    }

    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.process.ended()
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    #[must_use]
    pub fn last_line(&self) -> String {
        tail(&self.process.log(), 1)
    }

    #[must_use]
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    pub(super) fn detach(&mut self) {
        self.process.detach();
    }
}

/// `announcer` in the namespace, without settings of this process's own environment.
fn command(namespace: &Namespace) -> anyhow::Result<Command> {
    let mut command = namespace.command(binary()?);
    for name in ["KUBECONFIG", "NODE_NAME", "POD_NAMESPACE"] {
        command.env_remove(name);
    }
    Ok(command)
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A GET by hand: status line, head and body.
fn get(namespace: &Namespace, path: &str) -> anyhow::Result<String> {
    namespace.run(|| {
        let mut stream = TcpStream::connect_timeout(&LISTEN, Duration::from_secs(1)).context("connecting")?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })
}
