//! Signing keys of domains. Private keys arrive sealed; [`crate::sending`] hands them to those who sign.
//!
//! A new key is *pending* until it is seen in DNS ([`crate::domains::save_check`]); then it signs, and the one it replaces is
//! *retiring*: published for the mail that is still on its way, no longer used.

use crate::{
    Result,
    ids::{DkimKeyId, DomainId, OrganizationId},
    models::{DkimAlgorithm, DkimKeyState},
};
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// A key as its organization may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimKey {
    /// Its id.
    pub id: DkimKeyId,
    /// Whose signature it makes.
    pub domain: DomainId,
    /// The label under `_domainkey`.
    pub selector: String,
    /// Its algorithm.
    pub algorithm: DkimAlgorithm,
    /// Base64, as published in `p=`.
    pub public_key: String,
    /// Where it is in its life.
    pub state: DkimKeyState,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What makes a key. The private key is kept out of `Debug`.
#[derive(Clone, Copy)]
pub struct NewDkimKey<'a> {
    /// Made by [`DkimKeyId::generate`]: the seal is bound to it.
    pub id: DkimKeyId,
    /// The label under `_domainkey`.
    pub selector: &'a str,
    /// Its algorithm.
    pub algorithm: DkimAlgorithm,
    /// PKCS#8, sealed.
    pub private_key: &'a [u8],
    /// Base64, as published in `p=`.
    pub public_key: &'a str,
}

impl std::fmt::Debug for NewDkimKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewDkimKey")
            .field("selector", &self.selector)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Adds a pending key to a domain.
///
/// # Errors
/// `Conflict("dkim_key_selector_key")` when the domain has a key of this selector.
pub async fn insert(executor: impl PgExecutor<'_>, organization: OrganizationId, domain: DomainId, new: NewDkimKey<'_>) -> Result<DkimKey> {
    // dkim_keys::insert — from the domain's row, so that a domain of another organization gets none
    Ok(sqlx::query_as!(
        DkimKey,
        r#"insert into dkim_key (id, organization_id, domain_id, selector, algorithm, private_key, public_key, state)
           select $1, d.organization_id, d.id, $4, $5, $6, $7, 'pending' from domain d where d.organization_id = $2 and d.id = $3
           returning id as "id: DkimKeyId", domain_id as "domain: DomainId", selector, algorithm as "algorithm: DkimAlgorithm",
                     public_key, state as "state: DkimKeyState", created_at"#,
        new.id.0,
        organization.0,
        domain.0,
        new.selector,
        new.algorithm as DkimAlgorithm,
        new.private_key,
        new.public_key
    )
    .fetch_one(executor)
    .await?)
}

/// The keys of a domain, oldest first. A domain has a handful: the newest hundred at most.
///
/// # Errors
/// When the database fails.
pub async fn of_domain(executor: impl PgExecutor<'_>, organization: OrganizationId, domain: DomainId) -> Result<Vec<DkimKey>> {
    // dkim_keys::of_domain
    Ok(sqlx::query_as!(
        DkimKey,
        r#"select id as "id: DkimKeyId", domain_id as "domain: DomainId", selector, algorithm as "algorithm: DkimAlgorithm",
                  public_key, state as "state: DkimKeyState", created_at
           from dkim_key where organization_id = $1 and domain_id = $2 order by id limit 100"#,
        organization.0,
        domain.0
    )
    .fetch_all(executor)
    .await?)
}

/// Removes a key that does not sign.
///
/// # Errors
/// `NotFound` when the domain has no such key, or it signs.
pub async fn delete(executor: impl PgExecutor<'_>, organization: OrganizationId, domain: DomainId, id: DkimKeyId) -> Result<()> {
    // dkim_keys::delete
    let done = sqlx::query!(
        "delete from dkim_key where organization_id = $1 and domain_id = $2 and id = $3 and state <> 'active'",
        organization.0,
        domain.0,
        id.0
    )
    .execute(executor)
    .await?;
    crate::affected_one(done.rows_affected())
}
