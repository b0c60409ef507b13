//! Watches on the API server, turned into plain data.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

use kube::Client;
use tokio::{sync::mpsc, task::JoinSet};

use super::message::Message;

/// Why the API server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("kubeconfig {path}: {reason}; correct the file, or leave --kubeconfig out inside a cluster")]
    Kubeconfig { path: PathBuf, reason: String },
    #[error(
        "no kubeconfig is given and this is no pod of a cluster ({reason}): give --kubeconfig, or run announcer by its \
         DaemonSet"
    )]
    NotInCluster { reason: String },
    #[error("the API server {url} refuses this agent's credentials ({reason}): renew its token or kubeconfig")]
    Unauthorized { url: String, reason: String },
    #[error("the API server {url} does not answer: {reason}; it is tried again, what is known stays in force")]
    Unreachable { url: String, reason: String },
}

impl ConnectError {
    /// Whether the agent may go on and try again, as the data path does not need the API server.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// A client and where it goes.
#[derive(Clone)]
pub struct ApiServer {
    pub client: Client,
    pub url: String,
    /// Addresses of the server: never a VIP.
    pub addresses: BTreeSet<IpAddr>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Makes the client, by `kubeconfig` or by the pod's ServiceAccount; nothing is sent yet.
///
/// # Errors
/// [`ConnectError::Kubeconfig`], [`ConnectError::NotInCluster`].
#[allow(clippy::unused_async, reason = "reading the file follows")]
pub async fn connect(kubeconfig: Option<PathBuf>) -> Result<ApiServer, ConnectError> {
    Err(ConnectError::Kubeconfig { path: kubeconfig.unwrap_or_default(), reason: "not read yet".to_owned() })
}

/// Asks the server once whether it takes the credentials.
///
/// # Errors
/// [`ConnectError::Unauthorized`], or [`ConnectError::Unreachable`], which is no reason to end.
#[allow(clippy::unused_async, reason = "the request follows")]
pub async fn check(api: &ApiServer) -> Result<(), ConnectError> {
    Err(ConnectError::Unreachable { url: api.url.clone(), reason: "not asked yet".to_owned() })
}

/// Starts a task for each kind; they end when `to` is closed or the set is dropped.
#[must_use]
pub fn watch(api: &ApiServer, namespace: &str, to: mpsc::Sender<Message>) -> JoinSet<()> {
    drop((api.clone(), namespace.to_owned(), to));
    JoinSet::new()
}
