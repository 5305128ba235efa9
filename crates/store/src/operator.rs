//! The queue as the operator of the instance sees and moves it, across organizations. Not for customers: nothing here asks whose mail
//! it is unless the operator does.

use crate::{
    Result,
    ids::{EventId, MessageId, OrganizationId},
    models::DeliveryStatus,
};
use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

/// Most deliveries that one call moves; call again while that many were moved.
pub const AT_A_TIME: i64 = 1000;

/// Which deliveries are meant: those to which everything that is given applies.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    /// One message.
    pub message: Option<MessageId>,
    /// A recipient domain, lower-case A-labels.
    pub destination: Option<&'a str>,
    /// One organization.
    pub organization: Option<OrganizationId>,
}

/// A delivery that is not finished.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its message.
    pub message: MessageId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// To whom.
    pub recipient: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Attempts so far, one in progress included.
    pub attempts: i32,
    /// When it is tried next, unless held.
    pub due_at: DateTime<Utc>,
    /// A worker has it now.
    pub in_progress: bool,
    /// What the last attempt met.
    pub reason: Option<String>,
}

/// Up to `limit` unfinished deliveries, those that are due first in front.
///
/// # Errors
/// When the database is out of reach.
pub async fn waiting(executor: impl PgExecutor<'_>, selection: Selection<'_>, limit: i64) -> Result<Vec<Waiting>> {
    // operator::waiting
    Ok(sqlx::query_as!(
        Waiting,
        r#"select q.message_id as "message: MessageId", q.organization_id as "organization: OrganizationId", d.recipient,
                  d.status as "status: DeliveryStatus", q.attempts, q.due_at, q.worker_id is not null as "in_progress!", d.reason
           from queue q
           join lane l on l.id = q.lane_id
           join delivery d on d.message_id = q.message_id and d.number = q.number
           where ($1::uuid is null or q.message_id = $1) and ($2::text is null or l.destination = $2)
             and ($3::uuid is null or q.organization_id = $3)
           order by q.due_at, q.message_id, q.number limit $4"#,
        selection.message.map(|id| id.0),
        selection.destination,
        selection.organization.map(|id| id.0),
        limit
    )
    .fetch_all(executor)
    .await?)
}

/// What a change did.
#[derive(Debug, Clone, Default)]
pub struct Moved {
    /// So many deliveries.
    pub deliveries: u64,
    /// Their lanes, to be woken.
    pub lanes: Vec<i64>,
}

/// Makes deliveries due now. Held ones stay held; those in progress are left alone, and so are those that wait for their scheduled
/// time, unless their message is named.
///
/// # Errors
/// When the database is out of reach.
pub async fn retry(pool: &PgPool, selection: Selection<'_>) -> Result<Moved> {
    // operator::retry
    let lanes = sqlx::query_scalar!(
        r#"with picked as (
             select q.message_id, q.number from queue q join lane l on l.id = q.lane_id
             where ($1::uuid is null or q.message_id = $1) and ($2::text is null or l.destination = $2)
               and ($3::uuid is null or q.organization_id = $3)
               and q.worker_id is null and not q.held and q.due_at > now() and (q.attempts > 0 or $1 is not null)
             order by q.message_id, q.number limit $4 for update of q skip locked
         ), changed as (
             update queue q set due_at = now() from picked p where q.message_id = p.message_id and q.number = p.number
             returning q.message_id, q.number, q.lane_id
         ), no_longer_scheduled as (
             update delivery d set status = 'queued' from changed c
             where d.message_id = c.message_id and d.number = c.number and d.status = 'scheduled'
         )
         select lane_id from changed"#,
        selection.message.map(|id| id.0),
        selection.destination,
        selection.organization.map(|id| id.0),
        AT_A_TIME
    )
    .fetch_all(pool)
    .await?;
    Ok(moved(lanes))
}

