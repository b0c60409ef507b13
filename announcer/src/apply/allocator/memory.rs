//! What was written and what failed lately: a plan may be older than the writes that it asks for. Pure.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{plan::ipam::Write, world::model::ObjectName};

/// The watch tells of a write within this time; until then it is not made again.
const ECHO_WITHIN: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The object of a write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Object {
    Claim(IpAddr),
    Service(ObjectName),
    Pool(String),
    Policy(String),
}

impl Object {
    fn of(write: &Write) -> Self {
        match write {
            Write::CreateClaim { address, .. } | Write::DeleteClaim { address, .. } => Self::Claim(*address),
            Write::SetService { service, .. } | Write::ClearService { service, .. } => Self::Service(service.clone()),
            Write::SetPool { name, .. } => Self::Pool(name.clone()),
            Write::SetPolicy { name, .. } => Self::Policy(name.clone()),
        }
    }
}

/// Remembers the last write to each object for a while.
#[derive(Debug, Default)]
pub(super) struct Memory {
    made: HashMap<Object, (Write, Instant)>,
    failed: HashMap<Object, Failure>,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    /// Not tried again before.
    until: Instant,
    pause: Duration,
}

impl Memory {
    /// Whether `write` was the last one to its object, a moment ago.
    pub(super) fn is_made(&self, write: &Write, now: Instant) -> bool {
        self.made.get(&Object::of(write)).is_some_and(|(made, at)| made == write && now - *at < ECHO_WITHIN)
    }

    /// Until when the object of `write` is left alone; None: it may be written.
    pub(super) fn blocked(&self, write: &Write, now: Instant) -> Option<Instant> {
        self.failed.get(&Object::of(write)).map(|failure| failure.until).filter(|until| *until > now)
    }

    pub(super) fn made(&mut self, write: &Write, now: Instant) {
        let object = Object::of(write);
        self.failed.remove(&object);
        self.made.insert(object, (write.clone(), now));
    }

    /// The object is left alone for a while, longer with each failure.
    pub(super) fn failed(&mut self, write: &Write, now: Instant) {
        let object = Object::of(write);
        self.made.remove(&object);
        let pause = self.failed.get(&object).map_or(FIRST_PAUSE, |old| (old.pause * 2).min(LONGEST_PAUSE));
        self.failed.insert(object, Failure { until: now + pause, pause });
    }

    /// Forgets what has no effect any more.
    pub(super) fn forget(&mut self, now: Instant) {
        self.made.retain(|_, (_, at)| now - *at < ECHO_WITHIN);
        self.failed.retain(|_, failure| now < failure.until + LONGEST_PAUSE);
    }

    /// When a plan that is still there is to be looked at again.
    pub(super) fn look_again(&self, now: Instant) -> Instant {
        let failed = self.failed.values().map(|failure| failure.until).filter(|until| *until > now);
        failed.chain([now + ECHO_WITHIN]).min().unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(service: &str) -> Write {
        let service = ObjectName { namespace: "shop".into(), name: service.into() };
        Write::CreateClaim { address: "10.0.0.1".parse().unwrap(), service }
    }

    #[test]
    fn a_write_is_not_repeated_until_its_echo_is_overdue_but_another_one_is_made() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.made(&create("web"), now);
        assert!(memory.is_made(&create("web"), now + Duration::from_secs(4)));
        assert!(!memory.is_made(&create("other"), now));
        assert!(!memory.is_made(&create("web"), now + ECHO_WITHIN));
        memory.forget(now + ECHO_WITHIN);
        assert!(memory.made.is_empty());
    }

    #[test]
    fn pauses_after_failures_grow_up_to_a_bound_and_end_with_success() {
        let (mut memory, mut now) = (Memory::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..9 {
            memory.failed(&create("web"), now);
            let until = memory.blocked(&create("web"), now).unwrap();
            pauses.push((until - now).as_millis());
            assert!(memory.look_again(now) <= until);
            now = until;
            assert_eq!(memory.blocked(&create("web"), now), None);
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        memory.made(&create("web"), now);
        assert_eq!(memory.blocked(&create("web"), now), None);
    }
}
