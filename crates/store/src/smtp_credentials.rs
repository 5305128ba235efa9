//! Programs' access to the SMTP listener: a username and password, or a network that needs none.

use crate::{
    Result,
    ids::{OrganizationId, SmtpCredentialId},
};
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use sqlx::PgExecutor;

/// How a credential admits its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type, serde::Serialize, serde::Deserialize)]
#[sqlx(type_name = "smtp_credential_type", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum SmtpCredentialType {
    /// By AUTH.
    Password,
    /// By the peer's address, without AUTH.
    Network,
}

/// A credential as its organization may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpCredential {
    /// Its id.
    pub id: SmtpCredentialId,
    /// Whose.
    pub organization: OrganizationId,
    /// What its people call it.
    pub name: String,
    /// How it admits.
    pub kind: SmtpCredentialType,
    /// Unique in the instance.
    pub username: String,
    /// Password: from where, empty being anywhere. Network: the peers it admits.
    pub networks: Vec<IpNet>,
    /// Addresses or `@domains` it may send as; empty: every domain of the organization.
    pub allowed_from: Vec<String>,
    /// The stream of what it sends.
    pub stream: String,
    /// Its last use, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Set when it was withdrawn.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What makes a credential.
#[derive(Debug, Clone, Copy)]
pub struct NewSmtpCredential<'a> {
    /// What its people call it, 1 to 200 characters.
    pub name: &'a str,
    /// How it admits.
    pub kind: SmtpCredentialType,
    /// Unique in the instance.
    pub username: &'a str,
    /// Keyed hash of the password; none for a network.
    pub secret_hash: Option<&'a [u8]>,
    /// See [`SmtpCredential::networks`]. Host bits are cleared.
    pub networks: &'a [IpNet],
    /// See [`SmtpCredential::allowed_from`].
    pub allowed_from: &'a [String],
    /// The stream of what it sends.
    pub stream: &'a str,
}

/// What may be changed of a credential; `None` leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SmtpCredentialChange<'a> {
    /// What its people call it.
    pub name: Option<&'a str>,
    /// From where.
    pub networks: Option<&'a [IpNet]>,
    /// As whom.
    pub allowed_from: Option<&'a [String]>,
    /// In which stream.
    pub stream: Option<&'a str>,
}

/// Everything a login needs to know.
#[derive(Debug, Clone)]
pub struct SmtpCredentialAccess {
    /// The credential.
    pub credential: SmtpCredential,
    /// Keyed hash of the password; none for a network.
    pub secret_hash: Option<Vec<u8>>,
    /// Whether its organization is suspended.
    pub suspended: bool,
}

/// Makes a credential.
///
/// # Errors
/// `Conflict` when the username is taken, the name too long, or the shape does not fit the type.
pub async fn insert(executor: impl PgExecutor<'_>, organization: OrganizationId, new: NewSmtpCredential<'_>) -> Result<SmtpCredential> {
    // smtp_credentials::insert
    Ok(sqlx::query_as!(
        SmtpCredential,
        r#"insert into smtp_credential (id, organization_id, name, type, username, secret_hash, networks, allowed_from, stream)
           values ($1, $2, $3, $4, $5, $6, $7::inet[]::cidr[], $8, $9)
           returning id as "id: SmtpCredentialId", organization_id as "organization: OrganizationId", name,
                     type as "kind: SmtpCredentialType", username, networks as "networks: Vec<IpNet>", allowed_from, stream,
                     last_used_at, revoked_at, created_at"#,
        SmtpCredentialId::generate().0,
        organization.0,
        new.name,
        new.kind as SmtpCredentialType,
        new.username,
        new.secret_hash,
        new.networks as &[IpNet],
        new.allowed_from,
        new.stream
    )
    .fetch_one(executor)
    .await?)
}

/// One credential of an organization, withdrawn or not.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn find(executor: impl PgExecutor<'_>, organization: OrganizationId, id: SmtpCredentialId) -> Result<SmtpCredential> {
    // smtp_credentials::find
    Ok(sqlx::query_as!(
        SmtpCredential,
        r#"select id as "id: SmtpCredentialId", organization_id as "organization: OrganizationId", name,
                  type as "kind: SmtpCredentialType", username, networks as "networks: Vec<IpNet>", allowed_from, stream,
                  last_used_at, revoked_at, created_at
           from smtp_credential where organization_id = $1 and id = $2"#,
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?)
}

