//! postroad-api: the HTTP interface, `/api/v1` and its documentation.
//!
//! Promises: a 202 is given only after the message is committed; another organization's things are 404; unknown members and parameters
//! are refused; every answer, whoever gives it, carries a request id and the state of the caller's rate limit; a fault of ours is a 5xx
//! that says nothing but the request id. Conventions are in `docs/api-design.md`, the contract in the OpenAPI document.
//!
//! It delivers nothing and looks up no recipients: that is the worker's.

mod access;
pub mod app;
mod cookies;
mod docs;
mod error;
mod extract;
mod idempotency;
mod layers;
mod paging;
mod resources;
pub mod routes;
mod start;

use app::{App, Settings};
use auth::{api_keys::ApiKeys, passwords::Passwords, secrets::Secrets, sessions::Sessions};
use config::Config;
use error::{ApiError, FieldError};
use intake::Intake;
use rate_limit::Limiter;
use std::{net::SocketAddr, sync::Arc};
use store::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use start::{bind, start};

/// Everything the service works with, built once by whoever starts it.
#[derive(Clone)]
pub struct Deps {
    /// The settings.
    pub config: Arc<Config>,
    /// The database.
    pub pool: PgPool,
    /// The door for messages.
    pub intake: Arc<Intake>,
    /// Answers name look-ups.
    pub resolver: Arc<dyn dns::Resolver>,
    /// Keys under the instance's secret.
    pub secrets: Arc<Secrets>,
    /// Counts requests.
    pub limiter: Limiter,
    /// How this process is doing.
    pub readiness: health::Readiness,
}

impl std::fmt::Debug for Deps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deps").finish_non_exhaustive()
    }
}

/// Serves until stopped, then finishes the requests in hand; a client that does not take its answer is not waited for beyond the grace.
///
/// # Errors
/// When the settings cannot be used or the listener fails.
pub async fn run(deps: Deps, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let patience = deps.config.shutdown.grace.mul_f64(0.8);
    let app = Arc::new(app(deps));
    let service = routes::router(app).into_make_service_with_connect_info::<SocketAddr>();
    tracing::info!(%address, "serving HTTP");
    let stopping = stop.clone();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stopping.cancelled_owned());
    let given_up = async {
        stop.cancelled().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        ended = serving.into_future() => ended?,
        () = given_up => tracing::warn!("requests still open at the end of the grace are broken off"),
    }
    Ok(())
}

/// What the handlers work with, from what the process has.
#[must_use]
pub fn app(deps: Deps) -> App {
    let Deps {
        config,
        pool,
        intake,
        resolver,
        secrets,
        limiter,
        readiness,
    } = deps;
    App {
        api_keys: ApiKeys::new(pool.clone(), Arc::clone(&secrets)),
        sessions: Sessions::new(pool.clone(), Passwords::default()).with_lifetime(config.api.session_lifetime),
        settings: Settings::of(&config),
        pool,
        secrets,
        intake,
        resolver,
        limiter,
        readiness,
    }
}
