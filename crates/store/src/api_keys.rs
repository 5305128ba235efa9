//! Programs' access to the HTTP API. Only keyed hashes of the keys arrive here.

use crate::{
    Result,
    ids::{ApiKeyId, OrganizationId},
};
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use sqlx::PgExecutor;

/// An API key as its organization may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose.
    pub organization: OrganizationId,
    /// What its people call it.
    pub name: String,
    /// The public part: finds the row, may be shown.
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// From where; empty: from anywhere.
    pub networks: Vec<IpNet>,
    /// For which domains; empty: every domain of the organization.
    pub domains: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// Its last use, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Set when it was withdrawn.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What makes a key.
#[derive(Debug, Clone, Copy)]
pub struct NewApiKey<'a> {
    /// What its people call it, 1 to 200 characters.
    pub name: &'a str,
    /// The public part.
    pub prefix: &'a str,
    /// Keyed hash of the whole key.
    pub secret_hash: &'a [u8],
    /// What it may do; at least one.
    pub scopes: &'a [String],
    /// From where; empty: from anywhere. Host bits are cleared.
    pub networks: &'a [IpNet],
    /// For which domains; empty: all.
    pub domains: &'a [String],
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Everything a login needs to know.
#[derive(Debug, Clone)]
pub struct ApiKeyAccess {
    /// The key.
    pub key: ApiKey,
    /// Keyed hash of the whole key.
    pub secret_hash: Vec<u8>,
    /// Whether its organization is suspended.
    pub suspended: bool,
    /// Whether it ended by itself, on the database's clock.
    pub expired: bool,
}

/// Makes a key.
///
/// # Errors
/// `Conflict` when the prefix is taken, the name is too long or no scope is given.
pub async fn insert(executor: impl PgExecutor<'_>, organization: OrganizationId, new: NewApiKey<'_>) -> Result<ApiKey> {
    // api_keys::insert
    Ok(sqlx::query_as!(
        ApiKey,
        r#"insert into api_key (id, organization_id, name, prefix, secret_hash, scopes, networks, domains, expires_at)
           values ($1, $2, $3, $4, $5, $6, $7::inet[]::cidr[], $8, $9)
           returning id as "id: ApiKeyId", organization_id as "organization: OrganizationId", name, prefix, scopes,
                     networks as "networks: Vec<IpNet>", domains, expires_at, last_used_at, revoked_at, created_at"#,
        ApiKeyId::generate().0,
        organization.0,
        new.name,
        new.prefix,
        new.secret_hash,
        new.scopes,
        new.networks as &[IpNet],
        new.domains,
        new.expires_at,
    )
    .fetch_one(executor)
    .await?)
}

/// One key of an organization, withdrawn or not.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn find(executor: impl PgExecutor<'_>, organization: OrganizationId, id: ApiKeyId) -> Result<ApiKey> {
    // api_keys::find
    Ok(sqlx::query_as!(
        ApiKey,
        r#"select id as "id: ApiKeyId", organization_id as "organization: OrganizationId", name, prefix, scopes,
                  networks as "networks: Vec<IpNet>", domains, expires_at, last_used_at, revoked_at, created_at
           from api_key where organization_id = $1 and id = $2"#,
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?)
}

/// Up to `limit` keys that are not withdrawn, the newest first, older than `after`.
///
/// # Errors
/// When the database fails.
pub async fn list(executor: impl PgExecutor<'_>, organization: OrganizationId, after: Option<ApiKeyId>, limit: i64) -> Result<Vec<ApiKey>> {
    // api_keys::list
    Ok(sqlx::query_as!(
        ApiKey,
        r#"select id as "id: ApiKeyId", organization_id as "organization: OrganizationId", name, prefix, scopes,
                  networks as "networks: Vec<IpNet>", domains, expires_at, last_used_at, revoked_at, created_at
           from api_key where organization_id = $1 and revoked_at is null and ($2::uuid is null or id < $2)
           order by id desc limit $3"#,
        organization.0,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(executor)
    .await?)
}

/// Withdraws a key.
///
/// # Errors
/// `NotFound` when the organization has none of this id, or it was withdrawn before.
pub async fn revoke(executor: impl PgExecutor<'_>, organization: OrganizationId, id: ApiKeyId) -> Result<()> {
    // api_keys::revoke
    let done = sqlx::query!(
        "update api_key set revoked_at = now() where organization_id = $1 and id = $2 and revoked_at is null",
        organization.0,
        id.0
    )
    .execute(executor)
    .await?;
    crate::affected_one(done.rows_affected())
}

/// Gives a key a new secret; the old one stops.
///
/// # Errors
/// `NotFound` when the organization has none of this id, or it was withdrawn.
pub async fn rotate(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    id: ApiKeyId,
    prefix: &str,
    secret_hash: &[u8],
) -> Result<ApiKey> {
    // api_keys::rotate
    Ok(sqlx::query_as!(
        ApiKey,
        r#"update api_key set prefix = $3, secret_hash = $4, last_used_at = null
           where organization_id = $1 and id = $2 and revoked_at is null
           returning id as "id: ApiKeyId", organization_id as "organization: OrganizationId", name, prefix, scopes,
                     networks as "networks: Vec<IpNet>", domains, expires_at, last_used_at, revoked_at, created_at"#,
        organization.0,
        id.0,
        prefix,
        secret_hash
    )
    .fetch_one(executor)
    .await?)
}

/// What a login by this prefix needs. The one read without an organization: it tells which organization speaks.
///
/// # Errors
/// When the database fails; an unknown prefix is `None`.
pub async fn access(executor: impl PgExecutor<'_>, prefix: &str) -> Result<Option<ApiKeyAccess>> {
    // api_keys::access
    let row = sqlx::query!(
        r#"select k.id as "id: ApiKeyId", k.organization_id as "organization: OrganizationId", k.name, k.prefix, k.scopes,
                  k.networks as "networks: Vec<IpNet>", k.domains, k.expires_at, k.last_used_at, k.revoked_at, k.created_at,
                  k.secret_hash, o.suspended_at is not null as "suspended!", coalesce(k.expires_at <= now(), false) as "expired!"
           from api_key k join organization o on o.id = k.organization_id where k.prefix = $1"#,
        prefix
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| ApiKeyAccess {
        key: ApiKey {
            id: row.id,
            organization: row.organization,
            name: row.name,
            prefix: row.prefix,
            scopes: row.scopes,
            networks: row.networks,
            domains: row.domains,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            created_at: row.created_at,
        },
        secret_hash: row.secret_hash,
        suspended: row.suspended,
        expired: row.expired,
    }))
}

/// Notes that these keys were used just now. Rows that somebody else is writing, or wrote within the minute, are left alone.
///
/// # Errors
/// When the database fails.
pub async fn used(executor: impl PgExecutor<'_>, ids: &[uuid::Uuid]) -> Result<()> {
    // api_keys::used
    sqlx::query!(
        "update api_key set last_used_at = now() where id in (
             select id from api_key where id = any($1) and (last_used_at is null or last_used_at < now() - interval '50 seconds')
             order by id for update skip locked)",
        ids
    )
    .execute(executor)
    .await?;
    Ok(())
}
