//! Domains, and what the last check of their DNS records found.
//!
//! Which records a domain wants is worked out elsewhere (`dns::records`); here the results are kept and the domain's status follows
//! from them: *active* once ownership and signing key are seen, *failing* when a required record of an active domain is gone.
//! A name is proved by one organization at a time; the first keeps it.

mod checks;

use crate::{
    Result, events,
    events::NewEvent,
    ids::{DomainId, OrganizationId},
    models::DomainStatus,
};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

pub use checks::{CheckedRecord, Checks, FAILING_AFTER, Occasion, RecordState, due_for_check, records, save_check};

/// The constraint that refuses a second organization's proof of one name.
pub const VERIFIED_NAME: &str = "domain_verified_name_key";

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its id.
    pub id: DomainId,
    /// Whose.
    pub organization: OrganizationId,
    /// A-labels, lower case.
    pub name: String,
    /// Whether it may be used.
    pub status: DomainStatus,
    /// To be published in a TXT record.
    pub ownership_token: String,
    /// When ownership was first proved.
    pub verified_at: Option<DateTime<Utc>>,
    /// `<label>.<name>` takes bounces.
    pub return_path_label: String,
    /// Whether what leaves for it is signed.
    pub sign: bool,
    /// Since when a required record has been gone.
    pub failing_since: Option<DateTime<Utc>>,
    /// The last check.
    pub last_checked_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What may be changed of a domain; `None` leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct DomainChange<'a> {
    /// Whether what leaves for it is signed.
    pub sign: Option<bool>,
    /// Where bounces come in.
    pub return_path_label: Option<&'a str>,
}

/// Which domains a list holds; `None` and empty leave the choice open.
#[derive(Debug, Clone, Copy, Default)]
pub struct DomainFilter<'a> {
    /// Only the one of this name.
    pub name: Option<&'a str>,
    /// Only of this status.
    pub status: Option<DomainStatus>,
    /// Only of these names.
    pub within: &'a [String],
}

/// Claims a name for an organization: pending until proved. Call it inside a transaction: two statements.
///
/// # Errors
/// `Conflict("domain_name_in_organization_key")` when the organization has it already.
pub async fn insert(connection: &mut PgConnection, organization: OrganizationId, name: &str, ownership_token: &str) -> Result<Domain> {
    // domains::insert
    let made = sqlx::query_as!(
        Domain,
        r#"insert into domain (id, organization_id, name, ownership_token) values ($1, $2, $3, $4)
           returning id as "id: DomainId", organization_id as "organization: OrganizationId", name, status as "status: DomainStatus",
                     ownership_token, verified_at, return_path_label, sign, failing_since, last_checked_at, created_at"#,
        DomainId::generate().0,
        organization.0,
        name,
        ownership_token
    )
    .fetch_one(&mut *connection)
    .await?;
    note(connection, &made, "domain.created").await?;
    Ok(made)
}

/// Whether another organization has proved this name. It takes no organization's rows out: only the fact.
///
/// # Errors
/// When the database fails.
pub async fn proved_by_another(executor: impl PgExecutor<'_>, organization: OrganizationId, name: &str) -> Result<bool> {
    // domains::proved_by_another
    Ok(sqlx::query_scalar!(
        r#"select exists (select from domain where name = $2 and verified_at is not null and organization_id <> $1) as "taken!""#,
        organization.0,
        name
    )
    .fetch_one(executor)
    .await?)
}

/// One domain.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn find(executor: impl PgExecutor<'_>, organization: OrganizationId, id: DomainId) -> Result<Domain> {
    // domains::find
    Ok(sqlx::query_as!(
        Domain,
        r#"select id as "id: DomainId", organization_id as "organization: OrganizationId", name, status as "status: DomainStatus",
                  ownership_token, verified_at, return_path_label, sign, failing_since, last_checked_at, created_at
           from domain where organization_id = $1 and id = $2"#,
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?)
}

/// The names of those of these domains that the organization has.
///
/// # Errors
/// When the database fails.
pub async fn names(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    ids: &[DomainId],
) -> Result<std::collections::HashMap<DomainId, String>> {
    let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.0).collect();
    // domains::names
    let rows = sqlx::query!(
        r#"select id as "id: DomainId", name from domain where organization_id = $1 and id = any($2)"#,
        organization.0,
        &ids
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// Up to `limit` domains, the newest first, older than `after`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    filter: DomainFilter<'_>,
    after: Option<DomainId>,
    limit: i64,
) -> Result<Vec<Domain>> {
    // domains::list
    Ok(sqlx::query_as!(
        Domain,
        r#"select id as "id: DomainId", organization_id as "organization: OrganizationId", name, status as "status: DomainStatus",
                  ownership_token, verified_at, return_path_label, sign, failing_since, last_checked_at, created_at
           from domain
           where organization_id = $1 and ($2::text is null or name = $2) and ($3::domain_status is null or status = $3)
             and (cardinality($4::text[]) = 0 or name = any($4)) and ($5::uuid is null or id < $5)
           order by id desc limit $6"#,
        organization.0,
        filter.name,
        filter.status as Option<DomainStatus>,
        filter.within,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(executor)
    .await?)
}

/// Changes a domain.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn update(executor: impl PgExecutor<'_>, organization: OrganizationId, id: DomainId, change: DomainChange<'_>) -> Result<Domain> {
    // domains::update
    Ok(sqlx::query_as!(
        Domain,
        r#"update domain set sign = coalesce($3, sign), return_path_label = coalesce($4, return_path_label)
           where organization_id = $1 and id = $2
           returning id as "id: DomainId", organization_id as "organization: OrganizationId", name, status as "status: DomainStatus",
                     ownership_token, verified_at, return_path_label, sign, failing_since, last_checked_at, created_at"#,
        organization.0,
        id.0,
        change.sign,
        change.return_path_label
    )
    .fetch_one(executor)
    .await?)
}

/// Gives a domain up, with its keys. Call it inside a transaction: two statements.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn delete(connection: &mut PgConnection, organization: OrganizationId, id: DomainId) -> Result<()> {
    // domains::delete
    let gone = sqlx::query_as!(
        Domain,
        r#"delete from domain where organization_id = $1 and id = $2
           returning id as "id: DomainId", organization_id as "organization: OrganizationId", name, status as "status: DomainStatus",
                     ownership_token, verified_at, return_path_label, sign, failing_since, last_checked_at, created_at"#,
        organization.0,
        id.0
    )
    .fetch_one(&mut *connection)
    .await?;
    note(connection, &gone, "domain.deleted").await
}

/// Writes an event about a domain.
async fn note(connection: &mut PgConnection, domain: &Domain, kind: &str) -> Result<()> {
    let event = NewEvent {
        kind,
        message: None,
        recipient: None,
        data: serde_json::json!({ "domain": domain.id, "name": domain.name }),
    };
    events::insert(connection, domain.organization, event).await?;
    Ok(())
}
