use std::path::{Path, PathBuf};

use anyhow::bail;

/// Where kube-apiserver, etcd and kubectl are.
#[derive(Debug, Clone)]
pub struct Binaries {
    pub kube_apiserver: PathBuf,
    pub etcd: PathBuf,
    pub kubectl: PathBuf,
}

impl Binaries {
    /// In `KUBEBUILDER_ASSETS`, else where `cargo xtask kube-apiserver` builds them.
    pub fn find() -> anyhow::Result<Self> {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("kube/bin");
        let directory = std::env::var_os("KUBEBUILDER_ASSETS").map_or(built, PathBuf::from);
        let found = Self {
            kube_apiserver: directory.join("kube-apiserver"),
            etcd: directory.join("etcd"),
            kubectl: directory.join("kubectl"),
        };
        for binary in [&found.kube_apiserver, &found.etcd, &found.kubectl] {
            if !binary.is_file() {
                bail!("there is no {}: run `cargo xtask kube-apiserver` or set KUBEBUILDER_ASSETS", binary.display());
            }
        }
        Ok(found)
    }
}
