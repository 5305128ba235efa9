//! Running workers, and the return of a dead one's claims to the queue.
//!
//! The lease is the worker's, not the delivery's: one heartbeat row per incarnation, judged by the database's clock. Nothing is
//! deleted because a worker died: its deliveries become due again, and the attempts it had booked are recorded as in doubt.

use crate::Result;
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

/// A worker that has not renewed for this long is dead.
pub const DEAD_AFTER_SECONDS: f64 = 20.0;

/// Registers a new worker.
///
/// # Errors
/// When the database is out of reach.
pub async fn start(executor: impl PgExecutor<'_>, worker: Uuid, host: &str) -> Result<()> {
    // incarnations::start
    sqlx::query!("insert into worker_incarnation (id, host) values ($1, $2)", worker, host)
        .execute(executor)
        .await?;
    Ok(())
}

/// Renews the heartbeat. `false`: this worker was declared dead, its claims are gone, and it must start anew.
///
/// # Errors
/// When the database is out of reach.
pub async fn renew(executor: impl PgExecutor<'_>, worker: Uuid) -> Result<bool> {
    // incarnations::renew
    let done = sqlx::query!("update worker_incarnation set renewed_at = now() where id = $1", worker)
        .execute(executor)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes leave. Claims that are still held go back at once. `poisonous` is as for [`bury`].
///
/// # Errors
/// When the database is out of reach.
pub async fn stop(pool: &PgPool, worker: Uuid, poisonous: u32) -> Result<u64> {
    let mut transaction = pool.begin().await?;
    // incarnations::stop — declared dead now, so that the one piece of code for dead workers also serves a stopping one
    sqlx::query!("update worker_incarnation set renewed_at = '-infinity' where id = $1", worker)
        .execute(&mut *transaction)
        .await?;
    let freed = free(&mut transaction, 0.0, Some(worker), poisonous).await?;
    transaction.commit().await?;
    Ok(freed)
}

/// Returns the claims of every worker that has not renewed for `older_than_seconds`. Gives how many came back. A delivery on which `poisonous` workers
/// in a row ended is set aside instead: what kills a worker must not stop the line.
///
/// # Errors
/// When the database is out of reach.
pub async fn bury(pool: &PgPool, older_than_seconds: f64, poisonous: u32) -> Result<u64> {
    let mut transaction = pool.begin().await?;
    let freed = free(&mut transaction, older_than_seconds, None, poisonous).await?;
    transaction.commit().await?;
    Ok(freed)
}

async fn free(connection: &mut sqlx::PgConnection, older_than_seconds: f64, only: Option<Uuid>, poisonous: u32) -> Result<u64> {
    // incarnations::free — the dead are locked first, so that two processes do not bury the same one
    let dead = sqlx::query_scalar!(
        "select id from worker_incarnation where renewed_at <= now() - make_interval(secs => $1) and ($2::uuid is null or id = $2)
         for update skip locked",
        older_than_seconds,
        only
    )
    .fetch_all(&mut *connection)
    .await?;
    release(connection, &dead, poisonous).await
}

/// Returns claims under the name of a worker that is not registered: one that was buried while its next claim was on the way, and ended before
/// it learnt of that. Reads the whole queue, hence for every minute rather than every heartbeat. Gives how many came back.
///
/// # Errors
/// When the database is out of reach.
pub async fn release_unknown(pool: &PgPool, poisonous: u32) -> Result<u64> {
    let mut transaction = pool.begin().await?;
    // incarnations::release_unknown — a worker that has just been buried goes on under its old name until its next heartbeat
    let unknown = sqlx::query_scalar!(
        r#"select distinct q.worker_id as "worker!" from queue q
           where q.worker_id is not null and q.claimed_at < now() - interval '2 minutes'
             and not exists (select from worker_incarnation w where w.id = q.worker_id)"#
    )
    .fetch_all(&mut *transaction)
    .await?;
    let freed = release(&mut transaction, &unknown, poisonous).await?;
    transaction.commit().await?;
    Ok(freed)
}

async fn release(connection: &mut sqlx::PgConnection, dead: &[Uuid], poisonous: u32) -> Result<u64> {
    if dead.is_empty() {
        return Ok(0);
    }
    // incarnations::release
    let freed = sqlx::query!(
        r#"with lost as (
             select message_id, number, organization_id, worker_id, claimed_at, attempts, lost + 1 as lost from queue where worker_id = any($1) for update
         ), freed as (
             update queue q set worker_id = null, token = null, claimed_at = null, due_at = now(), lost = lost.lost
             from lost where (q.message_id, q.number) = (lost.message_id, lost.number) and lost.lost < $2
         ), poisonous as (
             delete from queue q using lost where (q.message_id, q.number) = (lost.message_id, lost.number) and lost.lost >= $2
         ), delivery_rows as (
             update delivery d set status = case when lost.lost >= $2 then 'quarantined' else 'deferred' end::delivery_status, attempts = lost.attempts,
                 reason = 'the worker that tried it ended before the outcome was known', finished_at = case when lost.lost >= $2 then now() end
             from lost where (d.message_id, d.number) = (lost.message_id, lost.number) and d.finished_at is null
             returning d.message_id, d.number, d.organization_id, d.recipient, d.destination, d.status
         ), event_rows as (
             insert into event (organization_id, id, type, message_id, recipient, data)
             select organization_id, new_uuid(), 'message.quarantined', message_id, recipient, '{"reason": "workers ended while trying it"}'
             from delivery_rows where status = 'quarantined'
         ), attempt_rows as (
             insert into attempt (message_id, id, organization_id, started_at, duration_ms, outcome, response, recipients, transcript)
             select lost.message_id, new_uuid(), lost.organization_id, min(lost.claimed_at),
                 least(extract(epoch from now() - min(lost.claimed_at)) * 1000, 2147483647)::int, 'in_doubt',
                 'the worker ended before the outcome was known', array_agg(d.recipient order by d.number), ''
             from lost join delivery_rows d on (d.message_id, d.number) = (lost.message_id, lost.number)
             group by lost.message_id, lost.organization_id, lost.worker_id, d.destination
         )
         select count(*) as "freed!", count(*) filter (where lost >= $2) as "poisonous!" from lost"#,
        dead,
        i32::try_from(poisonous).unwrap_or(i32::MAX)
    )
    .fetch_one(&mut *connection)
    .await?;
    if freed.poisonous > 0 {
        metrics::counter!("postroad_quarantined_total").increment(freed.poisonous.unsigned_abs());
        tracing::error!(
            deliveries = freed.poisonous,
            "deliveries on which workers ended again and again are in quarantine"
        );
    }
    sqlx::query!("delete from worker_incarnation where id = any($1)", dead)
        .execute(connection)
        .await?;
    Ok(freed.freed.unsigned_abs())
}
