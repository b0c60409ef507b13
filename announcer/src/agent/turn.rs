//! The loop: waits for whatever comes first, then lets the agent act.

use std::{future::Future, time::Duration};

use tokio::sync::mpsc;

use super::{events::Events, state::Agent};
use crate::{observe::Query, world::Message};

/// Most messages taken before the agent acts: a flood must not hold up a loss.
const BATCH: usize = 4_096;
/// The loop turns at least this often, for its pulse.
const PULSE: Duration = Duration::from_secs(1);

/// Runs `agent` until `ends` gives the reason to end.
///
/// # Errors
/// A task that the agent cannot do without has ended.
pub(super) async fn until(
    agent: &mut Agent,
    ends: impl Future<Output = &'static str>,
    mut inbox: mpsc::Receiver<Message>,
    mut questions: mpsc::Receiver<Query>,
    events: &Events,
) -> anyhow::Result<&'static str> {
    let mut ends = std::pin::pin!(ends);
    loop {
        let wake = tokio::time::Instant::now() + PULSE;
        let wake = agent.wakes_at().map_or(wake, |at| wake.min(at));
        tokio::select! {
            signal = &mut ends => {
                agent.farewell();
                return Ok(signal);
            }
            message = inbox.recv() => {
                let Some(message) = message else {
                    anyhow::bail!("all watches of the API server and the links have ended; the agent starts anew");
                };
                agent.take(message);
                for _ in 1..BATCH {
                    let Ok(message) = inbox.try_recv() else { break };
                    agent.take(message);
                }
            }
            Some(query) = questions.recv() => agent.answer(query),
            () = events.readable() => agent.take_events(),
            () = tokio::time::sleep_until(wake) => {}
        }
        agent.act();
    }
}
