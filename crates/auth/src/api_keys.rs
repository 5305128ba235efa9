//! API keys: `pr_<10 characters>_<32 characters>`, the last 160 random bits.
//!
//! The prefix finds the row and may be shown; the whole key exists once, in the answer that made it. The store holds its keyed hash.

use crate::{STALENESS, last_used::LastUsed, networks, random, scopes::Scopes, secrets};
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use secrets::{Hash, Purpose, Secrets};
use std::{net::IpAddr, sync::Arc, time::Duration};
use store::{
    PgPool,
    api_keys::{ApiKey, ApiKeyAccess, NewApiKey},
    ids::{ApiKeyId, OrganizationId},
};

const PREFIX: usize = 10;
const SECRET: usize = 32;

/// A key that was just made: the only moment at which its text exists.
#[derive(Debug)]
pub struct Minted {
    /// The whole key.
    pub plain: SecretString,
    /// The part that finds it.
    pub prefix: String,
    /// What the store keeps of it.
    pub hash: Hash,
}

/// Makes a key.
#[must_use]
pub fn mint(secrets: &Secrets) -> Minted {
    let prefix = random::base32::<PREFIX>();
    let plain = format!("pr_{prefix}_{}", random::base32::<SECRET>());
    let hash = secrets.keyed_hash(Purpose::ApiKey, plain.as_bytes());
    Minted {
        plain: plain.into(),
        prefix,
        hash,
    }
}

/// What a new key shall be.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What its people call it.
    pub name: String,
    /// What it may do. That it is within the creator's own scopes is the caller's to check ([`Scopes::within`]).
    pub scopes: Scopes,
    /// From where; empty: from anywhere.
    pub networks: Vec<IpNet>,
    /// For which domains (lower-case A-labels); empty: all.
    pub domains: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Makes and stores a key.
///
/// # Errors
/// As [`store::api_keys::insert`].
pub async fn create(
    executor: &mut store::PgConnection,
    secrets: &Secrets,
    organization: OrganizationId,
    wanted: &Wanted,
) -> store::Result<(ApiKey, SecretString)> {
    let minted = mint(secrets);
    let new = NewApiKey {
        name: &wanted.name,
        prefix: &minted.prefix,
        secret_hash: &minted.hash,
        scopes: &wanted.scopes.to_texts(),
        networks: &wanted.networks,
        domains: &wanted.domains,
        expires_at: wanted.expires_at,
    };
    let key = store::api_keys::insert(executor, organization, new).await?;
    Ok((key, minted.plain))
}

/// Gives a key a new secret; the old one stops within two seconds.
///
/// # Errors
/// As [`store::api_keys::rotate`].
pub async fn rotate(
    executor: &mut store::PgConnection,
    secrets: &Secrets,
    organization: OrganizationId,
    id: ApiKeyId,
) -> store::Result<(ApiKey, SecretString)> {
    let minted = mint(secrets);
    let key = store::api_keys::rotate(executor, organization, id, &minted.prefix, &minted.hash).await?;
    Ok((key, minted.plain))
}

/// Who speaks through a key, and what it may do.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The key's organization.
    pub organization: OrganizationId,
    /// The key.
    pub key: ApiKeyId,
    /// What it may do.
    pub scopes: Arc<Scopes>,
    /// The domains it is limited to; empty: all of the organization.
    pub domains: Arc<[String]>,
}

impl Principal {
    /// Whether the key may be used for this domain (lower-case A-labels), as far as its own limits go.
    #[must_use]
    pub fn may_use_domain(&self, domain: &str) -> bool {
        self.domains.is_empty() || self.domains.iter().any(|own| own == domain)
    }
}

/// Why a key was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Malformed, unknown, wrong, withdrawn or expired: deliberately not told apart.
    #[error("the API key is not valid")]
    Invalid,
    /// Right, but not from this address.
    #[error("the API key may not be used from this address")]
    AddressNotAllowed,
    /// Right, but the organization is suspended: temporary.
    #[error("the organization is suspended")]
    Suspended,
    /// We cannot tell: temporary, our fault.
    #[error("keys cannot be checked at the moment")]
    Unavailable(#[source] store::Error),
}

