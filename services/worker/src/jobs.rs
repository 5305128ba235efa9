//! What the worker does beside delivering, on a schedule. Every job may run in any number of workers at once.

mod domains;
mod upkeep;

use assembly::Assembly;
use std::{future::Future, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Starts every job.
pub(crate) fn start(deps: &Arc<Assembly>, tracker: &TaskTracker, stop: &CancellationToken) {
    let every = |period: Duration, name: &'static str, run: Run| tracker.spawn(repeat(deps.clone(), period, name, run, stop.clone()));
    every(Duration::from_secs(1), "reports", |deps| {
        Box::pin(async move { report(&deps).await })
    });
    every(Duration::from_secs(10), "queue depth", |deps| {
        Box::pin(async move { upkeep::measure(&deps).await })
    });
    every(Duration::from_secs(60), "claims of unknown workers", |deps| {
        Box::pin(async move { upkeep::release_unknown(&deps).await })
    });
    every(Duration::from_secs(60), "domain checks", |deps| {
        Box::pin(async move { domains::check_due(&deps).await })
    });
    every(Duration::from_secs(60), "expired aliases", |deps| {
        Box::pin(async move { upkeep::tell_expired(&deps).await })
    });
    every(Duration::from_secs(300), "old content", |deps| {
        Box::pin(async move { upkeep::delete_old(&deps).await })
    });
    every(Duration::from_secs(6 * 3_600), "partitions", |deps| {
        Box::pin(async move { upkeep::partitions(&deps).await })
    });
}

type Run = fn(Arc<Assembly>) -> std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// Runs a job again and again, the first time at once. A failure is logged and tried again at the next turn.
async fn repeat(deps: Arc<Assembly>, period: Duration, name: &'static str, run: Run, stop: CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            result = run(deps.clone()) => if let Err(error) = result { tracing::warn!(%error, job = name, "a job failed and will be tried again") },
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn report(deps: &Assembly) -> anyhow::Result<()> {
    let sent = intake::Reporter::new(&deps.intake).run().await?;
    if sent > 0 {
        tracing::info!(sent, "senders were told of failed recipients");
    }
    Ok(())
}
