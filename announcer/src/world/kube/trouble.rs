//! What went wrong with the API server, in plain words and with the remedy.

use std::error::Error;

use kube::runtime::watcher;

use crate::world::message::Kind;

/// None: nothing to speak of (the watch was too old and lists anew).
pub(super) fn of_watch(kind: Kind, error: &watcher::Error) -> Option<String> {
    match error {
        watcher::Error::WatchError(status) if status.code == 410 => None,
        watcher::Error::WatchError(status) => Some(of_status(kind, status.code, &status.message)),
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => of_request(kind, error),
        watcher::Error::NoResourceVersion => {
            Some(format!("the API server's list of {kind} has no version: is it a Kubernetes API server?"))
        }
    }
}

pub(super) fn of_request(kind: Kind, error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) if status.code == 410 => None,
        kube::Error::Api(status) => Some(of_status(kind, status.code, &status.message)),
        other => Some(format!("the API server does not answer about {kind}: {}", chain(other))),
    }
}

fn of_status(kind: Kind, code: u16, message: &str) -> String {
    match (code, kind) {
        (401, _) => "the API server refuses this agent's credentials: renew its token or kubeconfig".to_owned(),
        (403, _) => format!("this agent may not read {kind}: apply deploy/ (its ClusterRole is missing or too old)"),
        (404, Kind::Pools | Kind::Policies) => format!("the API server does not know {kind}: apply deploy/crds"),
        (429, _) => format!("the API server is too busy to answer about {kind}; it is tried again"),
        _ => format!("the API server fails to answer about {kind}: {code} {message}; it is tried again"),
    }
}

/// An error with its causes, which kube's own text often leaves out.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_crd_names_the_remedy() {
        assert!(of_status(Kind::Pools, 404, "not found").contains("apply deploy/crds"));
        assert!(of_status(Kind::Services, 403, "forbidden").contains("apply deploy/"));
    }
}
