//! `deploy/crds` and the Rust types say the same.

use std::path::PathBuf;
use std::{env, fs};

/// Set by `cargo xtask crds`: write the files instead of comparing them.
const WRITE: &str = "ANNOUNCER_WRITE_CRDS";

#[test]
fn the_crds_in_deploy_are_those_of_the_rust_types() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    for (name, yaml) in announcer::api::crds() {
        let path = dir.join(&name);
        if env::var_os(WRITE).is_some() {
            fs::write(&path, &yaml).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == yaml, "deploy/crds/{name} differs from the Rust types: run `cargo xtask crds` and commit");
    }
}
