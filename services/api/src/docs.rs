//! The API described to programs (`/api/v1/openapi.json`) and to people (`/docs`).
//!
//! Everything the page needs comes from this binary: no CDN, no fonts of others, no proxy. It runs no inline script, so that its content
//! security policy need not allow any.

use crate::{app::App, routes};
use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use http::{HeaderName, StatusCode, header};
use std::sync::{Arc, OnceLock};
use utoipa_axum::{router::OpenApiRouter, routes};

const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Postroad API</title>\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"></head>\
    <body><div id=\"app\"></div><script src=\"/docs/scalar.js\"></script><script src=\"/docs/start.js\"></script></body></html>\n";

const START: &str = "Scalar.createApiReference('#app', {url: '/api/v1/openapi.json', withDefaultFonts: false, telemetry: false, \
    agent: {disabled: true}, mcp: {disabled: true}, hideClientButton: true, proxyUrl: ''});\n";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const JAVASCRIPT: (HeaderName, &str) = (header::CONTENT_TYPE, "text/javascript; charset=utf-8");
const FOR_A_DAY: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=86400");

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "docs", security(()), responses((status = 200, content_type = "application/json")))]
async fn document() -> Response {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let body = DOCUMENT.get_or_init(|| serde_json::to_vec(&routes::openapi()).unwrap_or_default().into());
    ([(header::CONTENT_TYPE, "application/json")], body.clone()).into_response()
}

/// This document, for people.
#[utoipa::path(get, path = "/docs", tag = "docs", security(()), responses((status = 200, content_type = "text/html")))]
async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, PAGE).into_response()
}

/// The page's start.
#[utoipa::path(get, path = "/docs/start.js", tag = "docs", security(()), responses((status = 200, content_type = "text/javascript")))]
async fn start() -> Response {
    ([JAVASCRIPT, FOR_A_DAY], START).into_response()
}

/// The page's program.
#[utoipa::path(get, path = "/docs/scalar.js", tag = "docs", security(()), responses((status = 200, content_type = "text/javascript")))]
async fn program() -> Response {
    match scalar_api_reference::get_asset("scalar.js") {
        Some(script) => ([JAVASCRIPT, FOR_A_DAY], script).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The route of the document, below the API's base.
pub(crate) fn document_router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(document))
}

/// The routes of the page.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(page))
        .routes(routes!(start))
        .routes(routes!(program))
}
