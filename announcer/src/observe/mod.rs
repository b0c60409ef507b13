//! What announcer shows: metrics, health, the control socket.
//!
//! Everything is asked from the loop by a [`Query`] at the moment when somebody wants it, so nothing is copied when
//! nobody looks. Must not know: how the loop decides.

pub mod control;
pub mod health;
pub mod http;
pub mod metrics;
pub mod status;

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use self::{
    health::Health,
    metrics::{Metrics, Readings},
    status::{ServiceStatus, Status, VipStatus},
};

/// How long a question waits for the loop.
const PATIENCE: Duration = Duration::from_secs(3);

/// A question to the loop, with the place for its answer.
#[derive(Debug)]
pub enum Query {
    Status(oneshot::Sender<Status>),
    Vips(oneshot::Sender<Vec<VipStatus>>),
    Services(oneshot::Sender<Vec<ServiceStatus>>),
    Readings(oneshot::Sender<Readings>),
}

/// What the servers share: the way to the loop, its pulse, the metrics.
#[derive(Debug, Clone)]
pub struct Observer {
    pub queries: mpsc::Sender<Query>,
    pub health: Arc<Health>,
    pub metrics: Arc<Metrics>,
}

/// The loop did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("the agent's loop did not answer within {} s; /healthz says since when", PATIENCE.as_secs())]
pub struct NoAnswer;

impl Observer {
    /// Asks the loop.
    ///
    /// # Errors
    /// [`NoAnswer`] when the loop is busy for longer than 3 s or has ended.
    pub async fn ask<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, NoAnswer> {
        let (sender, answer) = oneshot::channel();
        let exchange = async {
            self.queries.send(query(sender)).await.map_err(|_| NoAnswer)?;
            answer.await.map_err(|_| NoAnswer)
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| NoAnswer)?
    }
}
