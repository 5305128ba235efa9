//! SMTP credentials: a username and a random password for AUTH, or networks that need none.
//!
//! The hot path runs no SQL: a credential seen within the last second is checked in memory, and [`SmtpCredentials::recheck`] tells an open
//! session, at each transaction, whether its principal still holds (ASSURANCE A12).

use crate::{STALENESS, last_used::LastUsed, networks, random, secrets};
use ipnet::IpNet;
use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use secrets::{Purpose, Secrets};
use std::{net::IpAddr, sync::Arc, time::Duration};
use store::{
    PgPool,
    ids::{OrganizationId, SmtpCredentialId},
    smtp_credentials::{NewSmtpCredential, SmtpCredential, SmtpCredentialAccess, SmtpCredentialType},
};

/// One query answers for every client, so this list may be fresher: a network that was just admitted should not be turned away.
const NETWORKS_STALENESS: Duration = Duration::from_millis(200);

/// What a new credential shall be. The entries are already checked: `allowed_from::parse`, `networks::parse` and, for a network
/// credential, `networks::check_admitting` (which [`create`] repeats).
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What its people call it.
    pub name: String,
    /// How it admits.
    pub kind: SmtpCredentialType,
    /// Password: from where, empty being anywhere. Network: the peers it admits, at least one.
    pub networks: Vec<IpNet>,
    /// As whom; empty: every domain of the organization.
    pub allowed_from: Vec<String>,
    /// In which stream.
    pub stream: String,
}

/// Why a credential was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A network credential needs at least one network.
    #[error("a network credential needs at least one network")]
    NoNetworks,
    /// See [`networks::check_admitting`].
    #[error(transparent)]
    Network(#[from] networks::NetworkError),
    /// See [`store::smtp_credentials::insert`].
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Makes and stores a credential; the password (none for a network) is shown this once.
///
/// # Errors
/// See [`CreateError`].
pub async fn create(
    executor: &mut store::PgConnection,
    secrets: &Secrets,
    organization: OrganizationId,
    wanted: &Wanted,
) -> Result<(SmtpCredential, Option<SecretString>), CreateError> {
    let username = format!("{}-{}", slug(&wanted.name), random::base32::<8>());
    let password = match wanted.kind {
        SmtpCredentialType::Password => Some(SecretString::from(random::base32::<32>())),
        SmtpCredentialType::Network => {
            if wanted.networks.is_empty() {
                return Err(CreateError::NoNetworks);
            }
            wanted.networks.iter().try_for_each(|network| networks::check_admitting(*network))?;
            None
        }
    };
    let hash = password.as_ref().map(|password| hash(secrets, &username, password.expose_secret()));
    let new = NewSmtpCredential {
        name: &wanted.name,
        kind: wanted.kind,
        username: &username,
        secret_hash: hash.as_ref().map(<[u8; 32]>::as_slice),
        networks: &wanted.networks,
        allowed_from: &wanted.allowed_from,
        stream: &wanted.stream,
    };
    Ok((store::smtp_credentials::insert(executor, organization, new).await?, password))
}

/// The username is part of what is hashed, so that a hash moved to another row is worth nothing.
fn hash(secrets: &Secrets, username: &str, password: &str) -> secrets::Hash {
    secrets.keyed_hash(Purpose::SmtpCredential, format!("{username}\0{password}").as_bytes())
}

/// The readable start of a username.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().take(200) {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
        if slug.len() == 20 {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "smtp".to_owned() } else { slug.to_owned() }
}

/// Who speaks in an SMTP session. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Whose.
    pub organization: OrganizationId,
    /// Which credential.
    pub credential: SmtpCredentialId,
    /// Addresses or `@domains`; empty: every domain of the organization.
    pub allowed_from: Arc<[String]>,
    /// The stream of what is sent.
    pub stream: Arc<str>,
}

/// Why nobody speaks.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Unknown, wrong, withdrawn or from another address: deliberately not told apart (ASSURANCE A08).
    #[error("the username or password is not right")]
    Invalid,
    /// The organization is suspended: temporary.
    #[error("the organization is suspended")]
    Suspended,
    /// We cannot tell: temporary, our fault.
    #[error("credentials cannot be checked at the moment")]
    Unavailable(#[source] store::Error),
}

#[derive(Debug)]
struct Known {
    hash: Option<Vec<u8>>,
    kind: SmtpCredentialType,
    networks: Vec<IpNet>,
    suspended: bool,
    principal: Principal,
}

impl From<SmtpCredentialAccess> for Known {
    fn from(access: SmtpCredentialAccess) -> Self {
        let SmtpCredentialAccess {
            credential,
            secret_hash,
            suspended,
        } = access;
        Self {
            hash: secret_hash,
            kind: credential.kind,
            networks: credential.networks,
            suspended,
            principal: Principal {
                organization: credential.organization,
                credential: credential.id,
                allowed_from: credential.allowed_from.into(),
                stream: credential.stream.into(),
            },
        }
    }
}

impl Known {
    fn admits(&self, peer: IpAddr) -> bool {
        match self.kind {
            SmtpCredentialType::Password => self.networks.is_empty() || networks::contain(&self.networks, peer),
            SmtpCredentialType::Network => networks::narrowest_admitting(&self.networks, peer).is_some(),
        }
    }
}

