//! What became of claimed deliveries, written in batches with everything that follows from it.

use crate::{
    Result,
    ids::{AttemptId, MessageId, OrganizationId},
    models::{AttemptOutcome, DeliveryStatus},
};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// What to do with a claimed delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It is over, with this final status.
    Over(DeliveryStatus),
    /// Try again after so long.
    Retry(Duration),
    /// It was never tried: back to the queue, the booked attempt taken off again, due after so long.
    Release(Duration),
}

/// The outcome of one claimed delivery.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its message.
    pub message: MessageId,
    /// Its number within the message.
    pub number: i32,
    /// The claim's token: an outcome that comes after the claim was lost is not written.
    pub token: Uuid,
    /// What to do.
    pub finish: Finish,
    /// RFC 3463 code of the remote reply, or ours.
    pub enhanced_code: Option<String>,
    /// The reply, or our reason. Not written for a delivered one.
    pub reason: Option<String>,
    /// The address must not be written to again.
    pub suppress: bool,
    /// The SMTP sender is owed a report of this.
    pub report: bool,
}

/// One row of the attempt history.
#[derive(Debug, Clone)]
pub struct AttemptRecord {
    /// Its message.
    pub message: MessageId,
    /// Its id.
    pub id: AttemptId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// When the work on it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// The host's name.
    pub host: Option<String>,
    /// Its address and port.
    pub address: Option<String>,
    /// TLS version and cipher suite.
    pub tls: Option<String>,
    /// How it ended for these recipients.
    pub outcome: AttemptOutcome,
    /// The reply's code.
    pub code: Option<i16>,
    /// The reply's enhanced code.
    pub enhanced_code: Option<String>,
    /// The reply's text, or our reason.
    pub response: Option<String>,
    /// The recipients that share this end.
    pub recipients: Vec<String>,
    /// What was said, without secrets and without the body.
    pub transcript: String,
}

/// What [`finish`] wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Outcomes that counted.
    pub written: usize,
    /// Outcomes whose claim had been lost meanwhile.
    pub fenced: usize,
}

/// Separates recipients within one array element: no address holds a control character.
const SEPARATOR: &str = "\u{1f}";

