use std::path::Path;

use serde_json::{Value, json};

/// A kubeconfig with one cluster and one user (JSON, which is YAML).
pub(super) fn kubeconfig(server: &str, authority: &Path, token: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "user"}}],
        "current-context": "lab",
    })
}
