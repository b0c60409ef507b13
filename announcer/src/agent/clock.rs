//! The agent's monotonic clock, the only one that decisions see.

use std::time::{Duration, Instant};

use crate::world::model::Moment;

/// Counts from when the agent started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    #[must_use]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    #[must_use]
    pub(super) fn now(self) -> Moment {
        Moment(self.0.elapsed())
    }

    /// Time since the start.
    #[must_use]
    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// `moment` as the runtime's timers want it.
    #[must_use]
    pub(super) fn instant(self, moment: Moment) -> tokio::time::Instant {
        (self.0 + moment.0).into()
    }
}
