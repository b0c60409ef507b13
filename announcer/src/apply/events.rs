//! Events about Services and pools: told once, counted when repeated, and never more than the API server can bear.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use tracing::{debug, warn};

use super::error::ANSWER_WITHIN;
use crate::{
    api::names,
    plan::ipam::{Notice, Severity, Subject},
};

/// Events that wait; more are dropped.
const WAITING: usize = 4_096;
/// Between two Events, so that they take a small part of what the API server can do.
const PAUSE: Duration = Duration::from_millis(20);
/// What was said within this time is counted, not said again.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Events remembered at most.
const MEMORY: usize = 4_096;

/// Tells of notices, in a task of its own.
#[derive(Debug, Clone)]
pub(super) struct Events(mpsc::Sender<Notice>);

impl Events {
    /// Starts the task; `node` is the reporting instance. It ends with the last handle.
    pub(super) fn start(client: Client, node: String) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Notice>(WAITING);
        tokio::spawn(async move {
            let mut teller = Teller { client, node, said: HashMap::new() };
            while let Some(notice) = receiver.recv().await {
                teller.tell(&notice).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self(sender)
    }

    /// Tells of `notice` soon; never waits. Too many at once are dropped: conditions say the same.
    pub(super) fn tell(&self, notice: &Notice) {
        if self.0.try_send(notice.clone()).is_err() {
            debug!(note = notice.note, "an Event was dropped: too many wait");
        }
    }
}

struct Teller {
    client: Client,
    node: String,
    said: HashMap<Notice, Said>,
}

/// An Event that was created.
struct Said {
    name: String,
    /// How often it was told.
    count: i32,
    at: Instant,
}

impl Teller {
    async fn tell(&mut self, notice: &Notice) {
        if self.said.len() >= MEMORY {
            self.said.retain(|_, said| said.at.elapsed() < REMEMBERED);
        }
        if self.said.len() >= MEMORY {
            self.said.clear();
        }
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace(&notice.subject));
        let now = Timestamp::now();
        let told = match self.said.get_mut(notice).filter(|said| said.at.elapsed() < REMEMBERED) {
            Some(said) => {
                said.count = said.count.saturating_add(1);
                let series = json!({"series": {"count": said.count, "lastObservedTime": micros(now)}});
                let patch = Patch::Merge(series);
                timeout(ANSWER_WITHIN, api.patch(&said.name, &PatchParams::default(), &patch)).await
            }
            None => {
                let name = event_name(&notice.subject, now);
                let event = match serde_json::from_value::<Event>(event(notice, &name, &self.node, now)) {
                    Ok(event) => event,
                    Err(error) => return warn!("an Event could not be made: {error}; please report this"),
                };
                self.said.insert(notice.clone(), Said { name, count: 1, at: Instant::now() });
                timeout(ANSWER_WITHIN, api.create(&PostParams::default(), &event)).await
            }
        };
        match told {
            Ok(Ok(_)) => {}
            // Events are an extra: their loss is no reason to try again or to raise an alarm.
            Ok(Err(error)) => {
                self.said.remove(notice);
                debug!("an Event could not be written: {error}");
            }
            Err(_) => {
                self.said.remove(notice);
                debug!("an Event could not be written: no answer");
            }
        }
    }
}

fn namespace(subject: &Subject) -> &str {
    match subject {
        Subject::Service { name, .. } => &name.namespace,
        // Where Kubernetes keeps Events of what has no namespace.
        Subject::Pool { .. } => "default",
    }
}

fn event_name(subject: &Subject, now: Timestamp) -> String {
    let name = match subject {
        Subject::Service { name, .. } => &name.name,
        Subject::Pool { name, .. } => name,
    };
    let cut: String = name.chars().take(200).collect();
    format!("{}.{:x}", cut.trim_end_matches(['.', '-']), now.as_nanosecond())
}

fn event(notice: &Notice, name: &str, node: &str, now: Timestamp) -> Value {
    let regarding = match &notice.subject {
        Subject::Service { name, uid } => {
            json!({"apiVersion": "v1", "kind": "Service", "namespace": name.namespace, "name": name.name, "uid": uid})
        }
        Subject::Pool { name, uid } => json!({
            "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
            "kind": "LoadBalancerIPPool", "name": name, "uid": uid,
        }),
    };
    json!({
        "metadata": {"name": name, "namespace": namespace(&notice.subject)},
        "eventTime": micros(now),
        "reportingController": names::REPORTER,
        "reportingInstance": node,
        "action": "Allocate",
        "reason": notice.reason,
        "regarding": regarding,
        "note": notice.note,
        "type": match notice.severity { Severity::Normal => "Normal", Severity::Warning => "Warning" },
    })
}

fn micros(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::model::ObjectName;

    fn notice(subject: Subject) -> Notice {
        Notice { subject, severity: Severity::Warning, reason: "AddressRefused", note: "why".into() }
    }

    #[test]
    fn an_event_names_its_service_and_its_time() {
        let name = ObjectName { namespace: "shop".into(), name: "web".into() };
        let value = event(&notice(Subject::Service { name, uid: "u1".into() }), "web.1", "n1", Timestamp::UNIX_EPOCH);
        let event: Event = serde_json::from_value(value).unwrap();
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
        let regarding = event.regarding.unwrap();
        assert_eq!((regarding.kind.as_deref(), regarding.uid.as_deref()), (Some("Service"), Some("u1")));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
    }

    #[test]
    fn an_event_of_a_pool_is_kept_in_the_default_namespace_under_a_legal_name() {
        let subject = Subject::Pool { name: "p".repeat(253), uid: "u1".into() };
        let name = event_name(&subject, Timestamp::now());
        assert!(name.len() <= 253, "{}", name.len());
        assert_eq!(event(&notice(subject), &name, "n1", Timestamp::now())["metadata"]["namespace"], "default");
    }
}
