//! When a deferred delivery is tried again: a pure function.

use chrono::{DateTime, Utc};
use std::time::Duration;

/// What to do after an attempt that failed for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after so long.
    Retry(Duration),
    /// Its time is up.
    Expired,
}

/// Decides after attempt number `attempts` (1 is the first) at `now`. `jitter` in 0.0–1.0 spreads the wait over 85 % to 115 %, so that
/// what failed together does not come back together. A wait that would end after `expires_at` ends there instead: everything gets a
/// last attempt when its time is up, and only one that was really made can expire a message.
#[must_use]
pub fn next(schedule: &[Duration], attempts: i32, now: DateTime<Utc>, expires_at: DateTime<Utc>, jitter: f64) -> Next {
    let left = match (expires_at - now).to_std() {
        Ok(left) if !left.is_zero() => left,
        _ => return Next::Expired,
    };
    let step = usize::try_from(attempts - 1).unwrap_or(0).min(schedule.len().saturating_sub(1));
    let wait = schedule.get(step).copied().unwrap_or(left);
    Next::Retry(wait.mul_f64(0.85 + 0.3 * jitter.clamp(0.0, 1.0)).min(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    fn default_schedule() -> Vec<Duration> {
        [
            60,
            300,
            900,
            HOUR,
            2 * HOUR,
            4 * HOUR,
            8 * HOUR,
            16 * HOUR,
            24 * HOUR,
            24 * HOUR,
            24 * HOUR,
        ]
        .map(Duration::from_secs)
        .to_vec()
    }

    #[test]
    fn the_default_schedule_makes_eleven_tries_in_five_days_and_then_expires() {
        let accepted = DateTime::<Utc>::UNIX_EPOCH;
        let expires = accepted + chrono::Duration::days(5);
        let (mut now, mut tries, mut minutes) = (accepted, 1, vec![0]);
        while let Next::Retry(wait) = next(&default_schedule(), tries, now, expires, 0.5) {
            now += wait;
            tries += 1;
            minutes.push((now - accepted).num_minutes());
        }
        assert_eq!(minutes, [0, 1, 6, 21, 81, 201, 441, 921, 1881, 3321, 4761, 6201, 7200]);
    }

    #[test]
    fn a_wait_never_passes_the_expiry_and_the_last_value_repeats() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let schedule = [Duration::from_secs(1), Duration::from_secs(4)];
        let soon = now + chrono::Duration::seconds(2);
        assert_eq!(next(&schedule, 9, now, soon, 0.5), Next::Retry(Duration::from_secs(2)));
        assert_eq!(
            next(&schedule, 9, now, now + chrono::Duration::days(1), 0.5),
            Next::Retry(Duration::from_secs(4))
        );
        assert_eq!(next(&schedule, 1, soon, soon, 0.5), Next::Expired);
    }

    #[test]
    fn jitter_spreads_a_wait_by_fifteen_percent_either_way() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let wait = |jitter| next(&[Duration::from_secs(100)], 1, now, now + chrono::Duration::days(5), jitter);
        assert_eq!(wait(0.0), Next::Retry(Duration::from_secs(85)));
        assert_eq!(wait(1.0), Next::Retry(Duration::from_secs(115)));
    }
}
