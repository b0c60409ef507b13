//! The client, and whether it works.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::time::timeout;
use tower_layer::layer_fn;

use super::{
    count::{Count, Counted},
    trouble::chain,
};

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

/// A try to connect that takes longer is begun anew: after a cut the next one succeeds at once, while the kernel's own
/// repeats of one SYN grow far apart.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Makes the client, by `kubeconfig` or by the pod's ServiceAccount; nothing is sent yet. `count` is told of every
/// request.
///
/// # Errors
/// [`ConnectError::Kubeconfig`], [`ConnectError::NotInCluster`].
pub async fn connect(kubeconfig: Option<PathBuf>, count: Count) -> Result<ApiServer, ConnectError> {
    let mut config = match &kubeconfig {
        Some(path) => {
            let refuse =
                |error: &dyn std::error::Error| ConnectError::Kubeconfig { path: path.clone(), reason: chain(error) };
            let file = Kubeconfig::read_from(path).map_err(|error| refuse(&error))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(|error| refuse(&error))?
        }
        None => Config::incluster().map_err(|error| ConnectError::NotInCluster { reason: chain(&error) })?,
    };
    config.connect_timeout = Some(CONNECT_WITHIN);
    let url = config.cluster_url.to_string();
    let addresses = resolve(config.cluster_url.host()).await;
    let stack = ClientBuilder::try_from(config).map_err(|error| match kubeconfig {
        Some(path) => ConnectError::Kubeconfig { path, reason: chain(&error) },
        None => ConnectError::NotInCluster { reason: chain(&error) },
    })?;
    let client = stack.with_layer(&layer_fn(|inner| Counted { inner, count: Arc::clone(&count) })).build();
    Ok(ApiServer { client, url, addresses })
}

/// Asks the server once whether it takes the credentials.
///
/// # Errors
/// [`ConnectError::Unauthorized`], or [`ConnectError::Unreachable`], which is no reason to end.
pub async fn check(api: &ApiServer) -> Result<(), ConnectError> {
    let url = api.url.clone();
    match timeout(ANSWER_WITHIN, api.client.apiserver_version()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if status.code == 401 => {
            Err(ConnectError::Unauthorized { url, reason: status.message.clone() })
        }
        Ok(Err(kube::Error::Auth(error))) => Err(ConnectError::Unauthorized { url, reason: chain(&error) }),
        // Any other answer is one: /version may be closed to this agent.
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Ok(()),
        Ok(Err(error)) => Err(ConnectError::Unreachable { url, reason: chain(&error) }),
        Err(_) => {
            Err(ConnectError::Unreachable { url, reason: format!("no answer within {} s", ANSWER_WITHIN.as_secs()) })
        }
    }
}

/// The server's addresses; a name is asked for once, as far as it can be answered now.
async fn resolve(host: Option<&str>) -> BTreeSet<IpAddr> {
    let Some(host) = host else { return BTreeSet::new() };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse() {
        return BTreeSet::from([ip]);
    }
    match timeout(ANSWER_WITHIN, tokio::net::lookup_host((bare, 443))).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        Ok(Err(_)) | Err(_) => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Count {
        Arc::new(|_, _| {})
    }

    async fn refused(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        std::fs::write(&path, text).unwrap();
        let error = connect(Some(path), nobody()).await.unwrap_err();
        assert!(!error.is_transient());
        error.to_string()
    }

    #[tokio::test]
    async fn a_kubeconfig_that_does_not_work_is_named_with_the_reason() {
        let missing = connect(Some("/nonexistent/kubeconfig".into()), nobody()).await.unwrap_err().to_string();
        assert!(missing.contains("/nonexistent/kubeconfig") && missing.contains("No such file"), "{missing}");
        assert!(refused(": [").await.contains("correct the file"));
        let dangling =
            refused("{apiVersion: v1, kind: Config, current-context: away, contexts: [], clusters: []}").await;
        assert!(dangling.contains("away") || dangling.contains("context"), "{dangling}");
    }

    #[tokio::test]
    async fn the_servers_address_is_known_from_its_url() {
        for (host, want) in [("192.0.2.1", "192.0.2.1"), ("[fd00::1]", "fd00::1")] {
            assert_eq!(resolve(Some(host)).await, BTreeSet::from([want.parse::<IpAddr>().unwrap()]));
        }
    }
}