/// Checks credentials. One per process; clones share the caches.
#[derive(Debug, Clone)]
pub struct SmtpCredentials {
    pool: PgPool,
    secrets: Arc<Secrets>,
    by_username: Cache<String, Arc<Known>>,
    by_id: Cache<SmtpCredentialId, Option<Arc<Known>>>,
    network: Cache<(), Arc<[Arc<Known>]>>,
    used: LastUsed,
}

impl SmtpCredentials {
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(pool: PgPool, secrets: Arc<Secrets>) -> Self {
        Self::with_staleness(pool, secrets, STALENESS)
    }

    /// As [`SmtpCredentials::new`], with another age that answers may have.
    #[must_use]
    pub fn with_staleness(pool: PgPool, secrets: Arc<Secrets>, staleness: Duration) -> Self {
        let writing = pool.clone();
        let used = LastUsed::start(move |ids| {
            let pool = writing.clone();
            async move { store::smtp_credentials::used(&pool, &ids).await }
        });
        Self {
            pool,
            secrets,
            by_username: Cache::builder().max_capacity(10_000).time_to_live(staleness).build(),
            by_id: Cache::builder().max_capacity(10_000).time_to_live(staleness).build(),
            network: Cache::builder()
                .max_capacity(1)
                .time_to_live(staleness.min(NETWORKS_STALENESS))
                .build(),
            used,
        }
    }

    /// The principal of a username and password. What is refused costs exactly one look-up, whoever the user.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn authenticate(&self, username: &str, password: &SecretString, peer: IpAddr) -> Result<Principal, Refusal> {
        // No username of ours is longer or holds anything else (ASSURANCE A07): nothing to look up, and nothing is told by the time.
        if username.len() > 64 || !username.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Refusal::Invalid);
        }
        let hash = hash(&self.secrets, username, password.expose_secret());
        let fits = |known: &Arc<Known>| known.hash.as_deref().is_some_and(|stored| secrets::equal(stored, &hash));
        if let Some(known) = self.by_username.get(username).filter(fits) {
            return self.admit(&known, peer);
        }
        let found = store::smtp_credentials::access_by_username(&self.pool, username)
            .await
            .map_err(Refusal::Unavailable)?;
        match found.map(|access| Arc::new(Known::from(access))) {
            Some(known) if fits(&known) => {
                self.by_username.insert(username.to_owned(), Arc::clone(&known));
                self.by_id.insert(known.principal.credential, Some(Arc::clone(&known)));
                self.admit(&known, peer)
            }
            Some(_) => Err(Refusal::Invalid),
            None => {
                std::hint::black_box(secrets::equal(&[0; 32], &hash));
                Err(Refusal::Invalid)
            }
        }
    }

    /// The principal of a peer that needs no password: the credential with the narrowest network around it, the oldest of equals.
    ///
    /// # Errors
    /// [`Refusal::Suspended`] or [`Refusal::Unavailable`]; a peer that no network admits is `None`.
    pub async fn admit_by_network(&self, peer: IpAddr) -> Result<Option<Principal>, Refusal> {
        let list = match self.network.get(&()) {
            Some(list) => list,
            None => {
                let found = store::smtp_credentials::access_by_network(&self.pool)
                    .await
                    .map_err(Refusal::Unavailable)?;
                let list: Arc<[_]> = found.into_iter().map(|access| Arc::new(Known::from(access))).collect();
                self.network.insert((), Arc::clone(&list));
                list
            }
        };
        let mut best: Option<(u8, &Arc<Known>)> = None;
        for known in list.iter() {
            if let Some(width) = networks::narrowest_admitting(&known.networks, peer)
                && best.is_none_or(|(narrowest, _)| width > narrowest)
            {
                best = Some((width, known));
            }
        }
        best.map(|(_, known)| self.admit(known, peer)).transpose()
    }

    /// The principal as it stands now: an open session asks before each transaction. At most one look-up a second per credential.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when it was withdrawn or no longer covers the peer; see [`Refusal`].
    pub async fn recheck(&self, principal: &Principal, peer: IpAddr) -> Result<Principal, Refusal> {
        let id = principal.credential;
        let known = match self.by_id.get(&id) {
            Some(known) => known,
            None => {
                let found = store::smtp_credentials::access_by_id(&self.pool, id)
                    .await
                    .map_err(Refusal::Unavailable)?;
                let known = found.map(|access| Arc::new(Known::from(access)));
                self.by_id.insert(id, known.clone());
                known
            }
        };
        let known = known.ok_or(Refusal::Invalid)?;
        self.admit(&known, peer)
    }

    /// Drops what is remembered: call it after this process withdrew or changed a credential.
    pub fn forget(&self) {
        self.by_username.invalidate_all();
        self.by_id.invalidate_all();
        self.network.invalidate_all();
    }

    fn admit(&self, known: &Known, peer: IpAddr) -> Result<Principal, Refusal> {
        if !known.admits(peer) {
            return Err(Refusal::Invalid);
        }
        if known.suspended {
            return Err(Refusal::Suspended);
        }
        self.used.note(known.principal.credential.0);
        Ok(known.principal.clone())
    }
}

#[cfg(test)]
#[path = "smtp_credentials_tests.rs"]
mod tests;