/// Checks keys. One per process; clones share the cache.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    pool: PgPool,
    secrets: Arc<Secrets>,
    known: Cache<String, Arc<Known>>,
    used: LastUsed,
}

#[derive(Debug)]
struct Known {
    hash: Vec<u8>,
    networks: Vec<IpNet>,
    principal: Principal,
    expires_at: Option<DateTime<Utc>>,
    suspended: bool,
}

impl ApiKeys {
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(pool: PgPool, secrets: Arc<Secrets>) -> Self {
        Self::with_staleness(pool, secrets, STALENESS)
    }

    /// As [`ApiKeys::new`], with another age that answers may have.
    #[must_use]
    pub fn with_staleness(pool: PgPool, secrets: Arc<Secrets>, staleness: Duration) -> Self {
        let writing = pool.clone();
        let used = LastUsed::start(move |ids| {
            let pool = writing.clone();
            async move { store::api_keys::used(&pool, &ids).await }
        });
        let known = Cache::builder().max_capacity(10_000).time_to_live(staleness).build();
        Self {
            pool,
            secrets,
            known,
            used,
        }
    }

    /// The principal behind a presented key.
    ///
    /// A key seen within the last second costs no SQL; everything that is refused costs exactly one look-up, whether the prefix is known
    /// or not.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn authenticate(&self, presented: &SecretString, peer: IpAddr) -> Result<Principal, Refusal> {
        let text = presented.expose_secret();
        let prefix = prefix_of(text).ok_or(Refusal::Invalid)?;
        let hash = self.secrets.keyed_hash(Purpose::ApiKey, text.as_bytes());
        let fits = |known: &Arc<Known>| secrets::equal(&known.hash, &hash);
        let known = match self.known.get(prefix).filter(fits) {
            Some(known) => known,
            None => {
                let found = store::api_keys::access(&self.pool, prefix).await.map_err(Refusal::Unavailable)?;
                let known = found.and_then(Known::read);
                match known.map(Arc::new) {
                    Some(known) if fits(&known) => {
                        self.known.insert(prefix.to_owned(), Arc::clone(&known));
                        known
                    }
                    Some(_) => return Err(Refusal::Invalid),
                    None => {
                        std::hint::black_box(secrets::equal(&[0; 32], &hash));
                        return Err(Refusal::Invalid);
                    }
                }
            }
        };
        if known.expires_at.is_some_and(|at| at <= Utc::now()) {
            return Err(Refusal::Invalid);
        }
        if known.suspended {
            return Err(Refusal::Suspended);
        }
        if !known.networks.is_empty() && !networks::contain(&known.networks, peer) {
            return Err(Refusal::AddressNotAllowed);
        }
        self.used.note(known.principal.key.0);
        Ok(known.principal.clone())
    }

    /// Drops what is remembered of keys: call it after this process withdrew or changed one.
    pub fn forget(&self) {
        self.known.invalidate_all();
    }
}

impl Known {
    /// None for a key that is withdrawn or expired, or whose scopes a later program wrote.
    fn read(access: ApiKeyAccess) -> Option<Self> {
        let ApiKeyAccess {
            key,
            secret_hash,
            suspended,
            expired,
        } = access;
        if expired || key.revoked_at.is_some() {
            return None;
        }
        let scopes = Scopes::parse(&key.scopes)
            .inspect_err(|error| tracing::warn!(key = %key.id, %error, "an API key holds a scope this program does not know"))
            .ok()?;
        Some(Self {
            hash: secret_hash,
            networks: key.networks,
            principal: Principal {
                organization: key.organization,
                key: key.id,
                scopes: Arc::new(scopes),
                domains: key.domains.into(),
            },
            expires_at: key.expires_at,
            suspended,
        })
    }
}

/// The public part of a well-formed key.
fn prefix_of(text: &str) -> Option<&str> {
    let (prefix, secret) = text.strip_prefix("pr_")?.split_once('_')?;
    let fine = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (fine(prefix, PREFIX) && fine(secret, SECRET)).then_some(prefix)
}

#[cfg(test)]
#[path = "api_keys_tests.rs"]
mod tests;
