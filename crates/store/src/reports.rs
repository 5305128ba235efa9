//! Reports owed to SMTP senders about recipients that failed (RFC 3464).
//!
//! The debt is written with the failure (see [`crate::queue::finish`]) and taken in the transaction that stores the report, so that
//! there is exactly one report per failure whoever dies when. What a report says is not decided here.

use crate::{
    Result,
    ids::{MessageId, OrganizationId},
    models::DeliveryStatus,
};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

/// A message that failed for some of its recipients.
#[derive(Debug, Clone)]
pub struct Owed {
    /// The message.
    pub message: MessageId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// Whom to tell.
    pub envelope_sender: String,
    /// RFC 3461 ENVID.
    pub envelope_id: Option<String>,
    /// RFC 3461 RET=HDRS.
    pub headers_only: bool,
    /// Its stream.
    pub stream: String,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// The alias it came for: where it went from there is nobody's business.
    pub forwarded_for: Option<String>,
    /// The recipients to name.
    pub failures: Vec<Failure>,
}

/// One failed recipient.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its number within the message.
    pub number: i32,
    /// The address.
    pub recipient: String,
    /// RFC 3461 ORCPT, decoded.
    pub original_recipient: Option<String>,
    /// How it ended.
    pub status: DeliveryStatus,
    /// RFC 3463 code.
    pub enhanced_code: Option<String>,
    /// The reply or our reason.
    pub reason: Option<String>,
    /// When.
    pub finished_at: Option<DateTime<Utc>>,
}

/// The messages whose report may go out now: nothing of them is in its first attempt any more, so that failures that come
/// together are told together, or the first failure is five minutes old.
///
/// # Errors
/// When the database is out of reach.
pub async fn ready(pool: &PgPool, limit: i64) -> Result<Vec<(OrganizationId, MessageId)>> {
    // reports::ready
    let rows = sqlx::query!(
        "select r.organization_id, r.message_id from report_owed r
         where r.since < now() - interval '5 minutes'
            or not exists (select from queue q where q.message_id = r.message_id and (q.attempts = 0 or q.worker_id is not null))
         order by r.since limit $1",
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (OrganizationId(row.organization_id), MessageId(row.message_id)))
        .collect())
}

/// Takes the debt of one message inside the caller's transaction and gives what is to be told. `None`: somebody else took it.
///
/// # Errors
/// When the database is out of reach.
pub async fn take(connection: &mut PgConnection, organization: OrganizationId, message: MessageId) -> Result<Option<Owed>> {
    // reports::take
    let taken = sqlx::query!(
        "delete from report_owed where message_id = $1 and organization_id = $2",
        message.0,
        organization.0
    )
    .execute(&mut *connection)
    .await?;
    if taken.rows_affected() == 0 {
        return Ok(None);
    }
    let Some(row) = sqlx::query!(
        r#"select envelope_sender, dsn_envid, dsn_headers_only, stream, created_at, original_recipient, direction = 'forward' as "forwarded!",
             via = 'internal' or coalesce(verdicts->'spf'->>'result' = 'pass', false) as "vouched!"
           from message where organization_id = $1 and id = $2"#,
        organization.0,
        message.0
    )
    .fetch_optional(&mut *connection)
    .await?
    else {
        return Ok(None);
    };
    // What came in under a sender that SPF does not vouch for is not answered: the report would hit whoever was forged (backscatter).
    // What came from this instance has a return path of ours, so that the report finds its way back to the author step by step.
    if row.forwarded && !row.vouched {
        return Ok(None);
    }
    // NOTIFY bits: 1 never, 4 failure. Absent means the default: failures are reported.
    let failures = sqlx::query!(
        r#"update delivery set reported_at = now()
           where message_id = $1 and organization_id = $2 and reported_at is null and status in ('bounced', 'failed', 'expired')
             and (dsn_notify is null or dsn_notify & 4 <> 0)
           returning number, recipient, dsn_orcpt, status as "status: DeliveryStatus", enhanced_code, reason, finished_at"#,
        message.0,
        organization.0
    )
    .fetch_all(connection)
    .await?;
    if failures.is_empty() {
        return Ok(None);
    }
    Ok(Some(Owed {
        message,
        organization,
        envelope_sender: row.envelope_sender,
        envelope_id: row.dsn_envid,
        headers_only: row.dsn_headers_only,
        stream: row.stream,
        created_at: row.created_at,
        forwarded_for: row.original_recipient.filter(|_| row.forwarded),
        failures: failures
            .into_iter()
            .map(|f| Failure {
                number: f.number,
                recipient: f.recipient,
                original_recipient: f.dsn_orcpt,
                status: f.status,
                enhanced_code: f.enhanced_code,
                reason: f.reason,
                finished_at: f.finished_at,
            })
            .collect(),
    }))
}
