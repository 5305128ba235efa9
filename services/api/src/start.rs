//! From a program's settings to what the service works with, for the service as a program of its own.

use crate::{Deps, run};
use anyhow::Context as _;
use auth::secrets::{Purpose, Secrets};
use config::{Config, ExposeSecret as _, Mode};
use dns::HickoryResolver;
use intake::{BatchLimits, Intake, Wake};
use mail::return_path::ReturnPaths;
use rate_limit::{Limiter, RedisSettings};
use service::Context;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Serves until the context's stop.
///
/// # Errors
/// When the settings cannot be used, the secret key is not the database's, or the address cannot be bound.
pub async fn start(context: Context) -> anyhow::Result<()> {
    let Context {
        config,
        pool,
        secret_key,
        readiness,
        stop,
        ..
    } = context;
    let secrets = Arc::new(Secrets::new(&secret_key));
    secrets.verify_instance(&pool).await?;
    let listener = TcpListener::bind(config.api.listen)
        .await
        .with_context(|| format!("POSTROAD_API__LISTEN: cannot listen on {}", config.api.listen))?;
    let wake = Wake::default();
    let announcing = tokio::spawn(intake::announce(wake.clone(), pool.clone(), stop.clone()));
    let return_paths = ReturnPaths::new(secrets.key(Purpose::ReturnPath));
    let resolver = HickoryResolver::new(&dns::Configuration {
        servers: config.dns.servers.clone(),
        timeout: config.dns.timeout,
        ..dns::Configuration::default()
    })?;
    let deps = Deps {
        intake: Arc::new(Intake::new(pool.clone(), intake_settings(&config)?, return_paths, wake)),
        resolver: Arc::new(resolver),
        limiter: limiter(&config)?,
        config,
        pool,
        secrets,
        readiness,
    };
    run(deps, listener, stop).await?;
    announcing.await.context("announcing new mail")
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

fn limiter(config: &Config) -> anyhow::Result<Limiter> {
    let Some(url) = &config.redis.url else {
        return Ok(Limiter::in_process());
    };
    let settings = RedisSettings {
        url: url.expose_secret(),
        max_connections: config.redis.max_connections,
        timeout: config.redis.timeout,
    };
    Limiter::redis(settings).context("REDIS_URL")
}
