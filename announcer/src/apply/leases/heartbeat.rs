//! This node's heartbeat Lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::FIELD_MANAGER;
use crate::{api::names, world::beats::BEAT_EVERY, world::model::NodeFacts};

/// What the heartbeat says. A change is told by an extra beat at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    pub facts: NodeFacts,
    /// UID of this node's Node object, which owns the Lease; None: not known yet, the Lease has no owner until it is.
    pub node_uid: Option<String>,
    /// Raised when the Lease was found gone, to have it written again at once.
    pub again: u64,
}

/// Extra beats are no closer than this, however often the facts change.
const CLOSEST: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Beats every [`BEAT_EVERY`] and at every change of `beat`, until its sender is gone.
pub fn spawn_heartbeat(client: Client, namespace: &str, node: &str, mut beat: watch::Receiver<Beat>) -> JoinHandle<()> {
    let api: Api<Lease> = Api::namespaced(client, namespace);
    let node = node.to_owned();
    tokio::spawn(async move {
        let mut rhythm = Rhythm::default();
        loop {
            let content = beat.borrow_and_update().clone();
            let started = Instant::now();
            let failure = write(&api, &node, &content).await.err();
            rhythm.told(failure.as_deref());
            let next = started + rhythm.next(failure.is_some(), jitter());
            tokio::select! {
                () = sleep_until(next) => {}
                changed = beat.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // A failing server is not asked more often because the facts change.
                    sleep_until(if failure.is_some() { next } else { started + CLOSEST }).await;
                }
            }
        }
    })
}

/// When to beat next.
#[derive(Debug, Default)]
struct Rhythm {
    failures: u32,
    told: Option<String>,
}

impl Rhythm {
    /// `jitter` in 0..1000: beats of a cluster that was started at one time drift apart.
    fn next(&mut self, failed: bool, jitter: u32) -> Duration {
        if failed {
            let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(8)).min(LONGEST_PAUSE);
            self.failures = self.failures.saturating_add(1);
            return pause + pause * jitter / 4000;
        }
        self.failures = 0;
        BEAT_EVERY - BEAT_EVERY * jitter / 20_000
    }

    fn told(&mut self, failure: Option<&str>) {
        match failure {
            Some(reason) if self.told.as_deref() != Some(reason) => {
                tracing::warn!("this node's heartbeat cannot be written: {reason}; after 25 s others take its VIPs");
            }
            None if self.told.is_some() => tracing::info!("this node's heartbeat is written again"),
            _ => {}
        }
        self.told = failure.map(str::to_owned);
    }
}

/// Below 1000; good enough to spread beats.
fn jitter() -> u32 {
    Timestamp::now().subsec_nanosecond().unsigned_abs() / 1000 % 1000
}

async fn write(api: &Api<Lease>, node: &str, beat: &Beat) -> Result<(), String> {
    let name = names::node_lease(node);
    let content = lease(node, beat, Timestamp::now())?;
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match timeout(ANSWER_WITHIN, api.patch(&name, &params, &Patch::Apply(content))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Err(format!("{}; apply deploy/ (its Role is missing or too old)", status.message))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the API server does not answer".to_owned()),
    }
}

/// The whole Lease, for server-side apply: creates it where it is missing, in one request.
fn lease(node: &str, beat: &Beat, now: Timestamp) -> Result<Value, String> {
    let facts = serde_json::to_string(&beat.facts).map_err(|error| error.to_string())?;
    let mut metadata = json!({
        "name": names::node_lease(node),
        "labels": {names::KIND_LABEL: names::KIND_NODE},
        "annotations": {names::NODE_ANNOTATION: facts},
    });
    if let Some(uid) = &beat.node_uid {
        // The Lease goes with its Node.
        metadata["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}]);
    }
    Ok(json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {"holderIdentity": node, "renewTime": format!("{now:.6}")},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_server_is_tried_again_soon_and_then_every_five_seconds() {
        let mut rhythm = Rhythm::default();
        let pauses: Vec<u128> = (0..6).map(|_| rhythm.next(true, 0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(rhythm.next(false, 0), BEAT_EVERY);
        assert_eq!(rhythm.next(true, 0), FIRST_PAUSE);
    }

    #[test]
    fn beats_stay_close_enough_for_two_to_be_lost() {
        let mut rhythm = Rhythm::default();
        for jitter in [0, 500, 999] {
            let pause = rhythm.next(false, jitter);
            assert!(pause <= BEAT_EVERY && pause >= BEAT_EVERY * 19 / 20, "{pause:?}");
        }
    }

    #[test]
    fn the_lease_is_owned_by_its_node_and_says_the_facts() {
        let beat = Beat { node_uid: Some("u".to_owned()), ..Beat::default() };
        let value = lease("n1", &beat, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(value["metadata"]["name"], "node-n1");
        assert_eq!(value["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!(value["spec"]["renewTime"], "1970-01-01T00:00:00.000000Z");
        let typed: Lease = serde_json::from_value(value).unwrap();
        let facts = typed.metadata.annotations.unwrap().remove(names::NODE_ANNOTATION).unwrap();
        assert_eq!(serde_json::from_str::<NodeFacts>(&facts).unwrap(), NodeFacts::default());
    }
}
