//! Who is alive, judged from heartbeat Leases: by when a change was observed on this agent's own monotonic clock.
//!
//! The absence of another's beats says something only while this node would see them. The proof is its own beats: they
//! go to the API server and come back by the same watch. While they do not come back, the clock by which others are
//! judged stands still, so that a node cut off from the API server takes nobody for dead.

use std::time::Duration;

use super::model::{Moment, World};

/// How often a node beats.
pub const BEAT_EVERY: Duration = Duration::from_secs(10);
/// A node whose beat has not changed for longer is dead.
pub const STALE_AFTER: Duration = Duration::from_secs(25);
/// How long after this node's own last beat was seen others are still judged: one period, its jitter, a slow answer.
pub const VIEW_GRACE: Duration = Duration::from_secs(15);

impl World {
    /// The time by which other nodes are judged: `now`, or when this node's own view ended.
    #[must_use]
    pub fn judged_at(&self, now: Moment) -> Moment {
        self.heartbeats.get(&self.me).map_or(now, |own| now.min(Moment(own.observed.0 + VIEW_GRACE)))
    }

    /// Whether `node` has beaten lately; a Lease first seen counts as a beat. Says nothing of whether it may lead.
    #[must_use]
    pub fn is_alive(&self, node: &str, now: Moment) -> bool {
        let judged = self.judged_at(now);
        self.heartbeats.get(node).is_some_and(|beat| judged.since(beat.observed) <= STALE_AFTER)
    }

    /// When to look again whether a living node has died, as a beat that does not come is no news. None: nothing is
    /// judged now, and the return of this node's own beats will be news.
    #[must_use]
    pub fn next_death(&self, now: Moment) -> Option<Moment> {
        let judged = self.judged_at(now);
        self.heartbeats
            .values()
            .filter(|beat| judged.since(beat.observed) <= STALE_AFTER)
            .map(|beat| Moment(beat.observed.0 + STALE_AFTER + Duration::from_millis(1)))
            .filter(|at| *at > now)
            .min()
    }

    fn view_end(&self) -> Option<Moment> {
        self.heartbeats.get(&self.me).map(|own| Moment(own.observed.0 + VIEW_GRACE))
    }

    /// This node's own beat came back at `now`, after its view may have ended: nodes that were alive then get the whole
    /// time to beat again, dead ones stay dead.
    pub(super) fn resume_view(&mut self, now: Moment) {
        let Some(end) = self.view_end().filter(|end| *end < now) else { return };
        for (node, beat) in &mut self.heartbeats {
            let alive = end.since(beat.observed) <= STALE_AFTER;
            if alive || *node == self.me {
                beat.observed = now;
            } else {
                beat.observed = Moment(beat.observed.0 + now.since(end));
            }
        }
    }
}
