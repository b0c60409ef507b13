//! When the loop plans next: losses at once, other changes gathered for a moment. Pure.

use std::time::Duration;

use crate::world::{Change, model::Moment};

/// Changes that come together (a Service and its EndpointSlice) are planned together.
const GATHER: Duration = Duration::from_millis(15);
/// Endpoints that only come are gathered for as long as more keep coming in this distance…
const GATHER_ENDPOINTS: Duration = Duration::from_millis(100);
/// … but no longer than this: each plan with other weights is one more table in its Service's list.
const GATHER_ENDPOINTS_MOST: Duration = Duration::from_secs(1);
/// After a failure to write, the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// Remembers what has not been planned for yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pace {
    /// When the first of the changes that wait came.
    first: Option<Moment>,
    due: Option<Moment>,
}

impl Pace {
    /// Takes note of a change heard at `now`.
    pub(super) fn changed(&mut self, change: Change, now: Moment) {
        if !change.any() {
            return;
        }
        let first = *self.first.get_or_insert(now);
        if change.loss || change.completed {
            self.no_later_than(now);
        } else if only_endpoints(change) {
            let due = Moment(now.0 + GATHER_ENDPOINTS).min(Moment(first.0 + GATHER_ENDPOINTS_MOST));
            // More endpoints put it off; a sooner time that another change asked for stands.
            self.due = Some(self.due.map_or(due, |old| if old.since(now) > GATHER { due } else { old }));
        } else {
            self.no_later_than(Moment(now.0 + GATHER));
        }
    }

    /// A plan is wanted at `at` even if nothing changes.
    pub(super) fn no_later_than(&mut self, at: Moment) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Writing failed at `now`: again, but not at once.
    pub(super) fn failed(&mut self, now: Moment) {
        self.no_later_than(Moment(now.0 + RETRY));
    }

    /// When the loop should plan; None: nothing waits.
    #[must_use]
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    /// Whether it is time to plan; then what waited is forgotten.
    pub(super) fn take(&mut self, now: Moment) -> bool {
        let take = self.due.is_some_and(|due| due <= now);
        if take {
            *self = Self::default();
        }
        take
    }
}

fn only_endpoints(change: Change) -> bool {
    change.endpoints && change == Change { endpoints: true, ..Change::default() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENDPOINTS: Change = Change {
        endpoints: true,
        services: false,
        loss: false,
        nodes: false,
        pools: false,
        policies: false,
        claims: false,
        heartbeats: false,
        own_heartbeat_lost: false,
        allocator: false,
        links: false,
        cluster: false,
        completed: false,
        troubles: false,
    };

    fn at(ms: u64) -> Moment {
        Moment(Duration::from_millis(ms))
    }

    #[test]
    fn a_loss_is_planned_at_once() {
        let mut pace = Pace::default();
        pace.changed(ENDPOINTS, at(0));
        assert!(!pace.take(at(0)));
        pace.changed(Change { loss: true, ..ENDPOINTS }, at(10));
        assert!(pace.take(at(10)));
        assert_eq!(pace.due(), None);
    }

    #[test]
    fn a_service_waits_for_what_comes_with_it() {
        let mut pace = Pace::default();
        pace.changed(Change { services: true, ..Change::default() }, at(0));
        pace.changed(ENDPOINTS, at(5));
        assert!(!pace.take(at(14)));
        assert!(pace.take(at(15)));
    }

    #[test]
    fn a_beat_or_a_trouble_plans_nothing() {
        let mut pace = Pace::default();
        pace.changed(Change { troubles: true, ..Change::default() }, at(0));
        assert_eq!(pace.due(), None);
    }

    #[test]
    fn a_failure_is_tried_again_later() {
        let mut pace = Pace::default();
        pace.failed(at(0));
        assert!(!pace.take(at(999)));
        assert!(pace.take(at(1_000)));
    }

    proptest! {
        #[test]
        fn endpoints_that_keep_coming_wait_a_second_at_most(gaps in prop::collection::vec(0u64..99, 1..200)) {
            let mut pace = Pace::default();
            let (mut now, mut first) = (0, 0);
            for gap in gaps {
                now += gap;
                if pace.take(at(now)) {
                    prop_assert!(now - first <= 1_099);
                    first = now;
                }
                if pace.due().is_none() {
                    first = now;
                }
                pace.changed(ENDPOINTS, at(now));
                let due = pace.due().unwrap();
                prop_assert!(due <= at(first + 1_000) && due <= at(now + 100));
            }
        }
    }
}
