//! When each VIP is announced: pure, time is an input.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Port, Spot};

/// After a take-over, by time since it: the first may be lost, a switch may still be learning.
const REPEATS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// Below the time after which switches forget a MAC (commonly 300 s) and hosts an address.
const REFRESH: Duration = Duration::from_secs(60);
/// VIPs that were taken over together do not stay together.
const SPREAD: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Schedule {
    spots: BTreeMap<Spot, Entry>,
}

#[derive(Debug)]
struct Entry {
    port: Port,
    since: Duration,
    next: Duration,
}

impl Schedule {
    pub(super) fn set(&mut self, spots: BTreeMap<Spot, Port>, now: Duration) {
        self.spots.retain(|spot, _| spots.contains_key(spot));
        for (spot, port) in spots {
            if self.spots.get(&spot).is_none_or(|entry| entry.port != port) {
                self.spots.insert(spot, Entry { port, since: now, next: now });
            }
        }
    }

    pub(super) fn again(&mut self, spots: &BTreeSet<Spot>, now: Duration) {
        for (_, entry) in self.spots.iter_mut().filter(|(spot, _)| spots.contains(spot)) {
            entry.since = now;
            entry.next = now;
        }
    }

    /// What is to be announced at `now`. Each once, however many times have passed.
    pub(super) fn due(&mut self, now: Duration) -> Vec<(Spot, Port)> {
        let mut due = Vec::new();
        for (spot, entry) in self.spots.iter_mut().filter(|(_, entry)| entry.next <= now) {
            due.push((spot.clone(), entry.port));
            let age = now.saturating_sub(entry.since);
            entry.next = match REPEATS.iter().find(|repeat| **repeat > age) {
                Some(repeat) => entry.since + *repeat,
                None => now + REFRESH - early(spot),
            };
        }
        due
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.spots.values().map(|entry| entry.next).min()
    }
}

fn early(spot: &Spot) -> Duration {
    let [a, b, c, d] = spot.vip.octets().map(u32::from);
    SPREAD * ((a * 31 + b * 17 + c * 7 + d) % 64) / 64
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::world::model::Mac;

    fn spots(vips: &[u8], mac: u8) -> BTreeMap<Spot, Port> {
        let port = Port { index: 2, mac: Mac([2, 0, 0, 0, 0, mac]) };
        vips.iter().map(|n| (Spot { vip: Ipv4Addr::new(192, 0, 2, *n), link: "eth0".to_owned() }, port)).collect()
    }

    /// The times at which the first VIP is announced, up to `until`, when woken exactly at each.
    fn times(schedule: &mut Schedule, until: Duration) -> Vec<u128> {
        let mut times = Vec::new();
        while let Some(next) = schedule.next().filter(|next| *next <= until) {
            assert!(!schedule.due(next).is_empty());
            times.push(next.as_millis());
        }
        times
    }

    #[test]
    fn a_new_vip_is_announced_at_once_repeated_and_then_refreshed_every_minute() {
        let mut schedule = Schedule::default();
        schedule.set(spots(&[1], 1), Duration::ZERO);
        let times = times(&mut schedule, Duration::from_secs(130));
        assert_eq!(times[..6], [0, 100, 500, 1000, 2000, 4000]);
        assert!(times[6..].windows(2).all(|pair| (50_000..=60_000).contains(&(pair[1] - pair[0]))), "{times:?}");
    }

    #[test]
    fn what_stays_is_not_announced_anew_but_another_mac_is() {
        let mut schedule = Schedule::default();
        schedule.set(spots(&[1], 1), Duration::ZERO);
        times(&mut schedule, Duration::from_secs(5));
        schedule.set(spots(&[1, 2], 1), Duration::from_secs(5));
        assert_eq!(schedule.due(Duration::from_secs(5)).len(), 1);
        schedule.set(spots(&[1, 2], 9), Duration::from_secs(6));
        assert_eq!(schedule.due(Duration::from_secs(6)).len(), 2);
        schedule.set(spots(&[], 9), Duration::from_secs(7));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_late_thread_announces_once_not_for_each_time_it_missed() {
        let mut schedule = Schedule::default();
        schedule.set(spots(&[1], 1), Duration::ZERO);
        assert_eq!(schedule.due(Duration::from_millis(1500)).len(), 1);
        assert_eq!(schedule.next(), Some(Duration::from_secs(2)));
    }

    proptest! {
        #[test]
        fn the_next_time_is_always_ahead_after_announcing(steps in proptest::collection::vec((0..200_000_u64, 0..4_u8, 0..3_u8), 1..40)) {
            let mut schedule = Schedule::default();
            let mut now = Duration::ZERO;
            for (step, vips, mac) in steps {
                now += Duration::from_millis(step);
                schedule.set(spots(&(0..vips).collect::<Vec<_>>(), mac), now);
                schedule.due(now);
                prop_assert!(schedule.next().is_none_or(|next| next > now && next <= now + REFRESH));
            }
        }
    }
}
