//! What happened: append-only rows that feed timelines and webhooks.
//!
//! An event is written in the transaction that causes it. Nothing here changes or deletes one.

use crate::{
    Result,
    ids::{EventId, MessageId, OrganizationId},
};
use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, Postgres, QueryBuilder};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id; ids sort by time.
    pub id: EventId,
    /// What happened, such as `message.delivered`.
    pub kind: String,
    /// The message it is about.
    pub message: Option<MessageId>,
    /// The recipient it is about.
    pub recipient: Option<String>,
    /// More, depending on the type.
    pub data: serde_json::Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// What is to be noted.
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    /// What happened, such as `domain.verified`.
    pub kind: &'a str,
    /// The message it is about.
    pub message: Option<MessageId>,
    /// The recipient it is about.
    pub recipient: Option<&'a str>,
    /// More, depending on the type.
    pub data: serde_json::Value,
}

/// Which events a list holds; empty fields leave the choice open.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only of these types.
    pub kinds: Vec<String>,
    /// Only about this message.
    pub message: Option<MessageId>,
    /// Only about this recipient.
    pub recipient: Option<String>,
    /// Not before.
    pub since: Option<DateTime<Utc>>,
    /// Before.
    pub until: Option<DateTime<Utc>>,
}

/// Notes an event.
///
/// # Errors
/// When the database fails.
pub async fn insert(executor: impl PgExecutor<'_>, organization: OrganizationId, event: NewEvent<'_>) -> Result<EventId> {
    // events::insert
    let id = EventId::generate();
    sqlx::query!(
        "insert into event (organization_id, id, type, message_id, recipient, data) values ($1, $2, $3, $4, $5, $6)",
        organization.0,
        id.0,
        event.kind,
        event.message.map(|message| message.0),
        event.recipient,
        event.data
    )
    .execute(executor)
    .await?;
    Ok(id)
}

/// The timeline of one message, oldest first, after `after`.
///
/// # Errors
/// When the database fails. An unknown message has no events.
pub async fn of_message(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    message: MessageId,
    after: Option<EventId>,
    limit: i64,
) -> Result<Vec<Event>> {
    // events::of_message
    Ok(sqlx::query_as!(
        Event,
        r#"select id as "id: EventId", type as kind, message_id as "message: MessageId", recipient, data, at from event
           where organization_id = $1 and message_id = $2 and ($3::uuid is null or id > $3) order by id limit $4"#,
        organization.0,
        message.0,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(executor)
    .await?)
}

/// An organization's history, newest first, older than `after`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    filter: &EventFilter,
    after: Option<EventId>,
    limit: i64,
) -> Result<Vec<Event>> {
    // events::list
    let mut query = QueryBuilder::<Postgres>::new("select id, type, message_id, recipient, data, at from event where organization_id = ");
    query.push_bind(organization.0);
    if let Some(after) = after {
        query.push(" and id < ").push_bind(after.0);
    }
    if !filter.kinds.is_empty() {
        query.push(" and type = any(").push_bind(filter.kinds.clone()).push(")");
    }
    if let Some(message) = filter.message {
        query.push(" and message_id = ").push_bind(message.0);
    }
    if let Some(recipient) = &filter.recipient {
        query.push(" and lower(recipient) = lower(").push_bind(recipient.clone()).push(")");
    }
    if let Some(since) = filter.since {
        query.push(" and at >= ").push_bind(since);
    }
    if let Some(until) = filter.until {
        query.push(" and at < ").push_bind(until);
    }
    query.push(" order by id desc limit ").push_bind(limit);
    let rows: Vec<Row> = query.build_query_as().fetch_all(executor).await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: EventId,
    #[sqlx(rename = "type")]
    kind: String,
    message_id: Option<MessageId>,
    recipient: Option<String>,
    data: serde_json::Value,
    at: DateTime<Utc>,
}

impl From<Row> for Event {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            message: row.message_id,
            recipient: row.recipient,
            data: row.data,
            at: row.at,
        }
    }
}
