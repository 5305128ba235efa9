//! What a service is given: the same for a program of its own and for one of three in a process.

use anyhow::Context as _;
use config::{Config, ExposeSecret, SecretString};
use health::{Importance, Readiness};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use store::{Options, PgPool};
use tokio_util::sync::CancellationToken;

/// What a service works with. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Context {
    /// The settings.
    pub config: Arc<Config>,
    /// The database; may be away at any moment.
    pub pool: PgPool,
    /// The instance secret.
    pub secret_key: SecretString,
    /// Where a service registers what it depends on.
    pub readiness: Readiness,
    /// Cancelled when the service must take nothing new and finish what it has.
    pub stop: CancellationToken,
    pub(crate) schema_known: Arc<AtomicBool>,
}

impl Context {
    /// Opens the database lazily and registers its probes. `database.url` and `secret_key` must be set by now. Readiness goes red when
    /// `stop` is cancelled. Inside a tokio runtime.
    ///
    /// # Errors
    /// When one of the two is missing or the URL cannot be read.
    pub fn new(config: Config, stop: CancellationToken) -> anyhow::Result<Self> {
        let url = config.database.url.as_ref().context("DATABASE_URL is not set")?.expose_secret();
        let secret_key = config.secret_key.clone().context("POSTROAD_SECRET_KEY is not set")?;
        let options = Options {
            max_connections: config.database.max_connections,
            acquire_timeout: config.database.acquire_timeout,
            statement_timeout: config.database.statement_timeout,
        };
        let application = config.service.name();
        let pool = store::connect(url, application, options).context("DATABASE_URL cannot be used")?;
        // A connection of its own: a pool that is busy with work must not look like a database that is away.
        let asking = Options {
            max_connections: 1,
            acquire_timeout: Duration::from_millis(1_500),
            statement_timeout: Duration::from_millis(1_500),
        };
        let probes = store::connect(url, &format!("{application}-health"), asking).context("DATABASE_URL cannot be used")?;
        let context = Self {
            config: Arc::new(config),
            pool,
            secret_key,
            readiness: Readiness::new(),
            stop,
            schema_known: Arc::default(),
        };
        context.register_probes(probes);
        context.drain_on_stop();
        Ok(context)
    }

    fn register_probes(&self, probes: PgPool) {
        let (database, durability, schema) = (probes.clone(), probes, self.schema_known.clone());
        self.readiness.register("database", Importance::Required, move || {
            let pool = database.clone();
            async move { store::durability::check(&pool).await.map(|_| ()).map_err(|error| chain(&error)) }
        });
        self.readiness.register("durability", Importance::Required, move || {
            let pool = durability.clone();
            async move {
                match store::durability::check(&pool).await {
                    Ok(faults) if faults.is_empty() => Ok(()),
                    Ok(faults) => Err(faults.join("; ")),
                    Err(_) => Err("unknown while the database is away".into()),
                }
            }
        });
        self.readiness.register("schema", Importance::Required, move || {
            let known = schema.load(Ordering::Acquire);
            async move { if known { Ok(()) } else { Err("not checked yet".into()) } }
        });
    }

    fn drain_on_stop(&self) {
        let (readiness, stop) = (self.readiness.clone(), self.stop.clone());
        tokio::spawn(async move {
            stop.cancelled().await;
            readiness.drain();
        });
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let next = inner.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = inner.source();
    }
    text
}
