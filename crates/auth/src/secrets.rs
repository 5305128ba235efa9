//! The keys derived from the instance's secret, and what they protect.
//!
//! One secret key per instance; each purpose has its own sub-key, HMAC-SHA-256(secret, "postroad/1/" + purpose), so that a value made for
//! one purpose means nothing for another. [`Secrets::seal`] encrypts what must be read back (DKIM private keys) with AES-256-GCM, bound
//! to its row: a sealed value copied to another row does not open.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    constant_time, hmac,
};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use store::PgPool;
use zeroize::Zeroizing;

/// What a derived key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Hashes of API keys.
    ApiKey,
    /// Hashes of SMTP passwords.
    SmtpCredential,
    /// Encryption of DKIM private keys.
    Dkim,
    /// Authentication of return paths.
    ReturnPath,
    /// Authentication of list cursors.
    Cursor,
    /// The value by which a start with another secret is noticed.
    Check,
    /// Encryption of answers kept for repeated requests.
    Answer,
    /// Encryption of the secrets that sign what is posted to customers' HTTP endpoints.
    Endpoint,
}

const PURPOSES: [Purpose; 8] = [
    Purpose::ApiKey,
    Purpose::SmtpCredential,
    Purpose::Dkim,
    Purpose::ReturnPath,
    Purpose::Cursor,
    Purpose::Check,
    Purpose::Answer,
    Purpose::Endpoint,
];

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Self::ApiKey => "api-key",
            Self::SmtpCredential => "smtp-credential",
            Self::Dkim => "dkim",
            Self::ReturnPath => "return-path",
            Self::Cursor => "cursor",
            Self::Check => "check",
            Self::Answer => "answer",
            Self::Endpoint => "endpoint",
        }
    }
}

/// A keyed hash: HMAC-SHA-256.
pub type Hash = [u8; 32];

/// The sealed value does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed by another format or under another secret key.
    #[error("sealed under another secret key")]
    OtherKey,
    /// It was changed, or belongs to another row.
    #[error("the sealed value is damaged or belongs to another row")]
    Damaged,
}

/// Why an instance must not start with this secret.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database was made with another secret key.
    #[error(
        "POSTROAD_SECRET_KEY is not the one this database was set up with: no stored key, password or DKIM key could be used; restore the \
         former value"
    )]
    WrongKey,
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The instance's derived keys. Cheap to use, made once; `Debug` shows nothing.
pub struct Secrets {
    keys: [Zeroizing<Hash>; PURPOSES.len()],
    hmacs: [hmac::Key; PURPOSES.len()],
    key_id: [u8; 4],
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

const FORMAT: u8 = 1;
const HEADER: usize = 1 + 4 + 12; // format, key id, nonce

impl Secrets {
    /// Derives the keys. How long a secret must be is the configuration's to say.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let derive = |label: &str| Zeroizing::new(mac(&root, &[b"postroad/1/", label.as_bytes()]));
        let keys = PURPOSES.map(|purpose| derive(purpose.label()));
        let hmacs = std::array::from_fn(|at| hmac::Key::new(hmac::HMAC_SHA256, keys[at].as_slice()));
        let id = derive("key-id");
        Self {
            keys,
            hmacs,
            key_id: [id[0], id[1], id[2], id[3]],
        }
    }

    /// The key of a purpose, for code that keeps its own state around it.
    #[must_use]
    pub fn key(&self, purpose: Purpose) -> &Hash {
        &self.keys[purpose as usize]
    }

    /// HMAC-SHA-256 of `bytes` under the purpose's key.
    #[must_use]
    pub fn keyed_hash(&self, purpose: Purpose, bytes: &[u8]) -> Hash {
        mac(&self.hmacs[purpose as usize], &[bytes])
    }

