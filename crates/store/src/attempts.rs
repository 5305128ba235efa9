//! Reading the tries of a message. They are written with their outcome, by [`crate::queue`].

use crate::{
    Result,
    ids::{AttemptId, MessageId, OrganizationId},
    models::AttemptOutcome,
};
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// One try of one transaction; recipients with the same answer share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its id; ids sort by time.
    pub id: AttemptId,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i32,
    /// The name of the server that was dialled.
    pub host: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// TLS version and cipher suite; none: in clear.
    pub tls: Option<String>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The deciding reply's code.
    pub code: Option<i16>,
    /// The deciding reply's enhanced code.
    pub enhanced_code: Option<String>,
    /// The deciding reply's text.
    pub response: Option<String>,
    /// Whom it was for.
    pub recipients: Vec<String>,
    /// The conversation.
    pub transcript: String,
}

/// The tries of one message, oldest first, after `after`.
///
/// # Errors
/// When the database fails. An unknown message has none.
pub async fn of_message(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    message: MessageId,
    after: Option<AttemptId>,
    limit: i64,
) -> Result<Vec<Attempt>> {
    // attempts::of_message
    Ok(sqlx::query_as!(
        Attempt,
        r#"select id as "id: AttemptId", started_at, duration_ms, host, address, tls, outcome as "outcome: AttemptOutcome", code,
                  enhanced_code, response, recipients, transcript
           from attempt where organization_id = $1 and message_id = $2 and ($3::uuid is null or id > $3) order by id limit $4"#,
        organization.0,
        message.0,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(executor)
    .await?)
}
