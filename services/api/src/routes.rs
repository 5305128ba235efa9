//! The table of contents: every route, its document, and the layers around them.

use crate::{
    ApiError,
    app::App,
    docs,
    layers::{admission, answers, parameters, security, unread},
    resources::{
        aliases, api_keys, contacts, destinations, domains, events, health, login, me, messages, rules, sender_lists, smtp_credentials,
        suppressions,
    },
};
use axum::{Router, middleware, response::IntoResponse};
use http::StatusCode;
use std::{any::Any, sync::Arc};
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

/// Where the API lives.
pub const BASE: &str = "/api/v1";
/// Where people log in.
pub const LOGIN: &str = "/api/v1/auth/login";

/// Whether a path asks for health: not counted.
pub fn is_health(path: &str) -> bool {
    let rest = path.strip_prefix(BASE).unwrap_or(path);
    matches!(rest, "/health" | "/health/liveness" | "/health/readiness")
}

/// Whether a POST to this path sends mail: counted and measured as such.
pub fn is_send(path: &str) -> bool {
    matches!(path.strip_prefix(BASE), Some("/messages" | "/messages/batch" | "/messages/raw"))
}

/// Whether this is where a mailbox confirms: whoever comes brings a token, and a browser's session has no part in it.
pub fn is_confirmation(path: &str) -> bool {
    let rest = path.strip_prefix(BASE).and_then(|rest| rest.strip_prefix("/destinations/"));
    rest.is_some_and(|rest| rest.split_once('/').is_some_and(|(_, call)| call == "verify"))
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Postroad",
        description = "Mail relay and alias forwarding. Errors are `{\"error\":{\"code\",\"message\",\"fields\",\"request_id\"}}`; lists are \
                       `{\"data\",\"has_more\",\"next\"}`, read on with `?after=`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    modifiers(&Schemes)
)]
struct Document;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key: `pr_…`"));
        components.add_security_scheme("api_key", SecurityScheme::Http(key.build()));
        let cookie = ApiKeyValue::with_description("postroad_session", "A dashboard login; writes need X-CSRF-Token");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

fn documented() -> OpenApiRouter<Arc<App>> {
    let resources = OpenApiRouter::new()
        .merge(health::router())
        .merge(login::router())
        .merge(me::router())
        .merge(api_keys::router())
        .merge(smtp_credentials::router())
        .merge(domains::router())
        .merge(aliases::router())
        .merge(contacts::router())
        .merge(destinations::router())
        .merge(rules::router())
        .merge(sender_lists::router())
        .merge(messages::router())
        .merge(suppressions::router())
        .merge(events::router())
        .merge(docs::document_router());
    OpenApiRouter::with_openapi(Document::openapi())
        .nest(BASE, resources)
        .merge(health::bare_router())
        .merge(docs::router())
}

/// The document of every route.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented().into_openapi()
}

/// The whole service.
pub fn router(app: Arc<App>) -> Router {
    let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, app.settings.request_timeout);
    let (router, document) = documented().split_for_parts();
    let known = Arc::new(parameters::Known::of(&document));
    router
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "route_not_found", "there is no such path"))
        .layer(middleware::from_fn_with_state(known, parameters::layer))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(timeout)
        .layer(security::cors(&app))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), admission::layer))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), security::layer))
        .layer(middleware::from_fn(unread::layer))
        .layer(middleware::from_fn(answers::layer))
        .with_state(app)
}

/// What panicked is logged by the panic hook; the client learns the request id.
fn panicked(_: Box<dyn Any + Send>) -> axum::response::Response {
    ApiError::internal().into_response()
}
