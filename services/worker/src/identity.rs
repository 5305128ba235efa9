//! Who a message is sent as: the keys that sign it and the name its bounces return to, by domain, remembered for a few seconds.

use auth::secrets::{Purpose, Secrets};
use chrono::{DateTime, Utc};
use mail::Domain;
use mailauth::dkim::{self, Algorithm, Signer};
use moka::future::Cache;
use std::{borrow::Cow, sync::Arc, time::Duration};
use store::{
    PgPool,
    ids::{DomainId, OrganizationId},
    models::DkimAlgorithm,
    sending::{self, SealedKey},
};

/// A domain as a sender.
#[derive(Debug)]
pub struct Identity {
    /// The name that takes bounces, when its record was found right.
    pub return_path: Option<Domain>,
    signers: Vec<Signer>,
}

/// Identities by domain.
#[derive(Debug)]
pub struct Identities {
    pool: PgPool,
    secrets: Arc<Secrets>,
    known: Cache<DomainId, Option<Arc<Identity>>>,
}

impl Identities {
    /// Opens sealed keys with the instance's secrets.
    #[must_use]
    pub fn new(pool: PgPool, secrets: Arc<Secrets>) -> Self {
        Self {
            pool,
            secrets,
            known: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(5)).build(),
        }
    }

    /// The identity of a domain; `None` when the domain is gone and the message leaves unsigned.
    ///
    /// # Errors
    /// With our reason to wait: the database is away, or a key cannot be read. Mail is not sent unsigned for a fault of ours.
    pub async fn of(&self, organization: OrganizationId, domain: DomainId) -> Result<Option<Arc<Identity>>, String> {
        if let Some(known) = self.known.get(&domain).await {
            return Ok(known);
        }
        let identity = match sending::domain(&self.pool, organization, domain).await {
            Ok(found) => Some(Arc::new(self.open(&found)?)),
            Err(store::Error::NotFound) => None,
            Err(error) => {
                tracing::warn!(%error, "a sender's domain could not be read");
                return Err("the sender's domain could not be read just now".to_owned());
            }
        };
        self.known.insert(domain, identity.clone()).await;
        Ok(identity)
    }

    fn open(&self, found: &sending::SendingDomain) -> Result<Identity, String> {
        let keys = if found.sign { found.keys.as_slice() } else { &[] };
        let signers = keys.iter().map(|key| self.signer(key, &found.name)).collect::<Result<_, _>>()?;
        Ok(Identity {
            return_path: found.return_path.as_deref().and_then(|name| name.parse().ok()),
            signers,
        })
    }

    fn signer(&self, key: &SealedKey, domain: &str) -> Result<Signer, String> {
        let unreadable = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, selector = key.selector, "a DKIM key cannot be used");
            format!("the DKIM key {} cannot be used just now", key.selector)
        };
        let plain = self
            .secrets
            .open(Purpose::Dkim, &key.private_key, key.id.0.as_bytes())
            .map_err(|error| unreadable(&error))?;
        let algorithm = match key.algorithm {
            DkimAlgorithm::RsaSha256 => Algorithm::RsaSha256,
            DkimAlgorithm::Ed25519Sha256 => Algorithm::Ed25519Sha256,
        };
        Signer::new(algorithm, &plain, domain, &key.selector).map_err(|error| unreadable(&error))
    }
}

impl Identity {
    /// The signature fields for a message, ready to stand before it; empty when the domain does not sign.
    pub fn sign(&self, raw: &[u8], now: DateTime<Utc>) -> Cow<'static, [u8]> {
        if self.signers.is_empty() {
            return Cow::Borrowed(&[]);
        }
        let signers: Vec<&Signer> = self.signers.iter().collect();
        match dkim::sign(&[raw], &signers, now.timestamp().unsigned_abs()) {
            Ok(fields) => Cow::Owned(fields),
            Err(error) => {
                // A fact about the message, such as a From that cannot be signed: it would not get better by waiting.
                tracing::warn!(%error, "a message leaves unsigned");
                Cow::Borrowed(&[])
            }
        }
    }
}
