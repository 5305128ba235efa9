//! Upkeep that the worker runs on a schedule: partitions ahead of time, and the end of what is kept.

use crate::Result;
use sqlx::PgPool;

/// Makes the monthly partitions from this month to `months` ahead. Idempotent.
///
/// # Errors
/// When the database is out of reach, or a partition cannot be made.
pub async fn ensure_partitions(pool: &PgPool, months: i32) -> Result<i32> {
    // maintenance::ensure_partitions
    Ok(sqlx::query_scalar!(r#"select ensure_partitions($1) as "made!""#, months)
        .fetch_one(pool)
        .await?)
}

/// Deletes a batch of bodies of finished messages that are past their organization's content retention. Gives how many went;
/// call again while that is the limit.
///
/// # Errors
/// When the database is out of reach.
pub async fn delete_old_content(pool: &PgPool, limit: i64) -> Result<u64> {
    // maintenance::delete_old_content — a message with a row in the queue is unfinished, however old
    let done = sqlx::query!(
        "delete from content where message_id in (
             select m.id from organization o
             cross join lateral (
                 select m.id from message m
                 where m.organization_id = o.id and m.id < uuid_at(now() - o.content_retention)
                   and exists (select from content c where c.message_id = m.id)
                   and not exists (select from queue q where q.message_id = m.id)
                 limit $1
             ) m limit $1)",
        limit
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes answered idempotency records older than a day, and sessions that ended.
///
/// # Errors
/// When the database is out of reach.
pub async fn delete_expired_records(pool: &PgPool) -> Result<u64> {
    // maintenance::delete_expired_records
    let records = sqlx::query!("delete from idempotency_record where created_at < now() - interval '24 hours'")
        .execute(pool)
        .await?;
    let sessions = sqlx::query!("delete from session where expires_at < now()").execute(pool).await?;
    Ok(records.rows_affected() + sessions.rows_affected())
}

/// Drops the monthly partitions that are wholly older than the longest history retention and hold nothing unfinished. Gives the
/// months that went.
///
/// # Errors
/// When the database is out of reach.
pub async fn drop_old_partitions(pool: &PgPool) -> Result<Vec<String>> {
    // maintenance::drop_old_partitions
    Ok(
        sqlx::query_scalar!(r#"select month as "month!" from drop_old_partitions() as month"#)
            .fetch_all(pool)
            .await?,
    )
}
