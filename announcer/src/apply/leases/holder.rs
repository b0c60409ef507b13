//! Who holds a Lease: compare-and-swap by resourceVersion.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::FIELD_MANAGER;
use crate::api::names;

/// A holder to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HolderWrite {
    /// Name of the Lease.
    pub lease: String,
    /// None: nobody (this node gives it up).
    pub holder: Option<String>,
    pub term: u64,
    /// The version that the decision was made on; another one refuses the write. None: the Lease is to be created (the
    /// allocator's only).
    pub resource_version: Option<String>,
}

/// Writes holders, each in a task of its own, one at a time for each Lease.
pub struct HolderWriter {
    api: Api<Lease>,
    /// What is under way or was last written, by Lease.
    under_way: BTreeMap<String, (HolderWrite, JoinHandle<()>)>,
}

impl std::fmt::Debug for HolderWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HolderWriter").field("under_way", &self.under_way.keys()).finish_non_exhaustive()
    }
}

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl HolderWriter {
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), under_way: BTreeMap::new() }
    }

    /// Writes what is wanted now: all of it, so that what is no longer wanted is not tried again. Repeating a write that
    /// is under way or done does nothing; a lost race is no error, the watch tells of the winner. Returns at once.
    ///
    /// Must be called within a tokio runtime.
    pub fn want(&mut self, writes: Vec<HolderWrite>) {
        let wanted: BTreeMap<String, HolderWrite> =
            writes.into_iter().map(|write| (write.lease.clone(), write)).collect();
        self.under_way.retain(|lease, (write, task)| {
            let stays = wanted.get(lease) == Some(write);
            if !stays {
                // The answer no longer matters: the version it was decided on is history.
                task.abort();
            }
            stays
        });
        for (lease, write) in wanted {
            if let Entry::Vacant(entry) = self.under_way.entry(lease) {
                let task = tokio::spawn(persist(self.api.clone(), write.clone()));
                entry.insert((write, task));
            }
        }
    }
}

impl Drop for HolderWriter {
    fn drop(&mut self) {
        for (_, task) in self.under_way.values() {
            task.abort();
        }
    }
}

/// What came of one try.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Written,
    /// Another was faster, or the Lease is gone: the watch tells.
    Lost,
    Failed(String),
}

async fn persist(api: Api<Lease>, write: HolderWrite) {
    let mut pause = FIRST_PAUSE;
    let mut told = None;
    loop {
        match attempt(&api, &write).await {
            Outcome::Written => {
                tracing::info!(lease = write.lease, holder = write.holder, term = write.term, "holder written");
                return;
            }
            Outcome::Lost => {
                tracing::debug!(lease = write.lease, term = write.term, "another was faster");
                return;
            }
            Outcome::Failed(reason) => {
                if told.as_ref() != Some(&reason) {
                    tracing::warn!(lease = write.lease, "the holder cannot be written: {reason}; it is tried again");
                    told = Some(reason);
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn attempt(api: &Api<Lease>, write: &HolderWrite) -> Outcome {
    let answer = match &write.resource_version {
        Some(version) => {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(patch(write, version, Timestamp::now()));
            timeout(ANSWER_WITHIN, api.patch(&write.lease, &params, &patch)).await
        }
        None => {
            let Ok(lease) = serde_json::from_value::<Lease>(creation(write, Timestamp::now())) else {
                return Outcome::Failed("the Lease to create is malformed".to_owned());
            };
            let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            timeout(ANSWER_WITHIN, api.create(&params, &lease)).await
        }
    };
    match answer {
        Ok(Ok(_)) => Outcome::Written,
        // 409: a newer version, or there already; 404: gone.
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Outcome::Lost,
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Outcome::Failed(format!("{}; apply deploy/ (its Role is missing or too old)", status.message))
        }
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Err(_) => Outcome::Failed("the API server does not answer".to_owned()),
    }
}

/// A merge patch that holds only for the version that it was decided on.
fn patch(write: &HolderWrite, version: &str, now: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"resourceVersion": version},
        "spec": spec(write, now),
    })
}

fn spec(write: &HolderWrite, now: Timestamp) -> Value {
    let acquired = write.holder.as_ref().map(|_| format!("{now:.6}"));
    json!({
        "holderIdentity": write.holder,
        // The API's field is narrower than a term.
        "leaseTransitions": i32::try_from(write.term).unwrap_or(i32::MAX),
        "acquireTime": acquired,
    })
}

fn creation(write: &HolderWrite, now: Timestamp) -> Value {
    json!({
        "metadata": {"name": write.lease, "labels": {names::KIND_LABEL: names::KIND_ALLOCATOR}},
        "spec": spec(write, now),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(holder: Option<&str>, term: u64) -> HolderWrite {
        let holder = holder.map(str::to_owned);
        HolderWrite { lease: "vip-192-0-2-1".to_owned(), holder, term, resource_version: Some("7".to_owned()) }
    }

    #[test]
    fn a_holder_is_written_only_over_the_version_that_was_seen() {
        let patch = patch(&write(Some("n1"), 3), "7", Timestamp::UNIX_EPOCH);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["spec"]["holderIdentity"], "n1");
        assert_eq!(patch["spec"]["leaseTransitions"], 3);
    }

    #[test]
    fn giving_up_clears_the_holder_and_keeps_the_term() {
        let patch = patch(&write(None, u64::MAX), "7", Timestamp::UNIX_EPOCH);
        assert!(patch["spec"]["holderIdentity"].is_null() && patch["spec"]["acquireTime"].is_null());
        assert_eq!(patch["spec"]["leaseTransitions"], i32::MAX);
    }

    #[test]
    fn the_allocators_lease_is_created_with_its_label() {
        let lease: Lease = serde_json::from_value(creation(&write(Some("n1"), 1), Timestamp::UNIX_EPOCH)).unwrap();
        assert_eq!(lease.metadata.labels.unwrap()[names::KIND_LABEL], names::KIND_ALLOCATOR);
        assert_eq!(lease.spec.unwrap().lease_duration_seconds, None);
    }
}
