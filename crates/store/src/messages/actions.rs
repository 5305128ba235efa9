//! What a customer may do to a message: cancel, hold, release, retry, reschedule. Each is one transaction; each gives how many
//! recipients it changed, so that the caller can tell "nothing to do".

use super::find;
use crate::{
    Result,
    ids::{MessageId, OrganizationId},
    lanes::{self, LaneKey},
};
use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};
use std::time::Duration;

/// Withdraws every recipient that is not finished and not being tried.
///
/// # Errors
/// When the database fails. An unknown message has no recipients: `0`.
pub async fn cancel(executor: impl PgExecutor<'_>, organization: OrganizationId, id: MessageId) -> Result<i64> {
    // messages::cancel
    Ok(sqlx::query_scalar!(
        r#"with gone as (
             delete from queue q using (
                 select message_id, number from queue where message_id = $2 and organization_id = $1 and worker_id is null order by number for update
             ) p where q.message_id = p.message_id and q.number = p.number and q.worker_id is null
             returning q.message_id, q.number
         ), changed as (
             update delivery d set status = 'canceled', finished_at = now() from gone g
             where d.message_id = g.message_id and d.number = g.number and d.organization_id = $1
             returning d.recipient
         ), noted as (
             insert into event (organization_id, id, type, message_id, recipient)
             select $1, new_uuid(), 'message.canceled', $2, recipient from changed
         )
         select count(*) as "changed!" from changed"#,
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?)
}

/// Keeps every recipient that is not finished and not being tried from being tried, until [`release`].
///
/// # Errors
/// When the database fails.
pub async fn hold(executor: impl PgExecutor<'_>, organization: OrganizationId, id: MessageId) -> Result<i64> {
    // messages::hold
    Ok(sqlx::query_scalar!(
        r#"with kept as (
             update queue q set held = true from (
                 select message_id, number from queue
                 where message_id = $2 and organization_id = $1 and worker_id is null and not held order by number for update
             ) p where q.message_id = p.message_id and q.number = p.number and q.worker_id is null
             returning q.message_id, q.number
         ), changed as (
             update delivery d set status = 'held' from kept k
             where d.message_id = k.message_id and d.number = k.number and d.organization_id = $1
             returning d.recipient
         ), noted as (
             insert into event (organization_id, id, type, message_id, recipient)
             select $1, new_uuid(), 'message.held', $2, recipient from changed
         )
         select count(*) as "changed!" from changed"#,
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?)
}

/// Lets held recipients go on: at their former time, or now when that has passed.
///
/// # Errors
/// When the database fails.
pub async fn release(pool: &PgPool, organization: OrganizationId, id: MessageId) -> Result<i64> {
    // messages::release
    let row = sqlx::query!(
        r#"with freed as (
             update queue q set held = false, due_at = greatest(q.due_at, clock_timestamp()) from (
                 select message_id, number, due_at > clock_timestamp() as later from queue
                 where message_id = $2 and organization_id = $1 and held order by number for update
             ) p where q.message_id = p.message_id and q.number = p.number
             returning q.message_id, q.number, q.attempts, q.lane_id, p.later
         ), changed as (
             update delivery d set status = case when f.attempts > 0 then 'deferred' when f.later then 'scheduled' else 'queued' end::delivery_status
             from freed f where d.message_id = f.message_id and d.number = f.number and d.organization_id = $1
             returning d.recipient
         ), noted as (
             insert into event (organization_id, id, type, message_id, recipient)
             select $1, new_uuid(), 'message.released', $2, recipient from changed
         )
         select (select count(*) from changed) as "changed!", array(select distinct lane_id from freed) as "lanes!""#,
        organization.0,
        id.0
    )
    .fetch_one(pool)
    .await?;
    wake(pool, &row.lanes).await;
    Ok(row.changed)
}

/// Moves recipients that were not tried yet to another time. The message is given up `expire_after` later.
///
/// # Errors
/// When the database fails.
pub async fn reschedule(
    pool: &PgPool,
    organization: OrganizationId,
    id: MessageId,
    at: DateTime<Utc>,
    expire_after: Duration,
) -> Result<i64> {
    // messages::reschedule
    let row = sqlx::query!(
        r#"with moved as (
             update queue q set due_at = $3::timestamptz, expires_at = greatest(q.expires_at, $3::timestamptz + make_interval(secs => $4)) from (
                 select q.message_id, q.number from queue q
                 where q.message_id = $2 and q.organization_id = $1 and q.worker_id is null and q.attempts = 0 order by q.number for update
             ) p where q.message_id = p.message_id and q.number = p.number and q.worker_id is null
             returning q.message_id, q.number, q.held, q.lane_id
         ), changed as (
             update delivery d set status = case when m.held then 'held' else 'scheduled' end::delivery_status from moved m
             where d.message_id = m.message_id and d.number = m.number and d.organization_id = $1
             returning d.recipient
         ), message_row as (
             update message set expires_at = greatest(expires_at, $3::timestamptz + make_interval(secs => $4))
             where organization_id = $1 and id = $2 and exists (select from moved)
         ), noted as (
             insert into event (organization_id, id, type, message_id, recipient, data)
             select $1, new_uuid(), 'message.scheduled', $2, recipient, jsonb_build_object('scheduled_at', $3::timestamptz) from changed
         )
         select (select count(*) from changed) as "changed!", array(select distinct lane_id from moved) as "lanes!""#,
        organization.0,
        id.0,
        at,
        expire_after.as_secs_f64()
    )
    .fetch_one(pool)
    .await?;
    wake(pool, &row.lanes).await;
    Ok(row.changed)
}

