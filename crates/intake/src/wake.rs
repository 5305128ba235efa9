//! Telling workers that a lane has something new.
//!
//! A wake-up is a hint that may be lost: workers look for themselves every few seconds. It is never sent inside the accepting
//! transaction, because NOTIFY there would serialize all commits.

use std::{collections::BTreeSet, sync::Arc, time::Duration};
use store::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// At most twenty notifications a second and process.
const BETWEEN_NOTIFICATIONS: Duration = Duration::from_millis(50);
/// Lanes in one notification: its payload is limited to 8,000 octets.
const LANES_IN_A_NOTIFICATION: usize = 300;

/// Lanes that have something new, gathered until somebody asks. In one process the worker asks; with several, [`announce`] does.
#[derive(Debug, Clone, Default)]
pub struct Wake {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lanes: std::sync::Mutex<BTreeSet<i64>>,
    changed: Notify,
}

impl Wake {
    /// Notes that these lanes have something new.
    pub fn wake(&self, lanes: impl IntoIterator<Item = i64>) {
        self.locked().extend(lanes);
        self.inner.changed.notify_one();
    }

    /// Waits until some lane has something new, and takes all that have.
    pub async fn next(&self) -> BTreeSet<i64> {
        loop {
            let changed = self.inner.changed.notified();
            let taken = std::mem::take(&mut *self.locked());
            if !taken.is_empty() {
                return taken;
            }
            changed.await;
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeSet<i64>> {
        // A set of numbers is whole after any panic.
        self.inner.lanes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Passes wake-ups on to the workers of other processes, until stopped.
pub async fn announce(wake: Wake, pool: PgPool, stop: CancellationToken) {
    loop {
        let lanes = tokio::select! {
            lanes = wake.next() => lanes,
            () = stop.cancelled() => return,
        };
        let lanes: Vec<i64> = lanes.into_iter().collect();
        for chunk in lanes.chunks(LANES_IN_A_NOTIFICATION) {
            if let Err(error) = store::wake::notify(&pool, chunk).await {
                tracing::debug!(%error, "a wake-up was lost; workers will find the mail by themselves");
            }
        }
        tokio::time::sleep(BETWEEN_NOTIFICATIONS).await;
    }
}

/// Receives the wake-ups of other processes, until stopped. Reconnects when the connection is lost.
pub async fn listen(wake: Wake, pool: PgPool, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let listening = store::wake::listen(&pool, |lanes| wake.wake(lanes));
        tokio::select! {
            ended = listening => if let Err(error) = ended { tracing::debug!(%error, "not listening for wake-ups; polling goes on") },
            () = stop.cancelled() => return,
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
