//! Whether this instance is well. Strangers learn yes or no; what is wrong is for administrators.

use crate::{ApiError, access::Caller, app::App};
use auth::scopes::Scope;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// How the instance is doing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `healthy`, `degraded` (works, with something missing) or `unhealthy`.
    #[schema(value_type = String)]
    status: health::Status,
}

/// How each part is doing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetailedHealth {
    /// The worst of them.
    #[schema(value_type = String)]
    status: health::Status,
    /// Each part.
    components: Vec<Component>,
}

/// How one part is doing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Component {
    /// Its name.
    name: String,
    /// `healthy`, `degraded` or `unhealthy`.
    #[schema(value_type = String)]
    status: health::Status,
    /// How long it took to answer.
    latency_ms: f64,
    /// What is wrong; only for operators of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Whether the instance can do its work.
#[utoipa::path(get, path = "/health", tag = "health", security(()),
    responses((status = 200, body = Health), (status = 503, body = Health)))]
async fn whole(app: State<Arc<App>>) -> Response {
    readiness(app).await
}

/// Whether the process runs. Asks nobody.
#[utoipa::path(get, path = "/health/liveness", tag = "health", security(()), responses((status = 200, body = Health)))]
async fn liveness() -> Json<Health> {
    Json(Health {
        status: health::Status::Healthy,
    })
}

/// Whether work may be sent here.
#[utoipa::path(get, path = "/health/readiness", tag = "health", security(()),
    responses((status = 200, body = Health), (status = 503, body = Health)))]
async fn readiness(State(app): State<Arc<App>>) -> Response {
    let report = app.readiness.report().await;
    (status_of(&report), Json(Health { status: report.status })).into_response()
}

/// How each part is doing.
#[utoipa::path(get, path = "/health/detailed", tag = "health", security(("api_key" = ["admin"])),
    responses((status = 200, body = DetailedHealth), (status = 503, body = DetailedHealth)))]
async fn detailed(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, ApiError> {
    let operator = caller.scopes.allows(Scope::InstanceAdmin);
    if !operator {
        caller.require(Scope::Admin)?;
    }
    let report = app.readiness.report().await;
    let status = status_of(&report);
    let components = report.components.into_iter().map(|part| Component {
        name: part.name.to_owned(),
        status: part.status,
        latency_ms: part.latency_ms,
        message: part.message.filter(|_| operator),
    });
    let view = DetailedHealth {
        status: report.status,
        components: components.collect(),
    };
    Ok((status, Json(view)).into_response())
}

fn status_of(report: &health::Report) -> StatusCode {
    if report.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Whether the instance can do its work, where load balancers look first.
#[utoipa::path(get, path = "/health", tag = "health", security(()), operation_id = "bare_health",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
async fn bare(app: State<Arc<App>>) -> Response {
    readiness(app).await
}

/// The route outside the API's base.
pub(crate) fn bare_router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(bare))
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(whole))
        .routes(routes!(liveness))
        .routes(routes!(readiness))
        .routes(routes!(detailed))
}
