//! The manifests, as the API server takes them.

use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::{
    cluster::Cluster,
    lab::Shape,
    runner::{Case, Scope, Suite},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(Suite::Lab, "every_kustomization_in_deploy_is_accepted_without_a_warning", accepted)
            .group("control-plane"),
        Case::new(Suite::Lab, "manifests_that_are_applied_again_change_nothing", applied_again).group("control-plane"),
    ]
}

fn cluster(scope: &mut Scope) -> anyhow::Result<&mut Cluster> {
    scope.shared(|scope| Cluster::without_agents(scope.run, Shape { nodes: 1, clients: 1 }))
}

fn directory(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name).display().to_string()
}

fn accepted(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = cluster(scope)?;
    for name in ["base", "overlays/talos", "cleanup"] {
        let output =
            cluster.control.kubectl(&["apply", "--server-side", "--dry-run=server", "-k", &directory(name)])?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "deploy/{name}: {errors}");
        // The API server warns of unknown fields and of pods that their namespace's Pod Security level forbids.
        ensure!(errors.is_empty(), "deploy/{name} is accepted with: {errors}");
    }
    Ok(())
}

fn applied_again(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = cluster(scope)?;
    let base = directory("base");
    let versions = || {
        let columns = "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion} {end}";
        cluster.control.kubectl_checked(&["get", "-k", &base, "-o", columns])
    };
    let before = versions().context("what was applied at the start is not there")?;
    ensure!(before.contains("DaemonSet/announcer="), "no DaemonSet among {before}");
    cluster.control.apply_manifests()?;
    let after = versions()?;
    ensure!(before == after, "applied again, {before} became {after}");
    Ok(())
}
