//! From a program's settings to what every service is built of: the instance's secrets, the door, name look-ups, the limiter.
//!
//! One place, so that three programs and the one that runs all three build them alike. It starts nothing but the door's own task, and knows
//! nothing of what a service does with the parts.

use anyhow::Context as _;
use auth::secrets::{Purpose, Secrets};
use config::{Config, ExposeSecret as _, Mode};
use dns::{HickoryResolver, Resolver};
use health::Readiness;
use intake::{BatchLimits, Intake, Wake};
use mail::return_path::ReturnPaths;
use mailauth::Verifier;
use rate_limit::{Limiter, RedisSettings};
use std::sync::Arc;
use store::PgPool;
use tokio_util::sync::CancellationToken;

/// What a service is built of. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Assembly {
    /// The settings.
    pub config: Arc<Config>,
    /// The database.
    pub pool: PgPool,
    /// Keys under the instance's secret, found to be the database's.
    pub secrets: Arc<Secrets>,
    /// The door by which every message enters.
    pub intake: Arc<Intake>,
    /// Told by the door which lanes have something new. Either a worker of this process listens, or [`Assembly::announce`] tells the others.
    pub wake: Wake,
    /// Answers name look-ups.
    pub resolver: Arc<dyn Resolver>,
    /// Counts requests and failures, in Redis where there is one.
    pub limiter: Limiter,
    /// How this process is doing.
    pub readiness: Readiness,
}

impl std::fmt::Debug for Assembly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembly").finish_non_exhaustive()
    }
}

impl Assembly {
    /// Builds everything. The schema must have been found current.
    ///
    /// # Errors
    /// When the secret key is not the one this database was set up with, the database is away, or a setting cannot be used.
    pub async fn of(context: &service::Context) -> anyhow::Result<Self> {
        let config = Arc::clone(&context.config);
        let secrets = Arc::new(Secrets::new(&context.secret_key));
        secrets.verify_instance(&context.pool).await?;
        let wake = Wake::default();
        let return_paths = ReturnPaths::new(secrets.key(Purpose::ReturnPath));
        let resolver: Arc<dyn Resolver> = Arc::new(resolver(&config)?);
        let intake = Intake::new(context.pool.clone(), intake_settings(&config)?, return_paths, wake.clone())
            .with_verifier(Verifier::new(Arc::clone(&resolver)));
        Ok(Self {
            resolver,
            limiter: limiter(&config)?,
            pool: context.pool.clone(),
            readiness: context.readiness.clone(),
            intake: Arc::new(intake),
            secrets,
            wake,
            config,
        })
    }

    /// Tells the workers of other processes what is new, until stopped: for a process without a worker of its own.
    pub async fn announce(&self, stop: CancellationToken) {
        intake::announce(self.wake.clone(), self.pool.clone(), stop).await;
    }
}

fn intake_settings(config: &Config) -> anyhow::Result<intake::Settings> {
    Ok(intake::Settings {
        hostname: config.smtp.hostname.clone(),
        max_message_bytes: config.smtp.max_message_bytes,
        max_recipients: config.smtp.max_recipients,
        max_hops: config.intake.max_hops,
        batch: BatchLimits {
            messages: config.intake.batch_messages,
            bytes: config.intake.batch_bytes,
            waiting_bytes: config.intake.max_waiting_bytes,
        },
        expire_after: chrono::Duration::from_std(config.delivery.expire_after).context("POSTROAD_DELIVERY__EXPIRE_AFTER")?,
        waive_ownership: config.delivery.mode == Mode::Capture,
    })
}

fn resolver(config: &Config) -> anyhow::Result<HickoryResolver> {
    let configuration = dns::Configuration {
        servers: config.dns.servers.clone(),
        timeout: config.dns.timeout,
        ..dns::Configuration::default()
    };
    HickoryResolver::new(&configuration).context("setting up name look-ups")
}

fn limiter(config: &Config) -> anyhow::Result<Limiter> {
    let redis = &config.redis;
    let Some(url) = &redis.url else { return Ok(Limiter::in_process()) };
    Limiter::redis(RedisSettings {
        url: url.expose_secret(),
        max_connections: redis.max_connections,
        timeout: redis.timeout,
    })
    .context("REDIS_URL")
}
