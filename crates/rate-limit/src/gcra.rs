//! The generic cell rate algorithm: one stored number per key, no windows whose edges can be abused.
//!
//! The number is the *theoretical arrival time*: the moment at which the quota would be whole again. Pure; the caller gives the time.

use std::time::Duration;

/// So much per so long; the whole amount may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many; zero lets nothing pass.
    pub limit: u32,
    /// Per how long; up to a year.
    pub per: Duration,
}

impl Quota {
    /// `limit` per `per`.
    #[must_use]
    pub const fn new(limit: u32, per: Duration) -> Self {
        Self { limit, per }
    }

    /// `limit` per minute.
    #[must_use]
    pub const fn per_minute(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(60))
    }

    /// Time that one unit costs, in microseconds.
    pub(crate) fn interval(self) -> u64 {
        let per = self.per.as_micros().clamp(1, YEAR);
        u64::try_from(per).unwrap_or(u64::MAX).div_ceil(u64::from(self.limit.max(1)))
    }

    /// Time that the whole quota costs, in microseconds.
    pub(crate) fn window(self) -> u64 {
        self.interval() * u64::from(self.limit)
    }

    /// Time that `cost` units cost, in microseconds; bounded so that sums stay exact in the floating point of Redis's scripts.
    pub(crate) fn price(self, cost: u32) -> u64 {
        self.interval().saturating_mul(u64::from(cost)).min(1 << 51)
    }
}

const YEAR: u128 = 31_557_600_000_000;

/// The answer, with what the rate-limit fields of a response need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may happen.
    pub allowed: bool,
    /// The quota's amount.
    pub limit: u32,
    /// How many more may happen at once, after this one.
    pub remaining: u32,
    /// When the quota is whole again.
    pub reset_after: Duration,
    /// How long to wait before asking again; zero when allowed. A cost above the limit never passes: then the time of a whole quota.
    pub retry_after: Duration,
}

/// Decides at `now` (microseconds of any clock that does not run back far) on what is `stored` for the key. The second value is what to
/// store; nothing when nothing changes.
#[must_use]
pub fn decide(stored: Option<u64>, now: u64, quota: Quota, cost: u32) -> (Decision, Option<u64>) {
    let (interval, window) = (quota.interval(), quota.window());
    // A stored time beyond a whole quota comes from another quota or a clock set back: it must not lock anybody out for longer.
    let whole_at = stored.unwrap_or(now).clamp(now, now + window);
    let next = whole_at + quota.price(cost);
    let allowed = next - now <= window;
    let standing = if allowed { next } else { whole_at };
    let used = standing - now;
    let decision = Decision {
        allowed,
        limit: quota.limit,
        remaining: u32::try_from((window - used) / interval).unwrap_or(quota.limit),
        reset_after: Duration::from_micros(used),
        retry_after: if allowed {
            Duration::ZERO
        } else {
            Duration::from_micros((next - now - window).min(window.max(interval)))
        },
    };
    (decision, (allowed && cost > 0).then_some(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: u64 = 60_000_000;

    #[test]
    fn the_whole_quota_passes_at_once_and_then_one_per_interval() {
        let quota = Quota::per_minute(60);
        let mut stored = None;
        for remaining in (0..60).rev() {
            let (decision, next) = decide(stored, 5, quota, 1);
            assert!(decision.allowed && decision.remaining == remaining, "{decision:?}");
            stored = next;
        }
        let (refused, next) = decide(stored, 5, quota, 1);
        assert!(!refused.allowed && next.is_none() && refused.remaining == 0);
        assert_eq!(
            (refused.retry_after, refused.reset_after),
            (Duration::from_secs(1), Duration::from_secs(60))
        );
        assert!(decide(stored, 1_000_005, quota, 1).0.allowed);
        assert_eq!(
            decide(stored, MINUTE + 5, quota, 1).0.remaining,
            59,
            "a minute later it is whole again"
        );
    }

    #[test]
    fn a_cost_above_the_limit_never_passes_and_counts_nothing() {
        let (decision, next) = decide(None, 0, Quota::per_minute(10), 11);
        assert!(!decision.allowed && next.is_none() && decision.remaining == 10);
        assert!(!decide(None, 0, Quota::per_minute(0), 1).0.allowed);
    }

    #[test]
    fn a_cost_of_zero_looks_without_counting() {
        let (decision, next) = decide(Some(30_000_000), 0, Quota::per_minute(60), 0);
        assert!(decision.allowed && next.is_none() && decision.remaining == 30);
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out_for_longer_than_a_whole_quota() {
        let (decision, _) = decide(Some(u64::MAX / 4), 1_000, Quota::per_minute(60), 1);
        assert!(!decision.allowed && decision.retry_after == Duration::from_secs(1), "{decision:?}");
    }

    proptest! {
        /// The promise itself: in any span, what passed is at most the burst and what the span earns.
        #[test]
        fn never_more_than_the_burst_and_the_rate(
            limit in 1u32..50, per_ms in 1u64..100_000, steps in prop::collection::vec((0u64..200_000, 0u32..5), 1..200)
        ) {
            let quota = Quota::new(limit, Duration::from_millis(per_ms));
            let (mut now, mut stored, mut passed) = (1_000_000_u64, None, Vec::new());
            for (wait, cost) in steps {
                now += wait;
                let (decision, next) = decide(stored, now, quota, cost);
                if decision.allowed {
                    passed.push((now, u64::from(cost)));
                }
                prop_assert!(decision.remaining <= limit);
                stored = next.or(stored);
            }
            for (index, (start, _)) in passed.iter().enumerate() {
                let mut total = 0;
                for (at, cost) in &passed[index..] {
                    total += cost;
                    prop_assert!(total <= u64::from(limit) + (at - start) / quota.interval() + 1, "{total} within {}", at - start);
                }
            }
        }

        /// Who waits as long as told is let through.
        #[test]
        fn after_retry_after_it_passes(limit in 1u32..1_000, per_ms in 1u64..10_000_000, stored in 0u64..20_000_000_000, cost in 1u32..50) {
            prop_assume!(cost <= limit);
            let quota = Quota::new(limit, Duration::from_millis(per_ms));
            let (decision, _) = decide(Some(stored), 1_000, quota, cost);
            let later = 1_000 + u64::try_from(decision.retry_after.as_micros()).unwrap();
            // What is stored is bounded on first sight; a caller that was refused left it as it was.
            let bounded = stored.clamp(1_000, 1_000 + quota.window());
            prop_assert!(decide(Some(bounded), later, quota, cost).0.allowed);
        }
    }
}
