//! What came back: bounces and complaints, recorded against the deliveries they name.

use crate::{Result, ids::MessageId, models::DeliveryStatus};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// What a bounce says of one recipient.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The addresses it names, lower-cased; empty or unknown ones mean the transaction's only recipient.
    pub recipients: Vec<String>,
    /// What happened.
    pub kind: FindingKind,
    /// RFC 3463 code.
    pub enhanced_code: Option<String>,
    /// Diagnostic text.
    pub reason: Option<String>,
    /// The address must not be written to again.
    pub suppress: bool,
}

/// What happened to the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// Refused for good.
    Failure,
    /// Not yet delivered, still being tried.
    Delay,
    /// Its reader complained.
    Complaint,
}

/// Whether a return path still has something to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// No such transaction.
    Unknown,
    /// Some of its deliveries may still bounce.
    Open,
    /// A worker is just writing down what became of one of them: a bounce that is this quick must come again.
    Busy,
    /// Every one of them is known to have failed.
    Settled,
}

/// Where the deliveries of one transaction stand. The return path is its own proof of belonging, so no organization is asked for.
///
/// # Errors
/// When the database is out of reach.
pub async fn standing(pool: &PgPool, message: MessageId, destination: i16) -> Result<Known> {
    // bounces::standing
    let row = sqlx::query!(
        r#"select count(*) as "known!", count(*) filter (where d.status not in ('bounced', 'complained')) as "open!",
             count(q.worker_id) as "claimed!"
           from delivery d left join queue q on q.message_id = d.message_id and q.number = d.number
           where d.message_id = $1 and d.destination = $2"#,
        message.0,
        destination
    )
    .fetch_one(pool)
    .await?;
    Ok(match (row.known, row.claimed, row.open) {
        (0, ..) => Known::Unknown,
        (_, 1.., _) => Known::Busy,
        (.., 0) => Known::Settled,
        _ => Known::Open,
    })
}

/// When the last delivery of one transaction was finished, if one is.
///
/// # Errors
/// When the database is out of reach.
pub async fn last_finished(pool: &PgPool, message: MessageId, destination: i16) -> Result<Option<DateTime<Utc>>> {
    // bounces::last_finished
    Ok(sqlx::query_scalar!(
        "select max(finished_at) from delivery where message_id = $1 and destination = $2",
        message.0,
        destination
    )
    .fetch_one(pool)
    .await?)
}

/// One delivery of the transaction.
struct Row {
    number: i32,
    organization_id: Uuid,
    recipient: String,
    recipient_folded: String,
    status: DeliveryStatus,
    dsn_notify: Option<i16>,
    dsn_orcpt: Option<String>,
    reportable: bool,
}

impl Row {
    fn is_named_by(&self, finding: &Finding) -> bool {
        // ORCPT is "rfc822;address"
        let original = self
            .dsn_orcpt
            .as_deref()
            .and_then(|text| text.split_once(';'))
            .map(|(_, address)| address.to_lowercase());
        finding
            .recipients
            .iter()
            .any(|name| *name == self.recipient_folded || Some(name) == original.as_ref())
    }

    /// RFC 3461 NOTIFY: the sender wants to hear of failures.
    fn wants_report(&self) -> bool {
        self.reportable && self.dsn_notify.is_none_or(|bits| bits & 4 != 0)
    }

    /// The status after the finding, if it changes.
    const fn after(&self, kind: FindingKind) -> Option<DeliveryStatus> {
        match (kind, self.status) {
            (FindingKind::Failure, DeliveryStatus::Delivered) => Some(DeliveryStatus::Bounced),
            (FindingKind::Complaint, DeliveryStatus::Delivered | DeliveryStatus::Bounced) => Some(DeliveryStatus::Complained),
            _ => None,
        }
    }
}

