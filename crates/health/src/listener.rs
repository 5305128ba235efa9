//! The operator's listener: `/livez`, `/readyz`, `/metrics`, and an index for whoever opens it in a browser.

use crate::readiness::{Readiness, Status};
use axum::{
    Json, Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde_json::json;
use std::{future::Future, io, sync::Arc};
use tokio::net::TcpListener;

const INDEX: &str = "\
/livez    whether the process lives (restart it when this fails)
/readyz   whether it can do its work (send no work when this fails)
/metrics  Prometheus metrics
";

const FRESH: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// The listener's routes. `metrics` renders the text that Prometheus reads.
pub fn router(readiness: Readiness, metrics: impl Fn() -> String + Send + Sync + 'static) -> Router {
    let metrics = Arc::new(metrics);
    Router::new()
        .route("/", get(async || (FRESH, INDEX)))
        .route("/livez", get(async || (FRESH, Json(json!({ "status": Status::Healthy })))))
        .route("/readyz", get(async move || ready(&readiness).await))
        .route(
            "/metrics",
            get(async move || {
                let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
                (FRESH, kind, metrics()).into_response()
            }),
        )
}

async fn ready(readiness: &Readiness) -> impl IntoResponse + use<> {
    let report = readiness.report().await;
    let status = if report.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, FRESH, Json(report))
}

/// Serves until `stop` resolves.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}