    /// Encrypts `plain` for the row named by `row` (its id's bytes).
    #[must_use]
    pub fn seal(&self, purpose: Purpose, plain: &[u8], row: &[u8]) -> Vec<u8> {
        let mut body = plain.to_vec();
        #[expect(
            clippy::expect_used,
            reason = "fails only beyond 64 GiB or without a random generator, which aborts first"
        )]
        let nonce = self
            .cipher(purpose)
            .seal_in_place_append_tag(Aad::from(row), &mut body)
            .expect("AES-256-GCM seals");
        let mut sealed = Vec::with_capacity(HEADER + body.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.key_id);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&body);
        sealed
    }

    /// Decrypts what [`Secrets::seal`] made for the same purpose and row.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, purpose: Purpose, sealed: &[u8], row: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (header, body) = sealed.split_at_checked(HEADER).ok_or(OpenError::Damaged)?;
        if header[0] != FORMAT || header[1..5] != self.key_id {
            return Err(OpenError::OtherKey);
        }
        let nonce = Nonce::try_assume_unique_for_key(&header[5..]).map_err(|_| OpenError::Damaged)?;
        let mut plain = Zeroizing::new(body.to_vec());
        let length = self
            .cipher(purpose)
            .open_in_place(nonce, Aad::from(row), &mut plain)
            .map_err(|_| OpenError::Damaged)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    fn cipher(&self, purpose: Purpose) -> RandomizedNonceKey {
        #[expect(clippy::expect_used, reason = "fails only for a key of another length; ours is 32 bytes by type")]
        RandomizedNonceKey::new(&AES_256_GCM, self.keys[purpose as usize].as_slice()).expect("a 32-byte key")
    }

    /// Whether this is the secret the database was set up with. The first instance to ask sets it up.
    ///
    /// # Errors
    /// [`VerifyError::WrongKey`] when it is not.
    pub async fn verify_instance(&self, pool: &PgPool) -> Result<(), VerifyError> {
        let ours = hex::encode(self.keyed_hash(Purpose::Check, b"secret key"));
        let stored = store::settings::get_or_insert(pool, "secret_key_check", &ours).await?;
        if equal(ours.as_bytes(), stored.as_bytes()) {
            Ok(())
        } else {
            Err(VerifyError::WrongKey)
        }
    }
}

/// See [`Secrets::verify_instance`].
///
/// # Errors
/// As there.
pub async fn verify_instance(pool: &PgPool, secrets: &Secrets) -> Result<(), VerifyError> {
    secrets.verify_instance(pool).await
}

/// Comparison whose time tells nothing about where two secrets differ.
#[must_use]
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

fn mac(key: &hmac::Key, parts: &[&[u8]]) -> Hash {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.sign().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(text: &str) -> Secrets {
        Secrets::new(&SecretString::from(text))
    }

    #[test]
    fn each_purpose_has_its_own_key_and_each_secret_its_own_keys() {
        let (one, other) = (secrets("one"), secrets("other"));
        let hashes: std::collections::HashSet<_> = [&one, &other]
            .iter()
            .flat_map(|s| PURPOSES.map(|p| s.keyed_hash(p, b"x")))
            .collect();
        assert_eq!(hashes.len(), 2 * PURPOSES.len());
        assert_eq!(
            one.keyed_hash(Purpose::ApiKey, b"x"),
            secrets("one").keyed_hash(Purpose::ApiKey, b"x")
        );
        for (place, purpose) in PURPOSES.iter().enumerate() {
            assert_eq!(*purpose as usize, place);
        }
    }

    #[test]
    fn a_sealed_value_opens_only_for_its_row_purpose_and_secret() {
        let ours = secrets("one");
        let sealed = ours.seal(Purpose::Dkim, b"private", b"row 1");
        assert!(!sealed.windows(7).any(|w| w == b"private"));
        assert_ne!(sealed, ours.seal(Purpose::Dkim, b"private", b"row 1"), "a nonce is used once");
        assert_eq!(ours.open(Purpose::Dkim, &sealed, b"row 1").unwrap().as_slice(), b"private");
        assert_eq!(ours.open(Purpose::Dkim, &sealed, b"row 2").unwrap_err(), OpenError::Damaged);
        assert_eq!(ours.open(Purpose::Cursor, &sealed, b"row 1").unwrap_err(), OpenError::Damaged);
        assert_eq!(
            secrets("two").open(Purpose::Dkim, &sealed, b"row 1").unwrap_err(),
            OpenError::OtherKey
        );
        for cut in 0..sealed.len() {
            assert!(ours.open(Purpose::Dkim, &sealed[..cut], b"row 1").is_err());
            let mut changed = sealed.clone();
            changed[cut] ^= 1;
            assert!(ours.open(Purpose::Dkim, &changed, b"row 1").is_err());
        }
    }

    #[sqlx::test(migrations = "../../migrations")]
    async fn a_start_with_another_secret_is_refused(pool: PgPool) {
        secrets("first").verify_instance(&pool).await.unwrap();
        secrets("first").verify_instance(&pool).await.unwrap();
        assert!(matches!(secrets("second").verify_instance(&pool).await, Err(VerifyError::WrongKey)));
    }
}
