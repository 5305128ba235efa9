//! The limiter of one process: a bounded table of theoretical arrival times.

use crate::gcra::{Decision, Quota, decide};
use dashmap::{DashMap, Entry};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Never more than `capacity` keys. Keys whose quota is whole again are dropped every 30 s; when that is not enough, those that have
/// used the least of theirs go first, since forgetting them forgives the least.
pub(crate) struct InProcess {
    table: DashMap<Box<str>, u64>,
    start: Instant,
    capacity: usize,
    next_sweep: AtomicU64,
}

impl InProcess {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            table: DashMap::new(),
            start: Instant::now(),
            capacity,
            next_sweep: AtomicU64::new(micros(SWEEP_EVERY)),
        }
    }

    pub(crate) fn check(&self, key: &str, quota: Quota, cost: u32) -> Decision {
        self.check_at(micros(self.start.elapsed()), key, quota, cost)
    }

    fn check_at(&self, now: u64, key: &str, quota: Quota, cost: u32) -> Decision {
        self.sweep_when_due(now);
        if let Some(mut stored) = self.table.get_mut(key) {
            let (decision, next) = decide(Some(*stored), now, quota, cost);
            *stored = next.unwrap_or(*stored);
            return decision;
        }
        if cost == 0 {
            return decide(None, now, quota, 0).0;
        }
        if self.table.len() >= self.capacity {
            self.make_room(now);
        }
        let mut entry = match self.table.entry(key.into()) {
            Entry::Occupied(entry) => entry.into_ref(),
            Entry::Vacant(entry) => entry.insert(now),
        };
        let (decision, next) = decide(Some(*entry), now, quota, cost);
        *entry = next.unwrap_or(*entry);
        decision
    }

    fn sweep_when_due(&self, now: u64) {
        let due = self.next_sweep.load(Ordering::Relaxed);
        let won = |next| {
            self.next_sweep
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if now >= due && won(now + micros(SWEEP_EVERY)) {
            self.table.retain(|_, whole_at| *whole_at > now);
            self.table.shrink_to_fit();
        }
    }

    /// Brings the table down to three quarters, so that this is paid once for many insertions.
    fn make_room(&self, now: u64) {
        self.table.retain(|_, whole_at| *whole_at > now);
        let keep = self.capacity / 4 * 3;
        let mut times: Vec<u64> = self.table.iter().map(|entry| *entry.value()).collect();
        let Some(mut excess) = times.len().checked_sub(keep).filter(|excess| *excess > 0) else {
            return;
        };
        let (_, pivot, _) = times.select_nth_unstable(excess - 1);
        let pivot = *pivot;
        self.table.retain(|_, whole_at| {
            let dropped = excess > 0 && *whole_at <= pivot;
            excess -= usize::from(dropped);
            !dropped
        });
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn keys_are_limited_apart_and_recover_with_time() {
        let limiter = InProcess::new(100);
        let allowed = |now, key| limiter.check_at(now, key, Quota::per_minute(2), 1).allowed;
        assert_eq!(
            [allowed(0, "a"), allowed(0, "a"), allowed(0, "a"), allowed(0, "b")],
            [true, true, false, true]
        );
        assert_eq!([allowed(30 * SECOND, "a"), allowed(30 * SECOND, "a")], [true, false]);
    }

    #[test]
    fn a_flood_of_keys_stays_within_the_bound_and_forgives_the_heaviest_last() {
        let limiter = InProcess::new(1_000);
        let quota = Quota::per_minute(50);
        while limiter.check_at(0, "guesser", quota, 1).allowed {}
        for key in 0..20_000 {
            limiter.check_at(0, &key.to_string(), quota, 1);
            assert!(limiter.len() <= 1_000);
        }
        assert!(
            !limiter.check_at(0, "guesser", quota, 1).allowed,
            "the one that used most is remembered"
        );
    }

    #[test]
    fn idle_keys_are_dropped() {
        let limiter = InProcess::new(1_000);
        for key in 0..500 {
            limiter.check_at(0, &key.to_string(), Quota::per_minute(60), 1);
        }
        limiter.check_at(31 * SECOND, "new", Quota::per_minute(60), 1);
        assert_eq!(limiter.len(), 1);
    }

    #[test]
    fn many_threads_with_one_key_pass_exactly_the_quota() {
        let limiter = InProcess::new(10);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        (0..500)
                            .filter(|_| limiter.check("k", Quota::new(100, Duration::from_secs(86_400)), 1).allowed)
                            .count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }
}
