//! The queue: claiming deliveries and writing their outcomes, both in batches.
//!
//! Promises: a claim is one short committed statement that books the attempt before anybody dials; an outcome counts only if it
//! presents the claim's token (fencing); the cost of a claim does not depend on how much else is waiting. No transaction is
//! open between the two. Which lanes to serve is the worker's decision.

mod outcome;

use crate::{
    Result,
    ids::{DestinationId, DomainId, MessageId, OrganizationId},
    models::{Direction, Via},
};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};
use std::collections::HashMap;
use uuid::Uuid;

pub use outcome::{AttemptRecord, Finish, Outcome, Written, finish};

/// How many deliveries of one lane a claim may take.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    /// The lane.
    pub lane: i64,
    /// At most so many.
    pub room: i32,
    /// Nothing unclaimed is due before then, as far as the worker knows: spares the claim the walk over rows that are finished but not yet
    /// vacuumed.
    pub since: DateTime<Utc>,
}

/// A claimed delivery, with what a worker must know of its message.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its message.
    pub message: MessageId,
    /// Its number within the message.
    pub number: i32,
    /// Whose it is.
    pub organization: OrganizationId,
    /// Its lane.
    pub lane: i64,
    /// To be presented with the outcome.
    pub token: Uuid,
    /// Attempts including this one.
    pub attempts: i32,
    /// When it was due.
    pub due_at: DateTime<Utc>,
    /// Given up after then.
    pub expires_at: DateTime<Utc>,
    /// The database's clock at the claim.
    pub claimed_at: DateTime<Utc>,
    /// As it will be dialled.
    pub recipient: String,
    /// The same for recipients that share a transaction.
    pub destination: i16,
    /// RFC 3461 NOTIFY bits.
    pub dsn_notify: Option<i16>,
    /// RFC 3461 ORCPT, decoded.
    pub dsn_orcpt: Option<String>,
    /// Which way the message goes.
    pub direction: Direction,
    /// By which door it came.
    pub via: Via,
    /// The domain it is sent as.
    pub domain: Option<DomainId>,
    /// Empty: the null reverse-path.
    pub envelope_sender: String,
    /// Octets of the raw message.
    pub size_bytes: i32,
    /// The body holds octets above 127.
    pub eight_bit: bool,
    /// Envelope or header need SMTPUTF8.
    pub smtputf8: bool,
    /// RFC 3461 ENVID.
    pub dsn_envid: Option<String>,
    /// RFC 3461 RET=HDRS.
    pub dsn_headers_only: bool,
    /// W3C traceparent of the accepting session.
    pub trace_context: Option<String>,
    /// When the message was accepted.
    pub created_at: DateTime<Utc>,
    /// From on the way out, when it must not stay.
    pub rewrite_from: Option<String>,
    /// The alias it came for.
    pub original_recipient: Option<String>,
    /// The alias's destination, for mail that is forwarded.
    pub forward_to: Option<DestinationId>,
}

/// A connection kept for claims or outcomes.
pub type BatchConnection = sqlx::pool::PoolConnection<sqlx::Postgres>;

/// Opens a connection for claims and outcomes, with the planner told to walk indexes: its guess at how many rows a limit lets through would
/// otherwise make it read whole tables once the queue is long.
///
/// # Errors
/// When the database is out of reach.
pub async fn batch_connection(pool: &PgPool) -> Result<BatchConnection> {
    let mut connection = pool.acquire().await?;
    for setting in [
        "plan_cache_mode",
        "enable_seqscan",
        "enable_hashjoin",
        "enable_mergejoin",
        "enable_bitmapscan",
    ] {
        let value = if setting == "plan_cache_mode" {
            "force_generic_plan"
        } else {
            "off"
        };
        sqlx::query!("select set_config($1, $2, false)", setting, value)
            .fetch_one(&mut *connection)
            .await?;
    }
    Ok(connection)
}

