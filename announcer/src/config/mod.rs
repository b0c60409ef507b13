//! Settings of the agent: by flag, else by environment, else from the YAML file, else the default.
//!
//! The file's keys are the flags' names, so there is one set of names to learn. All values are checked here; nothing
//! later has to ask whether a setting makes sense.

mod file;
mod flags;
mod value;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use file::FileSettings;
pub use flags::{Flags, PathFlags};
pub use value::{Classless, LogFormat};

use crate::world::pattern::LinkPattern;

/// Directory of the pins, unless told otherwise.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf/announcer";
/// Directory of the lock and the control socket, unless told otherwise.
pub const DEFAULT_RUN_DIR: &str = "/run/announcer";
/// Where metrics and health are served, unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9962";
/// Namespace of announcer's own objects, unless told otherwise.
pub const DEFAULT_NAMESPACE: &str = "announcer-system";
/// UDP port for peers, unless told otherwise.
pub const DEFAULT_PEER_PORT: u16 = 7962;
/// How long the data path goes on without its agent, unless told otherwise.
pub const DEFAULT_HOLD_TIME: Duration = Duration::from_secs(600);

/// Why the settings cannot be used; each names the setting and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the settings file {path}: {source}; check --config (or ANNOUNCER_CONFIG)")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("settings file {path}: {message}\nThe keys are the flags' names: see `announcer agent --help`")]
    File { path: PathBuf, message: String },
    #[error(
        "this node's name is not known: give --node-name, or set NODE_NAME (in a DaemonSet: \
         `fieldRef: {{fieldPath: spec.nodeName}}`)"
    )]
    NoNodeName,
    #[error("{name} ({path}) is not there: correct it, or leave it out")]
    NoSuchFile { name: &'static str, path: PathBuf },
}

/// All settings, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This node's name, as its Node object has it.
    pub node_name: String,
    /// None: `KUBECONFIG` was not given either, so the Pod's own ServiceAccount is used.
    pub kubeconfig: Option<PathBuf>,
    /// Regular expressions, each matching whole link names; empty: the link of the default route.
    pub interfaces: Vec<LinkPattern>,
    pub paths: Paths,
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub listen: SocketAddr,
    /// For peers, which come with a later version.
    pub peer_port: u16,
    /// For peers, which come with a later version.
    pub peer_key_file: Option<PathBuf>,
    /// Namespace of announcer's own Leases.
    pub namespace: String,
    /// How long the data path goes on without its agent.
    pub hold_time: Duration,
    /// Whether Services without `spec.loadBalancerClass` are served.
    pub classless: Classless,
    /// Entries of the flow table.
    pub flows: u32,
    pub log_format: LogFormat,
}

/// The directories, which every command needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// On a BPF file system: programs, links and maps are pinned below it.
    pub bpffs: PathBuf,
    /// Lock and control socket.
    pub run_dir: PathBuf,
}

impl Paths {
    /// The socket by which the commands talk to the running agent.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.run_dir.join("control.sock")
    }
}

impl Settings {
    /// Settles every value from `flags` (which hold the environment's values too) and the file that they name.
    ///
    /// # Errors
    /// The file cannot be read or has an unknown key or a wrong value; the node's name is missing; a file that a
    /// setting names is not there.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let file = flags.paths.read_file()?;
        Self::settle(flags, file)
    }

    fn settle(flags: Flags, file: FileSettings) -> Result<Self, ConfigError> {
        let paths = flags.paths.settle(&file);
        let node_name = flags.node_name.or(file.node_name).filter(|name| !name.is_empty());
        let settings = Self {
            node_name: node_name.ok_or(ConfigError::NoNodeName)?,
            kubeconfig: flags.kubeconfig.or(file.kubeconfig),
            interfaces: if flags.interface.is_empty() { file.interface } else { flags.interface },
            paths,
            listen: flags.listen.or(file.listen).unwrap_or_else(default_listen),
            peer_port: flags.peer_port.or(file.peer_port).unwrap_or(DEFAULT_PEER_PORT),
            peer_key_file: flags.peer_key_file.or(file.peer_key_file),
            namespace: flags.namespace.or(file.namespace).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            hold_time: flags.hold_time.or(file.hold_time).unwrap_or(DEFAULT_HOLD_TIME),
            classless: flags.classless.or(file.classless).unwrap_or_default(),
            flows: flags.flows.or(file.flows).unwrap_or(announcer_ebpf::abi::DEFAULT_FLOWS),
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
        };
        for (name, path) in [("--kubeconfig", &settings.kubeconfig), ("--peer-key-file", &settings.peer_key_file)] {
            if let Some(path) = path.as_ref().filter(|path| !path.exists()) {
                return Err(ConfigError::NoSuchFile { name, path: path.clone() });
            }
        }
        Ok(settings)
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9962))
}

#[cfg(test)]
mod tests;
