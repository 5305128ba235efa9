//! Lanes: one organization's mail of one stream for one destination domain.
//!
//! A lane's row is only its name and whether it is paused. When it next has something due is not stored: it would make every
//! accepting transaction write the same row (docs/adr/0005); [`due`] reads it from the queue's index instead.

use crate::{Result, ids::OrganizationId};
use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};
use std::time::Duration;
use uuid::Uuid;

/// A lane's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LaneKey {
    /// Whose mail.
    pub organization: OrganizationId,
    /// Of which stream.
    pub stream: String,
    /// For which recipient domain or address literal.
    pub destination: String,
}

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The row's number.
    pub id: i64,
    /// Its name.
    pub key: LaneKey,
    /// Not to be served before then.
    pub paused_until: Option<DateTime<Utc>>,
    /// When its earliest unclaimed delivery is due; `None` when only asked for by id.
    pub due_at: Option<DateTime<Utc>>,
}

/// The numbers of the lanes with these names, in order; those that do not exist yet are made.
///
/// # Errors
/// When the database is out of reach.
pub async fn resolve(pool: &PgPool, keys: &[LaneKey]) -> Result<Vec<i64>> {
    let organizations: Vec<Uuid> = keys.iter().map(|key| key.organization.0).collect();
    let streams: Vec<&str> = keys.iter().map(|key| key.stream.as_str()).collect();
    let destinations: Vec<&str> = keys.iter().map(|key| key.destination.as_str()).collect();
    // lanes::resolve — sorted, so that two processes making the same lanes do not wait for each other in a circle
    sqlx::query!(
        "insert into lane (organization_id, stream, destination)
         select distinct * from unnest($1::uuid[], $2::text[], $3::text[]) as k(organization_id, stream, destination)
         where not exists (select from lane l where (l.organization_id, l.stream, l.destination) = (k.organization_id, k.stream, k.destination))
         order by 1, 2, 3
         on conflict do nothing",
        &organizations,
        &streams as _,
        &destinations as _
    )
    .execute(pool)
    .await?;
    let ids = sqlx::query_scalar!(
        "select l.id from unnest($1::uuid[], $2::text[], $3::text[]) with ordinality as k(organization_id, stream, destination, place)
         join lane l on (l.organization_id, l.stream, l.destination) = (k.organization_id, k.stream, k.destination)
         order by k.place",
        &organizations,
        &streams as _,
        &destinations as _
    )
    .fetch_all(pool)
    .await?;
    Ok(ids)
}

/// The lanes with these numbers, whether or not anything is due in them.
///
/// # Errors
/// When the database is out of reach.
pub async fn by_ids(executor: impl PgExecutor<'_>, ids: &[i64]) -> Result<Vec<Lane>> {
    // lanes::by_ids
    let rows = sqlx::query!(
        "select id, organization_id, stream, destination, paused_until from lane where id = any($1)",
        ids
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Lane {
            id: row.id,
            key: LaneKey {
                organization: OrganizationId(row.organization_id),
                stream: row.stream,
                destination: row.destination,
            },
            paused_until: row.paused_until,
            due_at: None,
        })
        .collect())
}

/// Every lane that has something unclaimed, with the time its earliest delivery is due.
///
/// Steps from lane to lane in the index instead of reading every row, so that its cost grows with the number of lanes.
///
/// # Errors
/// When the database is out of reach.
pub async fn due(executor: impl PgExecutor<'_>) -> Result<Vec<Lane>> {
    // lanes::due
    let rows = sqlx::query!(
        r#"with recursive step as (
             (select q.lane_id from queue q order by q.lane_id limit 1)
             union all
             select (select q.lane_id from queue q where q.lane_id > step.lane_id order by q.lane_id limit 1) from step where step.lane_id is not null
         )
         select l.id, l.organization_id, l.stream, l.destination, l.paused_until, first.due_at
         from step
         join lane l on l.id = step.lane_id
         cross join lateral (
             select q.due_at from queue q where q.lane_id = l.id and q.worker_id is null and not q.held order by q.due_at limit 1
         ) first"#
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Lane {
            id: row.id,
            key: LaneKey {
                organization: OrganizationId(row.organization_id),
                stream: row.stream,
                destination: row.destination,
            },
            paused_until: row.paused_until,
            due_at: Some(row.due_at),
        })
        .collect())
}

/// Holds a lane back for a while, because its destination is down or asked for it.
///
/// # Errors
/// When the database is out of reach.
pub async fn pause(executor: impl PgExecutor<'_>, lane: i64, pause: Duration, reason: &str) -> Result<()> {
    // lanes::pause
    sqlx::query!(
        "update lane set paused_until = now() + make_interval(secs => $2), pause_reason = $3 where id = $1",
        lane,
        pause.as_secs_f64(),
        reason
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Lets a lane run again.
///
/// # Errors
/// When the database is out of reach.
pub async fn unpause(executor: impl PgExecutor<'_>, lane: i64) -> Result<()> {
    // lanes::unpause
    sqlx::query!(
        "update lane set paused_until = null, pause_reason = null where id = $1 and paused_until is not null",
        lane
    )
    .execute(executor)
    .await?;
    Ok(())
}
