//! From a program's settings to what the listener works with, for the listener as a program of its own.

use std::sync::Arc;

use anyhow::Context as _;
use auth::secrets::{Purpose, Secrets};
use auth::smtp_credentials::SmtpCredentials;
use config::{Config, ExposeSecret as _, Mode};
use intake::{BatchLimits, Intake, Wake};
use mail::return_path::ReturnPaths;
use rate_limit::{Limiter, RedisSettings};
use service::Context;

use crate::{Deps, Listeners, run};

/// Runs the listener until the context's stop.
///
/// # Errors
/// When the secret key is not the database's, an address cannot be bound, or [`run`] cannot be set up.
pub async fn start(context: Context) -> anyhow::Result<()> {
    let Context {
        config,
        pool,
        secret_key,
        stop,
        ..
    } = context;
    let secrets = Arc::new(Secrets::new(&secret_key));
    auth::secrets::verify_instance(&pool, &secrets).await?;
    let wake = Wake::default();
    let announcing = tokio::spawn(intake::announce(wake.clone(), pool.clone(), stop.clone()));
    let return_paths = ReturnPaths::new(secrets.key(Purpose::ReturnPath));
    let intake = Arc::new(Intake::new(pool.clone(), intake_settings(&config)?, return_paths, wake));
    let credentials = SmtpCredentials::new(pool, secrets);
    let limiter = limiter(&config)?;
    let listeners = Listeners::bind(&config.smtp)?;
    run(
        Deps {
            config,
            intake,
            credentials,
            limiter,
        },
        listeners,
        stop,
    )
    .await?;
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
    let redis = &config.redis;
    match &redis.url {
        Some(url) => {
            let settings = RedisSettings {
                url: url.expose_secret(),
                max_connections: redis.max_connections,
                timeout: redis.timeout,
            };
            Limiter::redis(settings).context("REDIS_URL")
        }
        None => Ok(Limiter::in_process()),
    }
}
