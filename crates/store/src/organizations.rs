//! Tenants.
//!
//! Creating one together with its first person is `users::create_with_organization`; what a suspension means is decided by the callers
//! that read it (auth refuses temporarily). Nothing here deletes an organization.

use crate::{Result, ids::OrganizationId};
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// What its people call it; not unique.
    pub name: String,
    /// Set while its keys and credentials are refused, temporarily.
    pub suspended_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Makes an organization.
///
/// # Errors
/// `Conflict` when the name is empty or longer than 200 characters.
pub async fn insert(executor: impl PgExecutor<'_>, id: OrganizationId, name: &str) -> Result<Organization> {
    // organizations::insert
    Ok(sqlx::query_as!(
        Organization,
        r#"insert into organization (id, name) values ($1, $2)
           returning id as "id: OrganizationId", name, suspended_at, created_at"#,
        id.0,
        name
    )
    .fetch_one(executor)
    .await?)
}

/// The organization in whose name the instance itself writes. It has no members: nobody reads through the API what it sends, such as the
/// tokens that confirm a mailbox.
pub const INSTANCE: OrganizationId = OrganizationId(uuid::Uuid::nil());

/// Makes [`INSTANCE`], unless it is there.
///
/// # Errors
/// When the database fails.
pub async fn ensure_instance(executor: impl PgExecutor<'_>) -> Result<()> {
    // organizations::ensure_instance
    sqlx::query!(
        "insert into organization (id, name) values ($1, 'This instance') on conflict do nothing",
        INSTANCE.0
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// The organization of this id.
///
/// # Errors
/// `NotFound` when there is none.
pub async fn find(executor: impl PgExecutor<'_>, id: OrganizationId) -> Result<Organization> {
    // organizations::find
    Ok(sqlx::query_as!(
        Organization,
        r#"select id as "id: OrganizationId", name, suspended_at, created_at from organization where id = $1"#,
        id.0
    )
    .fetch_one(executor)
    .await?)
}

/// The organizations of this name, oldest first: an operator names one on the command line.
///
/// # Errors
/// When the database fails.
pub async fn named(executor: impl PgExecutor<'_>, name: &str) -> Result<Vec<Organization>> {
    // organizations::named
    Ok(sqlx::query_as!(
        Organization,
        r#"select id as "id: OrganizationId", name, suspended_at, created_at from organization where name = $1 order by id limit 100"#,
        name
    )
    .fetch_all(executor)
    .await?)
}

/// Up to `limit` organizations after `after`, oldest first. Only for an operator of the instance.
///
/// # Errors
/// When the database fails.
pub async fn list(executor: impl PgExecutor<'_>, after: Option<OrganizationId>, limit: i64) -> Result<Vec<Organization>> {
    // organizations::list
    Ok(sqlx::query_as!(
        Organization,
        r#"select id as "id: OrganizationId", name, suspended_at, created_at from organization
           where $1::uuid is null or id > $1 order by id limit $2"#,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(executor)
    .await?)
}

/// Suspends (`true`) or readmits an organization. Suspending again keeps the first moment.
///
/// # Errors
/// `NotFound` when there is none.
pub async fn set_suspended(executor: impl PgExecutor<'_>, id: OrganizationId, suspended: bool) -> Result<()> {
    // organizations::set_suspended
    let done = sqlx::query!(
        "update organization set suspended_at = case when $2 then coalesce(suspended_at, now()) end where id = $1",
        id.0,
        suspended
    )
    .execute(executor)
    .await?;
    crate::affected_one(done.rows_affected())
}