/// Up to `limit` credentials that are not withdrawn, the newest first, older than `after`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    after: Option<SmtpCredentialId>,
    limit: i64,
) -> Result<Vec<SmtpCredential>> {
    // smtp_credentials::list
    Ok(sqlx::query_as!(
        SmtpCredential,
        r#"select id as "id: SmtpCredentialId", organization_id as "organization: OrganizationId", name,
                  type as "kind: SmtpCredentialType", username, networks as "networks: Vec<IpNet>", allowed_from, stream,
                  last_used_at, revoked_at, created_at
           from smtp_credential where organization_id = $1 and revoked_at is null and ($2::uuid is null or id < $2)
           order by id desc limit $3"#,
        organization.0,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(executor)
    .await?)
}

/// Changes a credential.
///
/// # Errors
/// `NotFound` when the organization has none of this id, or it was withdrawn; `Conflict` when a network credential would lose its last network.
pub async fn update(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    id: SmtpCredentialId,
    change: SmtpCredentialChange<'_>,
) -> Result<SmtpCredential> {
    // smtp_credentials::update
    Ok(sqlx::query_as!(
        SmtpCredential,
        r#"update smtp_credential set name = coalesce($3, name), networks = coalesce($4::inet[]::cidr[], networks),
                  allowed_from = coalesce($5, allowed_from), stream = coalesce($6, stream)
           where organization_id = $1 and id = $2 and revoked_at is null
           returning id as "id: SmtpCredentialId", organization_id as "organization: OrganizationId", name,
                     type as "kind: SmtpCredentialType", username, networks as "networks: Vec<IpNet>", allowed_from, stream,
                     last_used_at, revoked_at, created_at"#,
        organization.0,
        id.0,
        change.name,
        change.networks as Option<&[IpNet]>,
        change.allowed_from,
        change.stream
    )
    .fetch_one(executor)
    .await?)
}

/// Withdraws a credential.
///
/// # Errors
/// `NotFound` when the organization has none of this id, or it was withdrawn before.
pub async fn revoke(executor: impl PgExecutor<'_>, organization: OrganizationId, id: SmtpCredentialId) -> Result<()> {
    // smtp_credentials::revoke
    let done = sqlx::query!(
        "update smtp_credential set revoked_at = now() where organization_id = $1 and id = $2 and revoked_at is null",
        organization.0,
        id.0
    )
    .execute(executor)
    .await?;
    crate::affected_one(done.rows_affected())
}

macro_rules! access {
    ($filter:literal $(, $argument:expr)*) => {
        sqlx::query!(
            r#"select c.id as "id: SmtpCredentialId", c.organization_id as "organization: OrganizationId", c.name,
                      c.type as "kind: SmtpCredentialType", c.username, c.networks as "networks: Vec<IpNet>", c.allowed_from, c.stream,
                      c.last_used_at, c.revoked_at, c.created_at, c.secret_hash, o.suspended_at is not null as "suspended!"
               from smtp_credential c join organization o on o.id = c.organization_id
               where c.revoked_at is null and "# + $filter
            $(, $argument)*
        )
        .map(|row| SmtpCredentialAccess {
            credential: SmtpCredential {
                id: row.id,
                organization: row.organization,
                name: row.name,
                kind: row.kind,
                username: row.username,
                networks: row.networks,
                allowed_from: row.allowed_from,
                stream: row.stream,
                last_used_at: row.last_used_at,
                revoked_at: row.revoked_at,
                created_at: row.created_at,
            },
            secret_hash: row.secret_hash,
            suspended: row.suspended,
        })
    };
}

/// What a login with this username needs. It takes no organization: it tells which organization speaks. Withdrawn ones are left out.
///
/// # Errors
/// When the database fails.
pub async fn access_by_username(executor: impl PgExecutor<'_>, username: &str) -> Result<Option<SmtpCredentialAccess>> {
    // smtp_credentials::access_by_username
    Ok(access!("c.username = $1 and c.type = 'password'", username)
        .fetch_optional(executor)
        .await?)
}

/// What an open session needs to know whether its credential still holds. Withdrawn ones are left out.
///
/// # Errors
/// When the database fails.
pub async fn access_by_id(executor: impl PgExecutor<'_>, id: SmtpCredentialId) -> Result<Option<SmtpCredentialAccess>> {
    // smtp_credentials::access_by_id
    Ok(access!("c.id = $1", id.0).fetch_optional(executor).await?)
}

/// Every network credential of the instance (the oldest 10,000), oldest first: a peer is admitted by its address alone.
///
/// # Errors
/// When the database fails.
pub async fn access_by_network(executor: impl PgExecutor<'_>) -> Result<Vec<SmtpCredentialAccess>> {
    // smtp_credentials::access_by_network
    Ok(access!("c.type = 'network' order by c.id limit 10000").fetch_all(executor).await?)
}

/// Notes that these credentials were used just now. Rows that somebody else is writing, or wrote within the minute, are left alone.
///
/// # Errors
/// When the database fails.
pub async fn used(executor: impl PgExecutor<'_>, ids: &[uuid::Uuid]) -> Result<()> {
    // smtp_credentials::used
    sqlx::query!(
        "update smtp_credential set last_used_at = now() where id in (
             select id from smtp_credential where id = any($1) and (last_used_at is null or last_used_at < now() - interval '50 seconds')
             order by id for update skip locked)",
        ids
    )
    .execute(executor)
    .await?;
    Ok(())
}
