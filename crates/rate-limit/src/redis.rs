//! The limiter that all processes share: one script call per question.

use crate::gcra::{Decision, Quota, decide};
use deadpool_redis::{Config, Pool, PoolConfig, Runtime};
use redis::{Script, aio::ConnectionLike};
use std::time::Duration;

const PREFIX: &str = "postroad:limit:";

pub(crate) struct Shared {
    pool: Pool,
    script: Script,
    timeout: Duration,
}

/// Redis gave no answer in time, or a wrong one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Away {
    #[error("no answer within {0:?}")]
    Slow(Duration),
    #[error("no connection: {0}")]
    Pool(#[from] deadpool_redis::PoolError),
    #[error("{0}")]
    Redis(#[from] redis::RedisError),
}

impl Shared {
    pub(crate) fn new(url: &str, max_connections: usize, timeout: Duration) -> Result<Self, deadpool_redis::CreatePoolError> {
        let mut config = Config::from_url(url);
        config.pool = Some(PoolConfig::new(max_connections));
        Ok(Self {
            pool: config.create_pool(Some(Runtime::Tokio1))?,
            script: Script::new(include_str!("gcra.lua")),
            timeout,
        })
    }

    pub(crate) async fn check(&self, key: &str, quota: Quota, cost: u32) -> Result<Decision, Away> {
        let question = async {
            let mut connection = self.pool.get().await?;
            let (stored, now, _) = ask(&self.script, &mut connection, &format!("{PREFIX}{key}"), quota, cost).await?;
            Ok(decide(stored, now, quota, cost).0)
        };
        tokio::time::timeout(self.timeout, question)
            .await
            .unwrap_or(Err(Away::Slow(self.timeout)))
    }

    /// Whether Redis answers again. Connections made before it went away are not trusted.
    pub(crate) async fn probe(&self) -> Result<(), Away> {
        self.pool.retain(|_, _| false);
        let question = async {
            let mut connection = self.pool.get().await?;
            // Not PING: a server that is read-only, out of memory or still loading answers that.
            ask(
                &self.script,
                &mut connection,
                &format!("{PREFIX}probe"),
                Quota::new(1_000, Duration::from_secs(1)),
                1,
            )
            .await?;
            Ok(())
        };
        let timeout = self.timeout.max(Duration::from_millis(50));
        tokio::time::timeout(timeout, question).await.unwrap_or(Err(Away::Slow(timeout)))
    }
}

/// What was stored, the server's time, and its decision.
async fn ask(
    script: &Script,
    connection: &mut (impl ConnectionLike + Send + Sync),
    key: &str,
    quota: Quota,
    cost: u32,
) -> Result<(Option<u64>, u64, bool), redis::RedisError> {
    let (stored, now, allowed): (i64, u64, u8) = script
        .key(key)
        .arg(quota.price(cost))
        .arg(quota.window())
        .invoke_async(connection)
        .await?;
    Ok((u64::try_from(stored).ok(), now, allowed == 1))
}
