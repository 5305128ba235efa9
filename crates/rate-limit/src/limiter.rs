//! The limiter that callers hold: shared when it can be, alone when it must be.

use crate::{
    gcra::{Decision, Quota},
    in_process::InProcess,
    redis::Shared,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const CAPACITY: usize = 100_000;
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The Redis URL cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the Redis URL cannot be used: {0}")]
pub struct BadUrl(#[from] deadpool_redis::CreatePoolError);

/// How to reach Redis.
#[derive(Debug, Clone, Copy)]
pub struct RedisSettings<'a> {
    /// `redis://…`; may hold a password.
    pub url: &'a str,
    /// Most connections of this process.
    pub max_connections: usize,
    /// How long a question may take before this process answers it alone; 50 ms is usual.
    pub timeout: Duration,
}

/// Answers whether something may happen now. Cheap to clone; clones share their state.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    alone: InProcess,
    shared: Option<Shared>,
    away: AtomicBool,
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shared = self.0.shared.is_some();
        f.debug_struct("Limiter")
            .field("shared", &shared)
            .field("fallen_back", &self.fallen_back())
            .finish()
    }
}

impl Limiter {
    /// Limits for this process alone.
    #[must_use]
    pub fn in_process() -> Self {
        Self(Arc::new(Inner {
            alone: InProcess::new(CAPACITY),
            shared: None,
            away: AtomicBool::new(false),
        }))
    }

    /// Limits for all processes together. Does not connect yet: a Redis that is away is no error, here or later.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn redis(settings: RedisSettings<'_>) -> Result<Self, BadUrl> {
        let shared = Shared::new(settings.url, settings.max_connections, settings.timeout)?;
        metrics::gauge!("postroad_rate_limit_fallback").set(0.0);
        Ok(Self(Arc::new(Inner {
            alone: InProcess::new(CAPACITY),
            shared: Some(shared),
            away: AtomicBool::new(false),
        })))
    }

    /// Counts `cost` against the key's quota if it fits, and says whether it did. A cost of zero looks without counting: whether
    /// anything is left is then in `remaining`. Always the same quota for one key.
    pub async fn check(&self, key: &str, quota: Quota, cost: u32) -> Decision {
        if let Some(shared) = self.0.shared.as_ref().filter(|_| !self.fallen_back()) {
            match shared.check(key, quota, cost).await {
                Ok(decision) => return decision,
                Err(away) => self.fall_back(&away),
            }
        }
        self.0.alone.check(key, quota, cost)
    }

    /// Whether Redis is configured but away, so that limits hold for this process alone.
    #[must_use]
    pub fn fallen_back(&self) -> bool {
        self.0.away.load(Ordering::Acquire)
    }

    /// From now on this process answers alone, until a probe in the background finds Redis well again.
    fn fall_back(&self, away: &crate::redis::Away) {
        if self.0.away.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::warn!(cause = %away, "redis is away: rate limits hold per process until it returns");
        metrics::gauge!("postroad_rate_limit_fallback").set(1.0);
        metrics::counter!("postroad_rate_limit_fallbacks_total").increment(1);
        let inner = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PROBE_EVERY).await;
                // The limiter itself may be gone: then nobody waits for Redis.
                let Some(inner) = inner.upgrade() else {
                    return;
                };
                let Some(shared) = &inner.shared else {
                    return;
                };
                if shared.probe().await.is_ok() {
                    inner.away.store(false, Ordering::Release);
                    tracing::info!("redis is back: rate limits are shared again");
                    metrics::gauge!("postroad_rate_limit_fallback").set(0.0);
                    return;
                }
            }
        });
    }
}