/// Keeps deliveries back until they are released. Those in progress are left alone.
///
/// # Errors
/// When the database is out of reach.
pub async fn hold(pool: &PgPool, selection: Selection<'_>) -> Result<Moved> {
    let mut transaction = pool.begin().await?;
    // operator::hold
    let rows = sqlx::query!(
        r#"with picked as (
             select q.message_id, q.number from queue q join lane l on l.id = q.lane_id
             where ($1::uuid is null or q.message_id = $1) and ($2::text is null or l.destination = $2)
               and ($3::uuid is null or q.organization_id = $3)
               and q.worker_id is null and not q.held
             order by q.message_id, q.number limit $4 for update of q skip locked
         ), changed as (
             update queue q set held = true from picked p where q.message_id = p.message_id and q.number = p.number
             returning q.message_id, q.number, q.organization_id, q.lane_id
         )
         update delivery d set status = 'held' from changed c where d.message_id = c.message_id and d.number = c.number
         returning d.message_id, d.recipient, c.organization_id, c.lane_id"#,
        selection.message.map(|id| id.0),
        selection.destination,
        selection.organization.map(|id| id.0),
        AT_A_TIME
    )
    .fetch_all(&mut *transaction)
    .await?;
    let events = rows
        .iter()
        .map(|row| (row.organization_id, row.message_id, row.recipient.as_str()))
        .collect();
    note(&mut *transaction, "message.held", events).await?;
    transaction.commit().await?;
    Ok(moved(rows.iter().map(|row| row.lane_id).collect()))
}

/// Lets held deliveries go: now, or those that are scheduled and were not tried yet at their time.
///
/// # Errors
/// When the database is out of reach.
pub async fn release(pool: &PgPool, selection: Selection<'_>) -> Result<Moved> {
    let mut transaction = pool.begin().await?;
    // operator::release
    let rows = sqlx::query!(
        r#"with picked as (
             select q.message_id, q.number from queue q join lane l on l.id = q.lane_id
             where ($1::uuid is null or q.message_id = $1) and ($2::text is null or l.destination = $2)
               and ($3::uuid is null or q.organization_id = $3)
               and q.worker_id is null and q.held
             order by q.message_id, q.number limit $4 for update of q skip locked
         ), changed as (
             update queue q set held = false, due_at = case when q.attempts = 0 then greatest(q.due_at, now()) else now() end
             from picked p where q.message_id = p.message_id and q.number = p.number
             returning q.message_id, q.number, q.organization_id, q.lane_id, q.attempts, q.due_at > now() as later
         )
         update delivery d set status = (case when c.attempts > 0 then 'deferred' when c.later then 'scheduled' else 'queued' end)::delivery_status
         from changed c where d.message_id = c.message_id and d.number = c.number
         returning d.message_id, d.recipient, c.organization_id, c.lane_id"#,
        selection.message.map(|id| id.0),
        selection.destination,
        selection.organization.map(|id| id.0),
        AT_A_TIME
    )
    .fetch_all(&mut *transaction)
    .await?;
    let events = rows
        .iter()
        .map(|row| (row.organization_id, row.message_id, row.recipient.as_str()))
        .collect();
    note(&mut *transaction, "message.released", events).await?;
    transaction.commit().await?;
    Ok(moved(rows.iter().map(|row| row.lane_id).collect()))
}

fn moved(mut lanes: Vec<i64>) -> Moved {
    let deliveries = lanes.len() as u64;
    lanes.sort_unstable();
    lanes.dedup();
    Moved { deliveries, lanes }
}

/// Writes one event per delivery, in the transaction of its cause.
async fn note(executor: impl PgExecutor<'_>, kind: &str, events: Vec<(Uuid, Uuid, &str)>) -> Result<()> {
    let ids: Vec<Uuid> = events.iter().map(|_| EventId::generate().0).collect();
    let organizations: Vec<Uuid> = events.iter().map(|event| event.0).collect();
    let messages: Vec<Uuid> = events.iter().map(|event| event.1).collect();
    let recipients: Vec<&str> = events.iter().map(|event| event.2).collect();
    // operator::note
    sqlx::query!(
        "insert into event (organization_id, id, type, message_id, recipient)
         select organization_id, id, $1, message_id, recipient
         from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[]) as e(organization_id, id, message_id, recipient)",
        kind,
        &organizations,
        &ids,
        &messages,
        &recipients as &[&str]
    )
    .execute(executor)
    .await?;
    Ok(())
}
