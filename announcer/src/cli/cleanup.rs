//! `announcer cleanup`: takes away what agents left on this node, and the node's heartbeat Lease where it can be
//! reached.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Context;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::DeleteParams};
use serde::Serialize;

use super::{Output, show};
use crate::{
    agent::lock::RunDirLock,
    api::names,
    config::{DEFAULT_NAMESPACE, PathFlags, Paths},
    datapath::{self, Cleaned},
    world::kube::connect,
};

#[derive(Debug, clap::Args)]
pub(super) struct Cleanup {
    #[command(flatten)]
    paths: PathFlags,
    /// This node's name: its heartbeat Lease is deleted as well
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// Access to the API server, for the heartbeat Lease; without it: the Pod's own ServiceAccount
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of announcer's own Leases [default: announcer-system]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,
    /// How the answer is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    /// Wait to be stopped when done: for a DaemonSet, whose containers must not end
    #[arg(long)]
    wait: bool,
}

/// What was found and removed.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    #[serde(flatten)]
    cleaned: Cleaned,
    /// Name of the heartbeat Lease.
    lease: Option<String>,
    /// What could not be done, with the remedy.
    notes: Vec<String>,
}

impl Cleanup {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let paths = self.paths.load()?;
        // A running agent would put everything back.
        let lock = RunDirLock::take(&paths.run_dir)?;
        let mut removed = Removed { cleaned: datapath::cleanup(&paths.bpffs, &paths.run_dir)?, ..Removed::default() };
        remove_run_dir(&paths, &mut removed.cleaned);
        drop(lock);
        if let Some(node) = &self.node_name {
            let lease = names::node_lease(node);
            match self.delete(&lease) {
                Ok(true) => removed.lease = Some(lease),
                Ok(false) => {}
                Err(error) => removed.notes.push(format!(
                    "the heartbeat Lease is not deleted ({}): `kubectl -n {} delete lease {lease}` does it",
                    super::message(&error),
                    self.namespace()
                )),
            }
        }
        show::print(self.output, &removed, table)?;
        if self.wait {
            loop {
                std::thread::park();
            }
        }
        Ok(())
    }

    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// Deletes a Lease; whether it was there.
    fn delete(&self, lease: &str) -> anyhow::Result<bool> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start a runtime")?.block_on(async {
            let api = connect(self.kubeconfig.clone(), Arc::new(|_, _| {})).await?;
            let leases: Api<Lease> = Api::namespaced(api.client, self.namespace());
            match leases.delete(lease, &DeleteParams::default()).await {
                Ok(_) => Ok(true),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
    }
}

/// The lock and the socket, and the directory where it is ours alone. The lock is held by its open file, not its name.
fn remove_run_dir(paths: &Paths, cleaned: &mut Cleaned) {
    for file in [paths.control_socket(), RunDirLock::file(&paths.run_dir)] {
        if fs::remove_file(&file).is_ok() {
            cleaned.files.push(file);
        }
    }
    // In a pod it is a mount, or somebody put a file there: then it stays.
    if fs::remove_dir(&paths.run_dir).is_ok() {
        cleaned.directories.push(paths.run_dir.clone());
    }
}

fn table(removed: &Removed) -> String {
    let Cleaned { links, maps, directories, files } = &removed.cleaned;
    let mut text = String::new();
    for (what, paths) in [("program", links), ("pin", maps), ("directory", directories), ("file", files)] {
        text.extend(paths.iter().map(|path| format!("removed {what} {}\n", path.display())));
    }
    if let Some(lease) = &removed.lease {
        text += &format!("deleted Lease {lease}\n");
    }
    if links.is_empty() && maps.is_empty() {
        text += "No programs or maps of announcer are on this node.\n";
    }
    text.extend(removed.notes.iter().map(|note| format!("note: {note}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_trace_is_cleaned_too() {
        let dir = tempfile::tempdir().unwrap();
        let cleanup = Cleanup {
            paths: PathFlags {
                config: None,
                bpffs: Some(dir.path().join("bpf")),
                run_dir: Some(dir.path().join("run")),
            },
            node_name: None,
            kubeconfig: None,
            namespace: None,
            output: Output::Json,
            wait: false,
        };
        cleanup.run().unwrap();
        assert!(!dir.path().join("run").exists());
        cleanup.run().unwrap();
    }

    #[test]
    fn a_running_agent_is_not_pulled_from_under() {
        let dir = tempfile::tempdir().unwrap();
        let _agent = RunDirLock::take(dir.path()).unwrap();
        let paths = PathFlags { run_dir: Some(dir.path().to_owned()), ..PathFlags::default() };
        let cleanup =
            Cleanup { paths, node_name: None, kubeconfig: None, namespace: None, output: Output::Table, wait: false };
        let error = cleanup.run().unwrap_err().to_string();
        assert!(error.contains("another agent runs"), "{error}");
    }
}
