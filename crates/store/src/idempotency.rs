//! Answers kept for repeated requests.
//!
//! A record is written in the transaction whose effect it answers, so that either both are there or neither. Sends write theirs in
//! [`crate::acceptance`]. Records count for [`KEPT_HOURS`]; an older one is as good as none.

use crate::{Result, ids::OrganizationId};
use sqlx::{PgConnection, PgExecutor};

/// How long a record counts.
pub const KEPT_HOURS: i64 = 24;

/// A kept answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// SHA-256 of the request it answered.
    pub request_hash: Vec<u8>,
    /// The HTTP status; none while the work has not been answered.
    pub status: Option<i16>,
    /// The answer.
    pub response: Option<serde_json::Value>,
}

/// What names a record within an organization.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a> {
    /// Method and path.
    pub route: &'a str,
    /// The client's key.
    pub key: &'a str,
}

/// Takes the name for the rest of the transaction; `false`: another transaction is working under it.
///
/// # Errors
/// When the database fails.
pub async fn try_lock(connection: &mut PgConnection, organization: OrganizationId, name: Name<'_>) -> Result<bool> {
    // idempotency::try_lock
    let locked = sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtextextended($1::uuid::text || $2 || chr(10) || $3, 7311)) as "locked!""#,
        organization.0,
        name.route,
        name.key
    )
    .fetch_one(connection)
    .await?;
    Ok(locked)
}

/// The record of this name, if it still counts.
///
/// # Errors
/// When the database fails.
pub async fn find(executor: impl PgExecutor<'_>, organization: OrganizationId, name: Name<'_>) -> Result<Option<Record>> {
    // idempotency::find
    Ok(sqlx::query_as!(
        Record,
        "select request_hash, status, response from idempotency_record
         where organization_id = $1 and route = $2 and key = $3 and created_at > now() - make_interval(hours => $4::int)",
        organization.0,
        name.route,
        name.key,
        KEPT_HOURS as i32
    )
    .fetch_optional(executor)
    .await?)
}

/// Keeps an answer, in place of one that no longer counts.
///
/// # Errors
/// `Conflict` when the key is longer than 256 characters.
pub async fn insert(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    name: Name<'_>,
    request_hash: &[u8],
    status: i16,
    response: &serde_json::Value,
) -> Result<()> {
    // idempotency::insert
    sqlx::query!(
        "insert into idempotency_record (organization_id, route, key, request_hash, status, response) values ($1, $2, $3, $4, $5, $6)
         on conflict (organization_id, route, key) do update set request_hash = excluded.request_hash, status = excluded.status,
             response = excluded.response, message_id = null, created_at = now()",
        organization.0,
        name.route,
        name.key,
        request_hash,
        status,
        response
    )
    .execute(executor)
    .await?;
    Ok(())
}
