//! The beginning of the three services in one process. Between them there is the database, and one hint: intake tells the worker which lanes
//! have something new.

use anyhow::Context as _;
use assembly::Assembly;
use auth::smtp_credentials::SmtpCredentials;
use service::{Context, Parts};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Begins SMTP, API and worker. `alone`: no other process can be working on this database.
///
/// # Errors
/// When an address is taken, or a service cannot be set up from these settings.
pub(crate) async fn begin(context: &Context, parts: &mut Parts, assembly: &Assembly, alone: bool) -> anyhow::Result<()> {
    let config = &assembly.config;
    // Addresses first: one that is taken ends the program before anything runs.
    let smtp_listeners = postroad_smtp::Listeners::bind(&config.smtp)?;
    let api_listener = TcpListener::bind(config.api.listen)
        .await
        .with_context(|| format!("POSTROAD_API__LISTEN: listening on {}", config.api.listen))?;

    let smtp = postroad_smtp::Deps {
        config: Arc::clone(config),
        intake: Arc::clone(&assembly.intake),
        credentials: SmtpCredentials::new(assembly.pool.clone(), Arc::clone(&assembly.secrets)),
        limiter: assembly.limiter.clone(),
    };
    let api = postroad_api::Deps {
        config: Arc::clone(config),
        pool: assembly.pool.clone(),
        intake: Arc::clone(&assembly.intake),
        resolver: Arc::clone(&assembly.resolver),
        secrets: Arc::clone(&assembly.secrets),
        limiter: assembly.limiter.clone(),
        readiness: assembly.readiness.clone(),
    };
    let worker = postroad_worker::Deps {
        assembly: assembly.clone(),
        alone,
    };
    parts.spawn("smtp", postroad_smtp::run(smtp, smtp_listeners, context.stop.clone()));
    parts.spawn("api", postroad_api::run(api, api_listener, context.stop.clone()));
    parts.spawn("worker", postroad_worker::run(worker, context.stop.clone()));
    Ok(())
}