/// Tries again at once: what waits becomes due now, and what bounced, failed or expired goes back into the queue, to be given up
/// `expire_after` from now.
///
/// # Errors
/// When the database fails.
pub async fn retry(pool: &PgPool, organization: OrganizationId, id: MessageId, expire_after: Duration) -> Result<i64> {
    let stream = find(pool, organization, id).await?.stream;
    // messages::given_up — a message whose body is gone cannot be sent again
    let given_up = sqlx::query!(
        "select number, recipient from delivery
         where organization_id = $1 and message_id = $2 and status in ('bounced', 'failed', 'expired')
           and exists (select from content c where c.message_id = $2) order by number",
        organization.0,
        id.0
    )
    .fetch_all(pool)
    .await?;
    let keys: Vec<_> = given_up.iter().map(|row| lane_key(organization, &stream, &row.recipient)).collect();
    let lanes = lanes::resolve(pool, &keys).await?;
    let numbers: Vec<i32> = given_up.iter().map(|row| row.number).collect();

    let mut transaction = pool.begin().await?;
    // messages::requeue — the row's own status decides, so that two requests at once make one queue row
    let again = sqlx::query_scalar!(
        r#"with changed as (
             update delivery d set status = 'queued', finished_at = null, reported_at = null
             from unnest($3::int[], $4::bigint[]) as w(number, lane_id)
             where d.organization_id = $1 and d.message_id = $2 and d.number = w.number and d.status in ('bounced', 'failed', 'expired')
             returning d.number, d.recipient, d.attempts, w.lane_id
         ), entered as (
             insert into queue (message_id, number, organization_id, lane_id, due_at, expires_at, attempts)
             select $2, number, $1, lane_id, clock_timestamp(), now() + make_interval(secs => $5), attempts from changed
         ), noted as (
             insert into event (organization_id, id, type, message_id, recipient, data)
             select $1, new_uuid(), 'message.queued', $2, recipient, '{"retry": true}'::jsonb from changed
         )
         select count(*) as "changed!" from changed"#,
        organization.0,
        id.0,
        &numbers,
        &lanes,
        expire_after.as_secs_f64()
    )
    .fetch_one(&mut *transaction)
    .await?;
    // messages::hasten
    let hastened = sqlx::query_scalar!(
        "update queue set due_at = clock_timestamp()
         where organization_id = $1 and message_id = $2 and worker_id is null and not held and due_at > clock_timestamp()
         returning lane_id",
        organization.0,
        id.0
    )
    .fetch_all(&mut *transaction)
    .await?;
    // messages::no_longer_scheduled
    sqlx::query!(
        "update delivery d set status = 'queued' from queue q
         where d.organization_id = $1 and d.message_id = $2 and d.status = 'scheduled'
           and q.message_id = d.message_id and q.number = d.number and q.due_at <= clock_timestamp()",
        organization.0,
        id.0
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    wake(pool, &[lanes, hastened.clone()].concat()).await;
    Ok(again + i64::try_from(hastened.len()).unwrap_or(i64::MAX))
}

/// The lane of a recipient; the address was parsed when it was accepted.
fn lane_key(organization: OrganizationId, stream: &str, recipient: &str) -> LaneKey {
    let destination = mail::Address::parse(recipient).map_or_else(
        |_| recipient.rsplit_once('@').map_or("", |(_, host)| host).to_ascii_lowercase(),
        |address| address.host().to_string(),
    );
    LaneKey {
        organization,
        stream: stream.to_owned(),
        destination,
    }
}

/// Tells the workers. A notification that is lost costs one polling interval, so its failure is not the caller's.
async fn wake(pool: &PgPool, lanes: &[i64]) {
    if !lanes.is_empty()
        && let Err(error) = crate::wake::notify(pool, lanes).await
    {
        tracing::debug!(%error, "the workers were not notified");
    }
}
