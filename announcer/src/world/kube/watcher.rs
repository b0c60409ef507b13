//! One kind's watch: lists, watches, reads each object, says what cannot go on.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{Config, DefaultBackoff, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::trouble;
use crate::world::message::{Kind, Message, Update};

/// Objects in one answer of a list: bounds the memory that reading a large cluster takes.
const PAGE: u32 = 500;
/// Longest pause between two tries. kube's own default grows to 30 s, longer than a heartbeat may be missed.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A page of a list that takes longer is asked for anew: its connection may have died while it lay idle.
const PAGE_WITHIN: Duration = Duration::from_secs(30);
/// A watch that works again says nothing until something changes: no further error for this long means it does.
const TROUBLE_FADES: Duration = Duration::from_secs(30);

/// kube's default pauses (with jitter, growing, reset after a while without errors), but none longer than
/// [`LONGEST_PAUSE`].
#[derive(Default)]
struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(LONGEST_PAUSE))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// How one kind is watched.
pub(super) struct Watched<K, Id, V> {
    pub(super) kind: Kind,
    pub(super) api: Api<K>,
    pub(super) id: fn(&K) -> Id,
    /// None: not ours, or nothing that could be used.
    pub(super) read: fn(&K) -> Option<V>,
    pub(super) wrap: fn(Update<Id, V>) -> Message,
    /// Silence for longer than this means that the connection has died; None: silence is usual.
    pub(super) idle: Option<Duration>,
}

/// Watches until `to` is closed.
pub(super) async fn run<K, Id, V>(
    watched: Watched<K, Id, V>,
    stalled: Arc<watch::Sender<u64>>,
    to: mpsc::Sender<Message>,
) where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    Id: Send,
    V: Send,
{
    let mut stall = stalled.subscribe();
    let mut teller = Teller { kind: watched.kind, told: None, fades: None, to };
    loop {
        stall.mark_unchanged();
        let config = Config::default().page_size(PAGE);
        let mut events = watcher(watched.api.clone(), config).backoff(Pauses::default()).boxed();
        let mut listing = Vec::new();
        let (mut listed, mut heard) = (false, false);
        loop {
            let patience = if listed { watched.idle } else { Some(PAGE_WITHIN) };
            let next = timeout(patience.unwrap_or(Duration::MAX), events.next());
            let event = tokio::select! {
                event = next => event,
                () = teller.faded() => {
                    if !teller.well().await { return; }
                    continue;
                }
                // The one that found the stall begins anew by itself.
                changed = stall.changed(), if watched.idle.is_none() => {
                    if changed.is_err() { return; }
                    break;
                }
                () = teller.to.closed() => return,
            };
            let update = match event {
                Err(_) => {
                    tracing::debug!(kind = %watched.kind, "the watch is silent: starting it anew");
                    // Only where there was news before: with nobody beating at all, silence is no sign.
                    if heard {
                        stalled.send_modify(|count| *count += 1);
                    }
                    break;
                }
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    if !teller.failed(&error).await {
                        return;
                    }
                    continue;
                }
                Ok(Some(Ok(event))) => event,
            };
            let update = match update {
                Event::Init => {
                    listed = false;
                    listing.clear();
                    continue;
                }
                Event::InitApply(object) => {
                    listing.extend((watched.read)(&object).map(|value| ((watched.id)(&object), value)));
                    continue;
                }
                Event::InitDone => {
                    listed = true;
                    Update::All(std::mem::take(&mut listing))
                }
                Event::Apply(object) => match (watched.read)(&object) {
                    Some(value) => Update::Set((watched.id)(&object), value),
                    None => Update::Gone((watched.id)(&object)),
                },
                Event::Delete(object) => Update::Gone((watched.id)(&object)),
            };
            heard |= !matches!(update, Update::All(_));
            if !teller.well().await || teller.to.send((watched.wrap)(update)).await.is_err() {
                return;
            }
        }
    }
}

/// Tells of trouble once, and of its end.
struct Teller {
    kind: Kind,
    told: Option<String>,
    fades: Option<Instant>,
    to: mpsc::Sender<Message>,
}

impl Teller {
    /// False: nobody listens any more.
    async fn failed(&mut self, error: &kube::runtime::watcher::Error) -> bool {
        let Some(text) = trouble::of_watch(self.kind, error) else {
            tracing::debug!(kind = %self.kind, "{error}");
            return true;
        };
        self.fades = Some(Instant::now() + TROUBLE_FADES);
        if self.told.as_ref() == Some(&text) {
            return true;
        }
        tracing::warn!(kind = %self.kind, "{text}");
        self.told = Some(text.clone());
        self.to.send(Message::Trouble(self.kind, Some(text))).await.is_ok()
    }

    async fn well(&mut self) -> bool {
        self.fades = None;
        if self.told.take().is_none() {
            return true;
        }
        tracing::info!(kind = %self.kind, "the watch goes on");
        self.to.send(Message::Trouble(self.kind, None)).await.is_ok()
    }

    async fn faded(&self) {
        match self.fades {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
