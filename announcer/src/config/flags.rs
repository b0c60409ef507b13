//! Settings by flag and by environment (clap gives the flag precedence).

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    ConfigError, DEFAULT_BPFFS, DEFAULT_RUN_DIR, FileSettings, Paths,
    value::{self, Classless, LogFormat},
};
use crate::world::pattern::LinkPattern;

/// Flags of `announcer agent`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// This node's name, as its Node object has it
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// Access to the API server; without it: the Pod's own ServiceAccount
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Links to serve: a regular expression of whole names, repeatable [default: the link of the default route]
    #[arg(long, env = "ANNOUNCER_INTERFACE", value_name = "REGEX", value_delimiter = ',', value_parser = value::interface)]
    pub interface: Vec<LinkPattern>,

    #[command(flatten)]
    pub paths: PathFlags,

    /// Address of /metrics, /healthz and /readyz [default: 127.0.0.1:9962]
    #[arg(long, env = "ANNOUNCER_LISTEN", value_name = "ADDR:PORT", value_parser = value::listen)]
    pub listen: Option<SocketAddr>,

    /// UDP port for peers; checked, but not used yet: peers come with a later version [default: 7962]
    #[arg(long, env = "ANNOUNCER_PEER_PORT", value_name = "PORT", value_parser = value::port)]
    pub peer_port: Option<u16>,

    /// File with the peers' key; checked, but not used yet: peers come with a later version
    #[arg(long, env = "ANNOUNCER_PEER_KEY_FILE", value_name = "FILE")]
    pub peer_key_file: Option<PathBuf>,

    /// Namespace of announcer's own Leases [default: announcer-system]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME", value_parser = value::namespace)]
    pub namespace: Option<String>,

    /// How long the data path goes on when no agent runs [default: 10m]
    #[arg(long, env = "ANNOUNCER_HOLD_TIME", value_name = "TIME", value_parser = value::hold_time)]
    pub hold_time: Option<Duration>,

    /// Serve Services without a loadBalancerClass; auto: unless another allocator is at work [default: auto]
    #[arg(long, env = "ANNOUNCER_CLASSLESS", value_enum, hide_possible_values = false)]
    pub classless: Option<Classless>,

    /// Entries of the flow table; fixed once the maps are pinned [default: 262144]
    #[arg(long, env = "ANNOUNCER_FLOWS", value_name = "NUMBER", value_parser = value::flows)]
    pub flows: Option<u32>,

    /// How log lines look; what is logged: ANNOUNCER_LOG, such as info or announcer=debug [default: text]
    #[arg(long, env = "ANNOUNCER_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PathFlags {
    /// YAML file of settings, its keys the flags' names
    #[arg(long, env = "ANNOUNCER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Directory on a BPF file system for pins [default: /sys/fs/bpf/announcer]
    #[arg(long, env = "ANNOUNCER_BPFFS", value_name = "DIR")]
    pub bpffs: Option<PathBuf>,

    /// Directory of the lock and the control socket [default: /run/announcer]
    #[arg(long, env = "ANNOUNCER_RUN_DIR", value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
}

impl PathFlags {
    /// The directories, for commands that need nothing else of the file.
    ///
    /// # Errors
    /// The file that they name cannot be used.
    pub fn load(&self) -> Result<Paths, ConfigError> {
        Ok(self.settle(&self.read_file()?))
    }

    pub(super) fn read_file(&self) -> Result<FileSettings, ConfigError> {
        self.config.as_deref().map_or_else(|| Ok(FileSettings::default()), FileSettings::read)
    }

    pub(super) fn settle(&self, file: &FileSettings) -> Paths {
        let pick = |flag: &Option<PathBuf>, file: &Option<PathBuf>, default: &str| {
            flag.clone().or_else(|| file.clone()).unwrap_or_else(|| default.into())
        };
        Paths {
            bpffs: pick(&self.bpffs, &file.bpffs, DEFAULT_BPFFS),
            run_dir: pick(&self.run_dir, &file.run_dir, DEFAULT_RUN_DIR),
        }
    }
}