/// Writes a batch of outcomes and attempts in one statement, which is its own transaction unless the caller has one open: queue, delivery, events,
/// suppressions and reports owed change together.
///
/// # Errors
/// When the database is out of reach. Writing the same outcomes again is safe: what was written is fenced the second time.
pub async fn finish(connection: &mut PgConnection, outcomes: &[Outcome], attempts: &[AttemptRecord]) -> Result<Written> {
    let status: Vec<Option<&str>> = outcomes
        .iter()
        .map(|o| {
            if let Finish::Over(status) = o.finish {
                Some(status.as_str())
            } else {
                None
            }
        })
        .collect();
    let wait: Vec<f64> = outcomes
        .iter()
        .map(|o| match o.finish {
            Finish::Over(_) => 0.0,
            Finish::Retry(wait) | Finish::Release(wait) => wait.as_secs_f64(),
        })
        .collect();
    let untried: Vec<bool> = outcomes.iter().map(|o| matches!(o.finish, Finish::Release(_))).collect();
    let ids = || outcomes.iter().map(|o| o.message.0);
    let (first, last) = (ids().min().unwrap_or_default(), ids().max().unwrap_or_default());
    // queue::finish — the bounds let the server leave every partition alone in which none of these messages is
    let row = sqlx::query!(
        r#"with outcome as (
             select * from unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::float8[], $6::bool[], $7::text[], $8::text[], $9::bool[], $10::bool[], $11::uuid[])
               as o(message_id, number, token, status, wait, untried, enhanced_code, reason, suppress, report, event_id)
         ), finished as (
             delete from queue q using outcome o
             where q.message_id = o.message_id and q.number = o.number and q.token = o.token and o.status is not null
             returning q.message_id, q.number, q.organization_id, q.attempts, o.status::delivery_status, o.enhanced_code, o.reason, o.suppress, o.report, o.event_id
         ), retried as (
             update queue q set worker_id = null, token = null, claimed_at = null, due_at = now() + make_interval(secs => o.wait), lost = 0,
                 attempts = q.attempts - o.untried::int
             from outcome o
             where q.message_id = o.message_id and q.number = o.number and q.token = o.token and o.status is null
             returning q.message_id, q.number, q.organization_id, q.attempts, o.enhanced_code, o.reason, o.untried, o.event_id
         ), final_rows as (
             update delivery d set status = f.status, attempts = f.attempts, enhanced_code = f.enhanced_code, reason = f.reason, finished_at = now()
             from finished f where d.message_id = f.message_id and d.number = f.number and d.message_id between $26 and $27
             returning d.message_id, d.number, d.recipient, d.recipient_folded
         ), deferred_rows as (
             update delivery d set status = 'deferred', attempts = r.attempts, enhanced_code = r.enhanced_code, reason = r.reason
             from retried r where d.message_id = r.message_id and d.number = r.number and d.message_id between $26 and $27 and not r.untried
             returning d.message_id, d.number, d.recipient
         ), event_rows as (
             insert into event (organization_id, id, type, message_id, recipient, data)
             select f.organization_id, f.event_id, 'message.' || f.status, f.message_id, d.recipient,
                 case when f.status = 'delivered' then '{}' else jsonb_strip_nulls(jsonb_build_object('enhanced_code', f.enhanced_code, 'reason', f.reason,
                     'type', case when f.status = 'bounced' then 'hard' end, 'class', split_part(f.enhanced_code, '.', 1))) end
             from finished f join final_rows d on d.message_id = f.message_id and d.number = f.number
             union all
             select r.organization_id, r.event_id, 'message.deferred', r.message_id, d.recipient,
                 jsonb_strip_nulls(jsonb_build_object('enhanced_code', r.enhanced_code, 'reason', r.reason, 'attempt', r.attempts))
             from retried r join deferred_rows d on d.message_id = r.message_id and d.number = r.number
         ), suppression_rows as (
             insert into suppression (id, organization_id, address, reason, message_id)
             select distinct on (f.organization_id, d.recipient_folded) new_uuid(), f.organization_id, d.recipient_folded, 'hard_bounce'::suppression_reason, f.message_id
             from finished f join final_rows d on d.message_id = f.message_id and d.number = f.number where f.suppress
             on conflict do nothing
             returning organization_id, address, message_id
         ), suppression_events as (
             insert into event (organization_id, id, type, message_id, recipient)
             select organization_id, new_uuid(), 'suppression.created', message_id, address from suppression_rows
         ), report_rows as (
             insert into report_owed (message_id, organization_id) select distinct message_id, organization_id from finished where report on conflict do nothing
         ), attempt_rows as (
             insert into attempt (message_id, id, organization_id, started_at, duration_ms, host, address, tls, outcome, code, enhanced_code, response, recipients, transcript)
             select message_id, id, organization_id, started_at, duration_ms, host, address, tls, outcome::attempt_outcome, code, enhanced_code, response,
                 string_to_array(recipients, e'\x1f'), transcript
             from unnest($12::uuid[], $13::uuid[], $14::uuid[], $15::timestamptz[], $16::int[], $17::text[], $18::text[], $19::text[], $20::text[], $21::smallint[],
                     $22::text[], $23::text[], $24::text[], $25::text[])
               as a(message_id, id, organization_id, started_at, duration_ms, host, address, tls, outcome, code, enhanced_code, response, recipients, transcript)
             on conflict do nothing
         )
         select (select count(*) from finished) + (select count(*) from retried) as "written!""#,
        &outcomes.iter().map(|o| o.message.0).collect::<Vec<_>>(),
        &outcomes.iter().map(|o| o.number).collect::<Vec<_>>(),
        &outcomes.iter().map(|o| o.token).collect::<Vec<_>>(),
        &status as _,
        &wait,
        &untried,
        &outcomes.iter().map(|o| o.enhanced_code.as_deref()).collect::<Vec<_>>() as _,
        &outcomes.iter().map(|o| o.reason.as_deref()).collect::<Vec<_>>() as _,
        &outcomes.iter().map(|o| o.suppress).collect::<Vec<_>>(),
        &outcomes.iter().map(|o| o.report).collect::<Vec<_>>(),
        &outcomes.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.message.0).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.id.0).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.organization.0).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.started_at).collect::<Vec<_>>(),
        &attempts.iter().map(|a| i32::try_from(a.duration.as_millis()).unwrap_or(i32::MAX)).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.host.as_deref()).collect::<Vec<_>>() as _,
        &attempts.iter().map(|a| a.address.as_deref()).collect::<Vec<_>>() as _,
        &attempts.iter().map(|a| a.tls.as_deref()).collect::<Vec<_>>() as _,
        &attempts.iter().map(|a| a.outcome.as_str()).collect::<Vec<_>>() as _,
        &attempts.iter().map(|a| a.code).collect::<Vec<_>>() as _,
        &attempts.iter().map(|a| a.enhanced_code.as_deref()).collect::<Vec<_>>() as _,
        &attempts.iter().map(|a| a.response.as_deref()).collect::<Vec<_>>() as _,
        &attempts.iter().map(|a| a.recipients.join(SEPARATOR)).collect::<Vec<_>>(),
        &attempts.iter().map(|a| a.transcript.as_str()).collect::<Vec<_>>() as _,
        first,
        last,
    )
    .fetch_one(connection)
    .await?;
    let written = usize::try_from(row.written).unwrap_or_default();
    Ok(Written {
        written,
        fenced: outcomes.len().saturating_sub(written),
    })
}