/// Claims due deliveries of the wanted lanes for a worker.
///
/// # Errors
/// When the database is out of reach. Nothing is claimed then, or the claim dies with the worker's incarnation.
pub async fn claim(connection: &mut PgConnection, worker: Uuid, wants: &[Want]) -> Result<Vec<Claimed>> {
    let token = Uuid::new_v4();
    // queue::claim
    let taken = sqlx::query!(
        r#"with wanted as (
             select * from unnest($1::bigint[], $2::int[], $3::timestamptz[]) as w(lane_id, room, since)
         ), picked as (
             select p.message_id, p.number from wanted w cross join lateral (
                 select q.message_id, q.number from queue q
                 where q.lane_id = w.lane_id and q.due_at >= w.since and q.due_at <= now() and q.worker_id is null and not q.held
                 order by q.due_at limit w.room for update skip locked
             ) p
         )
         update queue q set worker_id = $4, token = $5, claimed_at = now(), attempts = q.attempts + 1
         from picked p where q.message_id = p.message_id and q.number = p.number
         returning q.message_id, q.number, q.organization_id, q.lane_id, q.attempts, q.due_at, q.expires_at, now() as "claimed_at!""#,
        &wants.iter().map(|want| want.lane).collect::<Vec<_>>(),
        &wants.iter().map(|want| want.room).collect::<Vec<_>>(),
        &wants.iter().map(|want| want.since).collect::<Vec<_>>(),
        worker,
        token
    )
    .fetch_all(&mut *connection)
    .await?;
    let (Some(first), Some(last)) = (
        taken.iter().map(|row| row.message_id).min(),
        taken.iter().map(|row| row.message_id).max(),
    ) else {
        return Ok(Vec::new());
    };
    // queue::claimed_details — a second statement, because its bounds let the server leave every other partition alone
    let details = sqlx::query!(
        r#"select c.message_id as "message_id!", c.number as "number!", d.recipient, d.destination, d.dsn_notify, d.dsn_orcpt, d.destination_id,
             m.direction as "direction: Direction", m.via as "via: Via", m.domain_id, m.envelope_sender, m.size_bytes, m.eight_bit, m.smtputf8,
             m.dsn_envid, m.dsn_headers_only, m.trace_context, m.created_at, m.rewrite_from, m.original_recipient
         from unnest($1::uuid[], $2::uuid[], $3::int[]) as c(organization_id, message_id, number)
         join delivery d on d.message_id = c.message_id and d.number = c.number and d.message_id between $4 and $5
         join message m on m.organization_id = c.organization_id and m.id = c.message_id and m.id between $4 and $5"#,
        &taken.iter().map(|row| row.organization_id).collect::<Vec<_>>(),
        &taken.iter().map(|row| row.message_id).collect::<Vec<_>>(),
        &taken.iter().map(|row| row.number).collect::<Vec<_>>(),
        first,
        last
    )
    .fetch_all(&mut *connection)
    .await?;
    if details.len() < taken.len() {
        hold_orphans(connection, token).await?;
    }
    let mut details: HashMap<(Uuid, i32), _> = details.into_iter().map(|row| ((row.message_id, row.number), row)).collect();
    let mut claimed: Vec<Claimed> = taken
        .into_iter()
        .filter_map(|row| {
            let detail = details.remove(&(row.message_id, row.number))?;
            Some(Claimed {
                message: MessageId(row.message_id),
                number: row.number,
                organization: OrganizationId(row.organization_id),
                lane: row.lane_id,
                token,
                attempts: row.attempts,
                due_at: row.due_at,
                expires_at: row.expires_at,
                claimed_at: row.claimed_at,
                recipient: detail.recipient,
                destination: detail.destination,
                dsn_notify: detail.dsn_notify,
                dsn_orcpt: detail.dsn_orcpt,
                direction: detail.direction,
                via: detail.via,
                domain: detail.domain_id.map(DomainId),
                envelope_sender: detail.envelope_sender,
                size_bytes: detail.size_bytes,
                eight_bit: detail.eight_bit,
                smtputf8: detail.smtputf8,
                dsn_envid: detail.dsn_envid,
                dsn_headers_only: detail.dsn_headers_only,
                trace_context: detail.trace_context,
                created_at: detail.created_at,
                rewrite_from: detail.rewrite_from,
                original_recipient: detail.original_recipient,
                forward_to: detail.destination_id.map(DestinationId),
            })
        })
        .collect();
    // RETURNING gives rows as they lie; oldest first, and each message's recipients in their order, is what callers expect.
    claimed.sort_unstable_by_key(|delivery| (delivery.due_at, delivery.message, delivery.number));
    Ok(claimed)
}

