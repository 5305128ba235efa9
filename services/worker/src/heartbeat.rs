//! This worker's lease: a heartbeat row, and the burial of workers whose heartbeat stopped.

use std::time::Duration;
use store::{PgPool, incarnations};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Four beats fit into the time after which a worker is dead.
const INTERVAL: Duration = Duration::from_secs(5);

/// Registers this worker and keeps it alive.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    pool: PgPool,
    host: String,
    /// Workers that may end while holding a delivery, one after the other, before it is set aside.
    poisonous: u32,
    incarnation: watch::Sender<Uuid>,
}

impl Heartbeat {
    /// Registers, waiting for the database as long as it takes. A worker that knows itself alone (the embedded database has one master)
    /// returns the claims of every former one at once instead of waiting for their lease to end.
    pub(crate) async fn start(pool: PgPool, host: String, poisonous: u32, alone: bool) -> (Self, watch::Receiver<Uuid>) {
        let id = Uuid::now_v7();
        loop {
            match begin(&pool, id, &host, poisonous, alone).await {
                Ok(freed) => {
                    if freed > 0 {
                        tracing::warn!(freed, "deliveries of workers that ended without an outcome are back in the queue");
                    }
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "the worker waits for the database");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        let (incarnation, told) = watch::channel(id);
        let heartbeat = Self {
            pool,
            host,
            poisonous,
            incarnation,
        };
        (heartbeat, told)
    }

    /// Beats until stopped. What it frees is found by the next discovery.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.beat().await {
                tracing::warn!(%error, "the worker's heartbeat did not reach the database");
            }
        }
    }

    async fn beat(&self) -> store::Result<()> {
        let id = *self.incarnation.borrow();
        if !incarnations::renew(&self.pool, id).await? {
            // Others took us for dead and have our claims; what we still send is fenced off. Begin a new life.
            let id = Uuid::now_v7();
            tracing::error!("this worker was taken for dead; it goes on as a new one");
            incarnations::start(&self.pool, id, &self.host).await?;
            self.incarnation.send_replace(id);
        }
        let freed = incarnations::bury(&self.pool, incarnations::DEAD_AFTER_SECONDS, self.poisonous).await?;
        if freed > 0 {
            metrics::counter!("postroad_claims_lost_total").increment(freed);
            tracing::warn!(freed, "deliveries of a dead worker are back in the queue");
        }
        Ok(())
    }

    /// Takes leave; claims that are left go back at once.
    pub(crate) async fn stop(&self) {
        let id = *self.incarnation.borrow();
        match incarnations::stop(&self.pool, id, self.poisonous).await {
            Ok(0) => {}
            Ok(freed) => tracing::warn!(freed, "deliveries without an outcome go back to the queue"),
            Err(error) => tracing::warn!(%error, "could not take leave; others will take the claims over"),
        }
    }
}

async fn begin(pool: &PgPool, id: Uuid, host: &str, poisonous: u32, alone: bool) -> store::Result<u64> {
    let older_than = if alone { 0.0 } else { incarnations::DEAD_AFTER_SECONDS };
    let freed = incarnations::bury(pool, older_than, poisonous).await?;
    incarnations::start(pool, id, host).await?;
    Ok(freed)
}
