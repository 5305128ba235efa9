//! The course of a process: operator's listener, database, parts, stop, drain, farewell.

use crate::{Context, Parts, Process, wait_for_schema};
use anyhow::Context as _;
use store::PgPool;
use telemetry::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Shows the process's health, waits for the database, begins the parts that `start` spawns, and sees them to their end.
///
/// # Errors
/// When the operator's listener cannot be opened, the schema is not the right one, `start` fails, or a part does.
pub async fn run(
    process: Process,
    context: Context,
    start: impl AsyncFnOnce(&Context, &mut Parts) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let closing = CancellationToken::new();
    let outcome = watched(&process, &context, &closing, start).await;
    context.stop.cancel();
    closing.cancel();
    match &outcome {
        Ok(()) => tracing::info!("stopped"),
        Err(fault) => tracing::error!(cause = format!("{fault:#}"), "stopped by a fault"),
    }
    // Whoever still holds a connection did not finish in time: nobody waits for them.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), context.pool.close()).await;
    process.telemetry.shutdown().await;
    outcome
}

async fn watched(
    process: &Process,
    context: &Context,
    closing: &CancellationToken,
    start: impl AsyncFnOnce(&Context, &mut Parts) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config = &context.config;
    let address = config.ops.listen;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("POSTROAD_OPS__LISTEN: listening on {address}"))?;
    let address = listener.local_addr().unwrap_or(address);
    let (metrics, pool) = (process.telemetry.metrics(), context.pool.clone());
    let router = health::router(context.readiness.clone(), move || numbers(&metrics, &pool));
    // It serves until the very end, so that a drain can be watched.
    tokio::spawn(health::serve(listener, router, closing.clone().cancelled_owned()));
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "started: /livez /readyz /metrics");

    if !wait_for_schema(context).await? {
        return Ok(());
    }
    let mut parts = Parts::new(context.stop.clone());
    start(context, &mut parts).await?;
    parts.finish(config.shutdown.grace).await
}

fn numbers(metrics: &Metrics, pool: &PgPool) -> String {
    let (size, idle) = (f64::from(pool.size()), u32::try_from(pool.num_idle()).map_or(0.0, f64::from));
    metrics::gauge!("postroad_database_connections", "state" => "idle").set(idle);
    metrics::gauge!("postroad_database_connections", "state" => "used").set((size - idle).max(0.0));
    metrics.render()
}
