//! Human passwords: argon2id on a bounded pool.
//!
//! A flood of logins can occupy two cores' worth of hashing and no more; who would have to wait too long is told [`Busy`]. A login for an
//! unknown person does the same work as one with a wrong password.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::Semaphore;

/// Fewest characters of a password.
pub const MIN_CHARACTERS: usize = 10;
/// Most bytes of a password.
pub const MAX_BYTES: usize = 1024;

const AT_ONCE: usize = 2;
const WAITING: usize = 32;
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Too many are hashing already: temporary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many logins at once")]
pub struct Busy;

/// The password does not meet the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Fewer than [`MIN_CHARACTERS`].
    #[error("a password has at least {MIN_CHARACTERS} characters")]
    TooShort,
    /// More than [`MAX_BYTES`].
    #[error("a password has at most {MAX_BYTES} bytes")]
    TooLong,
}

/// Whether a new password is good enough: length is what counts (NIST SP 800-63B).
///
/// # Errors
/// See [`PolicyError`].
pub fn check_policy(password: &SecretString) -> Result<(), PolicyError> {
    let password = password.expose_secret();
    if password.chars().count() < MIN_CHARACTERS {
        return Err(PolicyError::TooShort);
    }
    if password.len() > MAX_BYTES {
        Err(PolicyError::TooLong)
    } else {
        Ok(())
    }
}

/// The bounded pool. One per process; clones share it.
#[derive(Debug, Clone)]
pub struct Passwords {
    at_once: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            admitted: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
        }
    }
}

impl Passwords {
    /// The hash of a password, in PHC format.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn hash(&self, password: &SecretString) -> Result<String, Busy> {
        let password = password.clone();
        self.run(move || hash(&password)).await
    }

    /// Whether the password is the one of the hash. Without a hash (an unknown person) the same work is done for nothing.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn verify(&self, password: &SecretString, hash: Option<&str>) -> Result<bool, Busy> {
        let (password, hash) = (password.clone(), hash.map(str::to_owned));
        self.run(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| nobodys_hash().to_owned());
            let fits = PasswordHash::new(&hash).is_ok_and(|hash| {
                password.expose_secret().len() <= MAX_BYTES && argon2().verify_password(password.expose_secret().as_bytes(), &hash).is_ok()
            });
            fits && known
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| Busy)?;
        let turn = tokio::time::timeout(LONGEST_WAIT, Arc::clone(&self.at_once).acquire_owned()).await;
        let turn = turn.map_err(|_| Busy)?.map_err(|_| Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held until the work ends, even when nobody waits for it any more.
            let _permits = (admitted, turn);
            work()
        });
        done.await.map_err(|_| Busy)
    }
}

/// OWASP's first choice that fits small machines: 19 MiB, two passes.
fn argon2() -> Argon2<'static> {
    #[expect(clippy::expect_used, reason = "constant parameters, within argon2's limits; a test runs this")]
    let params = Params::new(19 * 1024, 2, 1, None).expect("valid parameters");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &SecretString) -> String {
    #[expect(clippy::expect_used, reason = "fails only for a password of 4 GiB or without a random generator")]
    argon2()
        .hash_password(password.expose_secret().as_bytes())
        .expect("argon2 hashes")
        .to_string()
}

fn nobodys_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| hash(&crate::random::token().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_verifies_and_nothing_else_does() {
        let passwords = Passwords::default();
        let (right, wrong) = (SecretString::from("correct horse"), SecretString::from("battery staple"));
        let hash = passwords.hash(&right).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify(&right, Some(&hash)).await.unwrap());
        for (password, hash) in [
            (&wrong, Some(hash.as_str())),
            (&right, None),
            (&right, Some("")),
            (&right, Some("$argon2id$nonsense")),
        ] {
            assert!(!passwords.verify(password, hash).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_flood_is_told_busy_instead_of_starving_the_machine() {
        // ASSURANCE A14
        let passwords = Passwords::default();
        let password = SecretString::from("x");
        let tries = (0..100).map(|_| {
            let (passwords, password) = (passwords.clone(), password.clone());
            tokio::spawn(async move { passwords.verify(&password, None).await })
        });
        let mut busy = 0;
        for done in tries.collect::<Vec<_>>() {
            busy += usize::from(done.await.unwrap() == Err(Busy));
        }
        assert!(busy >= 100 - AT_ONCE - WAITING, "{busy}");
    }

    #[test]
    fn a_password_has_at_least_ten_characters() {
        for (password, fine) in [
            ("", false),
            ("123456789", false),
            ("1234567890", true),
            ("ééééééééé", false),
            ("éééééééééé", true),
        ] {
            assert_eq!(check_policy(&password.into()).is_ok(), fine, "{password}");
        }
        assert_eq!(check_policy(&"x".repeat(1025).into()), Err(PolicyError::TooLong));
    }
}
