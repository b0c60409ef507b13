//! The loop's pulse, for `/healthz` and `/readyz`.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The loop turns at least once a second; silent for longer than this, it is stuck.
const SILENT: Duration = Duration::from_secs(15);

/// Written by the loop, read by the servers.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    /// Milliseconds after `started` at which the loop last turned.
    stamp: AtomicU64,
    /// Why the data path takes no traffic yet; None: it does.
    waiting: Mutex<Option<String>>,
}

impl Default for Health {
    fn default() -> Self {
        Self { started: Instant::now(), stamp: AtomicU64::new(0), waiting: Mutex::new(Some("starting".to_owned())) }
    }
}

impl Health {
    /// The loop turned now.
    pub fn stamp(&self) {
        let age = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.stamp.store(age, Ordering::Relaxed);
    }

    /// What is still waited for: readiness means that every first list is in, and that the maps and a link hold what
    /// follows from it.
    pub fn set_ready(&self, waiting: Option<String>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }

    /// Alive, or since when not.
    ///
    /// # Errors
    /// How long the loop has been silent.
    pub fn alive(&self) -> Result<(), String> {
        let stamp = Duration::from_millis(self.stamp.load(Ordering::Relaxed));
        let silent = self.started.elapsed().saturating_sub(stamp);
        if silent <= SILENT { Ok(()) } else { Err(format!("the loop has been silent for {} s", silent.as_secs())) }
    }

    /// Ready, or why not.
    ///
    /// # Errors
    /// What the agent still waits for.
    pub fn ready(&self) -> Result<(), String> {
        self.alive()?;
        match &*self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(waiting) => Err(waiting.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_ready_says_what_it_waits_for_and_ready_says_nothing() {
        let health = Health::default();
        assert_eq!(health.ready(), Err("starting".to_owned()));
        health.set_ready(Some("waiting for the first list of services".to_owned()));
        assert_eq!(health.ready(), Err("waiting for the first list of services".to_owned()));
        health.set_ready(None);
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn a_fresh_stamp_is_alive() {
        let health = Health::default();
        health.stamp();
        assert_eq!(health.alive(), Ok(()));
    }
}
