//! Who fails too often is slowed: failed logins by address and by account, unknown recipients by address (ASSURANCE A10).
//!
//! Successes cost nothing and reset nothing; what is counted fades with time. A guessed account is slowed for newcomers, never locked:
//! sessions that are logged in go on, and its owner still gets in.

use std::net::IpAddr;
use std::time::Duration;

use config::Limits;
use rate_limit::{Limiter, Quota};

use crate::caps::subject;

/// How long a login waits that concerns an account under attack.
const SLOWED: Duration = Duration::from_secs(3);

/// What to do with a login before its password is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// Look at it.
    Free,
    /// Look at it after a while.
    Slowed(Duration),
    /// Do not look at it: this address has guessed enough.
    CutOff,
}

#[derive(Debug)]
pub(crate) struct Throttle {
    limiter: Limiter,
    logins_of_address: Quota,
    logins_of_account: Quota,
    unknown_recipients: Quota,
}

impl Throttle {
    pub(crate) fn new(limiter: Limiter, limits: &Limits) -> Self {
        let quota = |limit| Quota::new(limit, limits.window);
        Self {
            limiter,
            logins_of_address: quota(limits.failed_logins_per_address),
            logins_of_account: quota(limits.failed_logins_per_account),
            unknown_recipients: quota(limits.unknown_recipients_per_address),
        }
    }

    /// Asked before a login.
    pub(crate) async fn before_login(&self, peer: IpAddr, username: &str) -> Login {
        if self.limiter.check(&address_key(peer), self.logins_of_address, 0).await.remaining == 0 {
            return Login::CutOff;
        }
        match account_key(username) {
            Some(key) if self.limiter.check(&key, self.logins_of_account, 0).await.remaining == 0 => Login::Slowed(SLOWED),
            _ => Login::Free,
        }
    }

    /// Told of a wrong name or password.
    pub(crate) async fn login_failed(&self, peer: IpAddr, username: &str) {
        self.limiter.check(&address_key(peer), self.logins_of_address, 1).await;
        if let Some(key) = account_key(username) {
            self.limiter.check(&key, self.logins_of_account, 1).await;
        }
    }

    /// Told of a recipient that does not exist. True when this address has asked for too many.
    pub(crate) async fn unknown_recipient(&self, peer: IpAddr) -> bool {
        let key = format!("smtp:unknown:{}", subject(peer));
        !self.limiter.check(&key, self.unknown_recipients, 1).await.allowed
    }
}

fn address_key(peer: IpAddr) -> String {
    format!("smtp:login:address:{}", subject(peer))
}

/// Names that no account of ours can have are counted by address alone: they would fill the table.
fn account_key(username: &str) -> Option<String> {
    let possible = username.len() <= 64 && username.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    possible.then(|| format!("smtp:login:account:{username}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle() -> Throttle {
        let limits = Limits {
            failed_logins_per_address: 3,
            failed_logins_per_account: 5,
            unknown_recipients_per_address: 2,
            window: Duration::from_secs(600),
        };
        Throttle::new(Limiter::in_process(), &limits)
    }

    #[tokio::test]
    async fn an_address_is_cut_off_after_its_failures_and_no_other_is() {
        let throttle = throttle();
        let (guesser, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..3 {
            assert_eq!(throttle.before_login(guesser, "app").await, Login::Free);
            throttle.login_failed(guesser, "app").await;
        }
        assert_eq!(throttle.before_login(guesser, "app").await, Login::CutOff);
        assert_eq!(throttle.before_login(other, "app").await, Login::Free);
    }

    #[tokio::test]
    async fn guesses_from_everywhere_slow_the_account() {
        let throttle = throttle();
        for number in 0..5u8 {
            throttle.login_failed(IpAddr::from([192, 0, 2, number]), "app").await;
        }
        let newcomer = "198.51.100.1".parse().unwrap();
        assert_eq!(throttle.before_login(newcomer, "app").await, Login::Slowed(SLOWED));
        assert_eq!(throttle.before_login(newcomer, "other").await, Login::Free);
    }

    #[tokio::test]
    async fn unknown_recipients_are_counted_by_64() {
        let throttle = throttle();
        for (address, slowed) in [
            ("2001:db8::1", false),
            ("2001:db8::2", false),
            ("2001:db8::3", true),
            ("2001:db8:0:1::1", false),
        ] {
            assert_eq!(throttle.unknown_recipient(address.parse().unwrap()).await, slowed, "{address}");
        }
    }
}
