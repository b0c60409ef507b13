//! Why a write to the API server failed, and what to do about it.

use std::{future::Future, time::Duration};

/// An answer is awaited this long.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A write that was not made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Something changed since the plan was made; the watch tells, and the next plan knows.
    #[error("cannot {what}: it has changed meanwhile")]
    Stale { what: String },
    #[error("cannot {what}: {message}; apply deploy/ again, its roles are missing or too old")]
    Forbidden { what: String, message: String },
    #[error("cannot {what}: the API server refuses it: {message}; apply deploy/crds if they are older than the agent")]
    Refused { what: String, message: String },
    #[error("cannot {what}: {source}; it is tried again")]
    Failed { what: String, source: Box<kube::Error> },
    #[error("cannot {what}: no answer from the API server within {ANSWER_WITHIN:?}; it is tried again")]
    Silent { what: String },
}

/// Whether the object of a write was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Yes,
    /// Gone: there is nothing left to write, and the watch tells.
    No,
}

/// Waits for the answer to a write; `what` completes "cannot …".
///
/// # Errors
/// The write was not made, or nobody knows whether it was.
pub(super) async fn answer<T>(
    what: impl Fn() -> String,
    write: impl Future<Output = Result<T, kube::Error>>,
) -> Result<Found, WriteError> {
    match tokio::time::timeout(ANSWER_WITHIN, write).await {
        Ok(Ok(_)) => Ok(Found::Yes),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(Found::No),
        Ok(Err(error)) => Err(WriteError::new(what(), error)),
        Err(_) => Err(WriteError::Silent { what: what() }),
    }
}

impl WriteError {
    fn new(what: String, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                409 => Self::Stale { what },
                403 => Self::Forbidden { what, message: status.message.clone() },
                400 | 422 => Self::Refused { what, message: status.message.clone() },
                _ => Self::Failed { what, source: Box::new(kube::Error::Api(status)) },
            },
            source => Self::Failed { what, source: Box::new(source) },
        }
    }

    /// Nothing is wrong: another was faster.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale { .. })
    }
}
