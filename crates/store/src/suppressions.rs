//! Addresses an organization must not write to.
//!
//! Acceptance reads the table itself; here are the calls by which a customer sees and changes it. Addresses arrive folded
//! (lower-cased, `mail::Address::folded`). Each change writes its event in the same transaction.

use crate::{
    Error, Result, events,
    events::NewEvent,
    ids::{MessageId, OrganizationId, SuppressionId},
    models::SuppressionReason,
};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, Postgres, QueryBuilder};

/// A suppressed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Its id.
    pub id: SuppressionId,
    /// Folded.
    pub address: String,
    /// Why.
    pub reason: SuppressionReason,
    /// The message that taught us.
    pub message: Option<MessageId>,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// Which suppressions a list holds.
#[derive(Debug, Clone, Default)]
pub struct SuppressionFilter {
    /// Only for this reason.
    pub reason: Option<SuppressionReason>,
    /// Only addresses that contain this.
    pub containing: Option<String>,
}

/// Suppresses an address. Call it inside a transaction: two statements.
///
/// # Errors
/// `Conflict("suppression_pkey")` when it is suppressed already.
pub async fn insert(connection: &mut PgConnection, organization: OrganizationId, address: &str) -> Result<Suppression> {
    // suppressions::insert
    let made = sqlx::query_as!(
        Suppression,
        r#"insert into suppression (id, organization_id, address, reason) values ($1, $2, $3, 'manual')
           returning id as "id: SuppressionId", address, reason as "reason: SuppressionReason", message_id as "message: MessageId", created_at"#,
        SuppressionId::generate().0,
        organization.0,
        address
    )
    .fetch_one(&mut *connection)
    .await?;
    let event = NewEvent {
        kind: "suppression.created",
        message: None,
        recipient: Some(&made.address),
        data: serde_json::json!({ "suppression": made.id, "reason": made.reason }),
    };
    events::insert(connection, organization, event).await?;
    Ok(made)
}

/// One suppression.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn find(executor: impl PgExecutor<'_>, organization: OrganizationId, id: SuppressionId) -> Result<Suppression> {
    // suppressions::find
    Ok(sqlx::query_as!(
        Suppression,
        r#"select id as "id: SuppressionId", address, reason as "reason: SuppressionReason", message_id as "message: MessageId", created_at
           from suppression where organization_id = $1 and id = $2"#,
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?)
}

/// Up to `limit` suppressions, the newest first, older than `after`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    filter: &SuppressionFilter,
    after: Option<SuppressionId>,
    limit: i64,
) -> Result<Vec<Suppression>> {
    // suppressions::list
    let mut query =
        QueryBuilder::<Postgres>::new("select id, address, reason, message_id, created_at from suppression where organization_id = ");
    query.push_bind(organization.0);
    if let Some(after) = after {
        query.push(" and id < ").push_bind(after.0);
    }
    if let Some(reason) = filter.reason {
        query.push(" and reason = ").push_bind(reason);
    }
    if let Some(part) = &filter.containing {
        query.push(" and position(lower(").push_bind(part.clone()).push(") in address) > 0");
    }
    query.push(" order by id desc limit ").push_bind(limit);
    let rows: Vec<Row> = query.build_query_as().fetch_all(executor).await?;
    Ok(rows.into_iter().map(Suppression::from).collect())
}

/// Which suppression is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// That of this id.
    Id(SuppressionId),
    /// That of this folded address.
    Address(String),
}

/// Lets an address be written to again. Call it inside a transaction: two statements.
///
/// # Errors
/// `NotFound` when it is not suppressed in this organization.
pub async fn delete(connection: &mut PgConnection, organization: OrganizationId, which: &Which) -> Result<()> {
    let (id, address) = match which {
        Which::Id(id) => (Some(id.0), None),
        Which::Address(address) => (None, Some(address.as_str())),
    };
    // suppressions::delete
    let gone = sqlx::query!(
        r#"delete from suppression where organization_id = $1 and (id = $2 or address = $3)
           returning id as "id: SuppressionId", address"#,
        organization.0,
        id,
        address
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(Error::NotFound)?;
    let event = NewEvent {
        kind: "suppression.deleted",
        message: None,
        recipient: Some(&gone.address),
        data: serde_json::json!({ "suppression": gone.id }),
    };
    events::insert(connection, organization, event).await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: SuppressionId,
    address: String,
    reason: SuppressionReason,
    message_id: Option<MessageId>,
    created_at: DateTime<Utc>,
}

impl From<Row> for Suppression {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            address: row.address,
            reason: row.reason,
            message: row.message_id,
            created_at: row.created_at,
        }
    }
}