/// Sets aside what was claimed although its message is gone: nobody can deliver it, and it must not stop the line.
async fn hold_orphans(connection: &mut PgConnection, token: Uuid) -> Result<()> {
    // queue::hold_orphans
    let held = sqlx::query!(
        "update queue q set held = true, worker_id = null, token = null, claimed_at = null
         where q.token = $1 and not exists (
             select from delivery d join message m on m.organization_id = d.organization_id and m.id = d.message_id
             where d.message_id = q.message_id and d.number = q.number)",
        token
    )
    .execute(connection)
    .await?;
    metrics::counter!("postroad_quarantined_total").increment(held.rows_affected());
    tracing::error!(deliveries = held.rows_affected(), "queue rows without a message were set aside");
    Ok(())
}

/// The raw bodies of some messages. A message whose body is gone is absent from the answer.
///
/// # Errors
/// When the database is out of reach.
pub async fn bodies(executor: impl PgExecutor<'_>, messages: &[MessageId]) -> Result<Vec<(MessageId, Vec<u8>)>> {
    let ids: Vec<Uuid> = messages.iter().map(|message| message.0).collect();
    let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else {
        return Ok(Vec::new());
    };
    // queue::bodies
    let rows = sqlx::query!(
        "select c.message_id, c.raw from unnest($1::uuid[]) m(id) join content c on c.message_id = m.id and c.message_id between $2 and $3",
        &ids,
        first,
        last
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| (MessageId(row.message_id), row.raw)).collect())
}

/// Replaces a body by what was really delivered: capture mode shows the bytes that would have left.
///
/// # Errors
/// When the database is out of reach.
pub async fn replace_body(executor: impl PgExecutor<'_>, message: MessageId, raw: &[u8]) -> Result<()> {
    // queue::replace_body
    sqlx::query!("update content set raw = $2 where message_id = $1", message.0, raw)
        .execute(executor)
        .await?;
    Ok(())
}

/// How much is waiting, for the metrics.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    /// Rows in the queue, by the planner's estimate when there are many.
    pub rows: i64,
    /// Age in seconds of the delivery that has been due longest.
    pub oldest_due_seconds: f64,
}

/// Measures the queue without reading all of it.
///
/// # Errors
/// When the database is out of reach.
pub async fn depth(executor: impl PgExecutor<'_>) -> Result<Depth> {
    // queue::depth — counting a million rows every few seconds would itself be a load
    let row = sqlx::query!(
        r#"select
             case when c.reltuples > 100000 then c.reltuples::bigint else (select count(*) from (select from queue limit 200000) q) end as "rows!",
             coalesce((with recursive step as (
                 (select q.lane_id from queue q order by q.lane_id limit 1)
                 union all
                 select (select q.lane_id from queue q where q.lane_id > step.lane_id order by q.lane_id limit 1) from step where step.lane_id is not null
             ) select extract(epoch from now() - min(first.due_at))::float8 from step cross join lateral (
                 select q.due_at from queue q where q.lane_id = step.lane_id and not q.held order by q.due_at limit 1
             ) first where first.due_at <= now()), 0) as "oldest!"
           from pg_class c where c.oid = 'queue'::regclass"#
    )
    .fetch_one(executor)
    .await?;
    Ok(Depth {
        rows: row.rows,
        oldest_due_seconds: row.oldest,
    })
}
