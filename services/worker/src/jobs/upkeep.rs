//! Measuring the queue, making partitions ahead of time, and ending what is kept long enough.

use assembly::Assembly;
use store::{aliases, incarnations, maintenance, queue};

/// Months of partitions ahead of now.
const MONTHS_AHEAD: i32 = 1;
/// Rows of one deletion: short transactions that stand in nobody's way.
const BATCH: u64 = 500;

/// Depth and age of the queue, for the metrics.
pub(super) async fn measure(deps: &Assembly) -> anyhow::Result<()> {
    let depth = queue::depth(&deps.pool).await?;
    metrics::gauge!("postroad_queue_rows").set(depth.rows as f64);
    metrics::gauge!("postroad_queue_oldest_due_seconds").set(depth.oldest_due_seconds);
    Ok(())
}

/// Claims that nobody's heartbeat stands for.
pub(super) async fn release_unknown(deps: &Assembly) -> anyhow::Result<()> {
    let freed = incarnations::release_unknown(&deps.pool, deps.config.delivery.quarantine_after).await?;
    if freed > 0 {
        metrics::counter!("postroad_claims_lost_total").increment(freed);
        tracing::warn!(freed, "deliveries claimed by a worker that is not known are back in the queue");
    }
    Ok(())
}

/// The events of aliases that take no more mail.
pub(super) async fn tell_expired(deps: &Assembly) -> anyhow::Result<()> {
    while aliases::tell_expired(&deps.pool, i64::try_from(BATCH)?).await? >= BATCH {}
    Ok(())
}

/// Bodies past their retention, answered idempotency keys, ended sessions.
pub(super) async fn delete_old(deps: &Assembly) -> anyhow::Result<()> {
    maintenance::delete_expired_records(&deps.pool).await?;
    while maintenance::delete_old_content(&deps.pool, i64::try_from(BATCH)?).await? >= BATCH {}
    Ok(())
}

/// The next month's partitions, and the end of those that are older than every retention.
pub(super) async fn partitions(deps: &Assembly) -> anyhow::Result<()> {
    maintenance::ensure_partitions(&deps.pool, MONTHS_AHEAD).await?;
    for month in maintenance::drop_old_partitions(&deps.pool).await? {
        tracing::info!(month, "the history of a month is past its retention and was dropped");
    }
    Ok(())
}
