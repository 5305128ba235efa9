//! A message as the API shows it.

use crate::{ApiError, app::App};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::HashMap;
use store::{
    ids::{DomainId, MessageId, OrganizationId},
    messages::{self, RecipientState, StatusCount},
    models::{DeliveryStatus, Direction, RecipientKind, Via},
};
use utoipa::ToSchema;

/// Recipients shown of each message of a list.
const LISTED_RECIPIENTS: i32 = 20;

/// A message.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Message {
    /// Its id.
    #[schema(value_type = String)]
    id: MessageId,
    /// `outbound`, `inbound`, `forward`, `reply` or `bounce`.
    #[schema(value_type = String)]
    direction: Direction,
    /// `smtp`, `api` or `internal`.
    #[schema(value_type = String)]
    via: Via,
    /// The status that all recipients share, or `mixed`.
    status: String,
    /// The From field.
    from: String,
    /// The envelope's sender as given; empty: none.
    envelope_sender: String,
    /// The subject.
    subject: String,
    /// The Message-ID field.
    message_id: String,
    /// Octets.
    size_bytes: i32,
    /// Its stream.
    stream: String,
    /// The domain it is sent as.
    #[schema(value_type = Option<String>)]
    domain: Option<DomainId>,
    /// The message it reports on or continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    parent: Option<MessageId>,
    /// Its labels.
    tags: Vec<String>,
    /// Your own data.
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
    /// What the checks of an incoming message said.
    auth: Authentication,
    /// How many recipients it has.
    recipient_count: i64,
    /// Its recipients; the first 20 in lists.
    recipients: Vec<MessageRecipient>,
    /// When it was accepted.
    created_at: DateTime<Utc>,
    /// Given up after then.
    expires_at: DateTime<Utc>,
}

/// What the checks of an incoming message said; null: not checked.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Authentication {
    /// SPF.
    spf: Option<String>,
    /// DKIM.
    dkim: Option<String>,
    /// DMARC.
    dmarc: Option<String>,
}

/// Where one recipient stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessageRecipient {
    /// The address.
    address: String,
    /// `to`, `cc`, `bcc` or `envelope`.
    #[schema(value_type = String)]
    kind: RecipientKind,
    /// Where it stands.
    #[schema(value_type = String)]
    status: DeliveryStatus,
    /// The last enhanced code (RFC 3463).
    #[serde(skip_serializing_if = "Option::is_none")]
    enhanced_code: Option<String>,
    /// The last reply, or our reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Tries so far.
    attempts: i32,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<DateTime<Utc>>,
    /// When the next server took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<DateTime<Utc>>,
}

impl From<RecipientState> for MessageRecipient {
    fn from(row: RecipientState) -> Self {
        let delivered = matches!(row.status, DeliveryStatus::Delivered | DeliveryStatus::Complained);
        Self {
            address: row.address,
            kind: row.kind,
            status: row.status,
            enhanced_code: row.enhanced_code,
            reason: row.reason,
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at,
            delivered_at: row.finished_at.filter(|_| delivered),
        }
    }
}

/// One message with all its recipients.
pub(super) async fn whole(app: &App, organization: OrganizationId, id: MessageId) -> Result<Message, ApiError> {
    let message = messages::find(&app.pool, organization, id).await?;
    let mut shown = several(app, organization, vec![message], i32::MAX).await?;
    shown.pop().ok_or_else(ApiError::not_found)
}

/// The messages of a page.
pub(super) async fn listed(app: &App, organization: OrganizationId, rows: Vec<messages::Message>) -> Result<Vec<Message>, ApiError> {
    several(app, organization, rows, LISTED_RECIPIENTS).await
}

async fn several(app: &App, organization: OrganizationId, rows: Vec<messages::Message>, each: i32) -> Result<Vec<Message>, ApiError> {
    let ids: Vec<MessageId> = rows.iter().map(|row| row.id).collect();
    let mut recipients: HashMap<MessageId, Vec<MessageRecipient>> = HashMap::new();
    for row in messages::recipients(&app.pool, organization, &ids, each).await? {
        recipients.entry(row.message).or_default().push(row.into());
    }
    let mut counts: HashMap<MessageId, Vec<StatusCount>> = HashMap::new();
    for count in messages::status_counts(&app.pool, organization, &ids).await? {
        counts.entry(count.message).or_default().push(count);
    }
    let shown = rows.into_iter().map(|row| {
        let counts = counts.remove(&row.id).unwrap_or_default();
        let recipients = recipients.remove(&row.id).unwrap_or_default();
        shown(row, &counts, recipients)
    });
    Ok(shown.collect())
}

fn shown(row: messages::Message, counts: &[StatusCount], recipients: Vec<MessageRecipient>) -> Message {
    let status = match counts {
        [only] => only.status.as_str(),
        _ => "mixed",
    };
    Message {
        id: row.id,
        direction: row.direction,
        via: row.via,
        status: status.to_owned(),
        from: row.header_from,
        envelope_sender: row.envelope_sender,
        subject: row.subject,
        message_id: row.message_id_header,
        size_bytes: row.size_bytes,
        stream: row.stream,
        domain: row.domain,
        parent: row.parent,
        tags: row.tags,
        metadata: row.metadata,
        auth: Authentication::default(),
        recipient_count: counts.iter().map(|count| count.recipients).sum(),
        recipients,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}