/// Records the findings of one bounce, with their events, suppressions and owed reports, in one transaction. Gives how many
/// deliveries changed; a bounce that changes nothing is kept as an event alone.
///
/// # Errors
/// When the database is out of reach.
pub async fn record(pool: &PgPool, message: MessageId, destination: i16, findings: &[Finding]) -> Result<usize> {
    let mut transaction = pool.begin().await?;
    // bounces::record — the rows are locked so that two copies of a bounce count once
    let rows = sqlx::query_as!(
        Row,
        r#"select d.number, d.organization_id, d.recipient, d.recipient_folded, d.status as "status: DeliveryStatus", d.dsn_notify, d.dsn_orcpt,
             (m.envelope_sender <> '' and (m.direction = 'forward' or (m.direction = 'outbound' and m.via = 'smtp'))) as "reportable!"
           from delivery d join message m on m.organization_id = d.organization_id and m.id = d.message_id
           where d.message_id = $1 and d.destination = $2 order by d.number for update of d"#,
        message.0,
        destination
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut changed = 0;
    for finding in findings {
        let named: Vec<&Row> = match rows.as_slice() {
            [only] => vec![only], // a forwarding host names an address we never heard of
            many => many.iter().filter(|row| row.is_named_by(finding)).collect(),
        };
        for row in named {
            changed += usize::from(apply(&mut transaction, message, row, finding).await?);
        }
    }
    if changed == 0
        && let Some(row) = rows.first()
    {
        // A delay, an automatic answer, or a form of bounce that nobody can read: keep that it came.
        let told = findings.iter().find_map(|finding| finding.reason.clone());
        sqlx::query!(
            "insert into event (organization_id, id, type, message_id, data) values ($1, new_uuid(), 'message.bounce_received', $2, jsonb_build_object('reason', $3::text))",
            row.organization_id,
            message.0,
            told
        )
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(changed)
}

async fn apply(connection: &mut PgConnection, message: MessageId, row: &Row, finding: &Finding) -> Result<bool> {
    let Some(status) = row.after(finding.kind) else { return Ok(false) };
    // bounces::apply
    sqlx::query!(
        "update delivery set status = $3::text::delivery_status, enhanced_code = coalesce($4, enhanced_code), reason = coalesce($5, reason), finished_at = now()
         where message_id = $1 and number = $2",
        message.0,
        row.number,
        status.as_str(),
        finding.enhanced_code,
        finding.reason
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into event (organization_id, id, type, message_id, recipient, data)
         values ($1, new_uuid(), 'message.' || $2::text, $3, $4, jsonb_strip_nulls(jsonb_build_object(
             'type', case when $2::text = 'bounced' then 'hard' end, 'class', split_part($5::text, '.', 1), 'enhanced_code', $5::text, 'reason', $6::text)))",
        row.organization_id,
        status.as_str(),
        message.0,
        row.recipient,
        finding.enhanced_code,
        finding.reason
    )
    .execute(&mut *connection)
    .await?;
    if finding.suppress {
        suppress(connection, message, row, finding.kind).await?;
    }
    if status == DeliveryStatus::Bounced && row.wants_report() {
        sqlx::query!(
            "insert into report_owed (message_id, organization_id) values ($1, $2) on conflict do nothing",
            message.0,
            row.organization_id
        )
        .execute(connection)
        .await?;
    }
    Ok(true)
}

async fn suppress(connection: &mut PgConnection, message: MessageId, row: &Row, kind: FindingKind) -> Result<()> {
    let reason = if kind == FindingKind::Complaint {
        "complaint"
    } else {
        "hard_bounce"
    };
    // bounces::suppress
    sqlx::query!(
        "with made as (
             insert into suppression (id, organization_id, address, reason, message_id) values (new_uuid(), $1, $2, $3::text::suppression_reason, $4)
             on conflict do nothing returning organization_id, address
         )
         insert into event (organization_id, id, type, message_id, recipient) select organization_id, new_uuid(), 'suppression.created', $4, address from made",
        row.organization_id,
        row.recipient_folded,
        reason,
        message.0
    )
    .execute(connection)
    .await?;
    Ok(())
}
