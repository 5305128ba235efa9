//! Reading messages and their recipients' states, and what a customer may do to one that is not finished.
//!
//! Messages are written by [`crate::acceptance`], their outcomes by [`crate::queue`]. An action takes only deliveries that no worker holds: an
//! attempt in progress runs to its end.

mod actions;
mod list;

use crate::{
    Result,
    ids::{DomainId, MessageId, OrganizationId},
    models::{DeliveryStatus, Direction, RecipientKind, Via},
};
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

pub use actions::{cancel, hold, release, reschedule, retry};
pub use list::{MessageFilter, StatusFilter, list};

/// The host that attempts name when a message went into the built-in mailbox instead of to a server.
pub const CAPTURE_HOST: &str = "capture";

/// A message, without its body and its recipients.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Message {
    /// Its id; ids sort by time.
    pub id: MessageId,
    /// Which way it goes.
    pub direction: Direction,
    /// By which door it came.
    pub via: Via,
    /// The domain it is sent as.
    #[sqlx(rename = "domain_id")]
    pub domain: Option<DomainId>,
    /// The message it reports on or continues.
    #[sqlx(rename = "parent_id")]
    pub parent: Option<MessageId>,
    /// Empty: the null reverse-path.
    pub envelope_sender: String,
    /// The From field, decoded.
    pub header_from: String,
    /// The Subject field, decoded.
    pub subject: String,
    /// The Message-ID field.
    pub message_id_header: String,
    /// Octets.
    pub size_bytes: i32,
    /// Its stream.
    pub stream: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The caller's JSON object.
    pub metadata: serde_json::Value,
    /// Given up after then.
    pub expires_at: DateTime<Utc>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
}

/// Where one recipient of a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientState {
    /// The message.
    pub message: MessageId,
    /// Its number within the message.
    pub number: i32,
    /// As dialled.
    pub address: String,
    /// How it was named.
    pub kind: RecipientKind,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Tries so far.
    pub attempts: i32,
    /// The last enhanced code.
    pub enhanced_code: Option<String>,
    /// The last reply or reason.
    pub reason: Option<String>,
    /// When it is tried next; none when finished, held or being tried.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub finished_at: Option<DateTime<Utc>>,
}

/// How many recipients of a message are in which status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCount {
    /// The message.
    pub message: MessageId,
    /// The status.
    pub status: DeliveryStatus,
    /// How many.
    pub recipients: i64,
}

/// One message.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn find(executor: impl PgExecutor<'_>, organization: OrganizationId, id: MessageId) -> Result<Message> {
    // messages::find
    Ok(sqlx::query_as!(
        Message,
        r#"select id as "id: MessageId", direction as "direction: Direction", via as "via: Via", domain_id as "domain: DomainId",
                  parent_id as "parent: MessageId", envelope_sender, header_from, subject, message_id_header, size_bytes, stream, tags,
                  metadata, expires_at, created_at
           from message where organization_id = $1 and id = $2"#,
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?)
}

/// The first `each` recipients of these messages, in order.
///
/// # Errors
/// When the database fails.
pub async fn recipients(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    messages: &[MessageId],
    each: i32,
) -> Result<Vec<RecipientState>> {
    // messages::recipients
    Ok(sqlx::query_as!(
        RecipientState,
        r#"select d.message_id as "message: MessageId", d.number, d.recipient as address, d.kind as "kind: RecipientKind",
                  d.status as "status: DeliveryStatus", d.attempts, d.enhanced_code, d.reason, d.finished_at,
                  case when not q.held and q.worker_id is null then q.due_at end as next_attempt_at
           from delivery d left join queue q on q.message_id = d.message_id and q.number = d.number
           where d.organization_id = $1 and d.message_id = any($2) and d.number < $3 order by d.message_id, d.number"#,
        organization.0,
        &messages.iter().map(|id| id.0).collect::<Vec<_>>(),
        each
    )
    .fetch_all(executor)
    .await?)
}

/// How the recipients of these messages are spread over the statuses.
///
/// # Errors
/// When the database fails.
pub async fn status_counts(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    messages: &[MessageId],
) -> Result<Vec<StatusCount>> {
    // messages::status_counts
    Ok(sqlx::query_as!(
        StatusCount,
        r#"select message_id as "message: MessageId", status as "status: DeliveryStatus", count(*) as "recipients!"
           from delivery where organization_id = $1 and message_id = any($2) group by message_id, status"#,
        organization.0,
        &messages.iter().map(|id| id.0).collect::<Vec<_>>()
    )
    .fetch_all(executor)
    .await?)
}

/// The raw message.
///
/// # Errors
/// `NotFound` when the organization has none of this id, or its body is no longer kept.
pub async fn content(executor: impl PgExecutor<'_>, organization: OrganizationId, id: MessageId) -> Result<Vec<u8>> {
    // messages::content
    Ok(sqlx::query_scalar!(
        "select c.raw from content c join message m on m.id = c.message_id where m.organization_id = $1 and m.id = $2",
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?)
}
