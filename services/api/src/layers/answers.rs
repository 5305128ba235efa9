//! The outermost layer: a request id, a span, metrics, and errors as JSON.
//!
//! The request id is the trace id: of the caller's `traceparent` if it sent a valid one, else a new one; it exists whether or not
//! traces are exported.

use crate::ApiError;
use axum::{
    Json,
    extract::{MatchedPath, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::time::Instant;
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The trace of a request.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    /// 32 hexadecimal digits.
    pub id: String,
    /// W3C traceparent, for what the request sets going.
    pub context: String,
}

/// Wraps every request.
pub(crate) async fn layer(mut request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", request_id = tracing::field::Empty, %method, route);
    let trace = Trace::of(&span, request.headers());
    span.record("request_id", &trace.id);
    request.extensions_mut().insert(trace.clone());
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    response = rendered(response, &trace.id);
    if let Ok(value) = HeaderValue::from_str(&trace.id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    let seconds = began.elapsed().as_secs_f64();
    let labels = [("method", method.to_string()), ("route", route), ("status", status.to_string())];
    metrics::histogram!("postroad_http_request_seconds", &labels).record(seconds);
    span.in_scope(|| tracing::debug!(status, seconds, "answered"));
    response
}

/// Writes the body of an error, whoever made it.
fn rendered(mut response: Response, request_id: &str) -> Response {
    let status = response.status();
    let error = response.extensions_mut().remove::<ApiError>();
    let error = match error {
        Some(error) => error,
        None if status.as_u16() >= 400 && !has_json(response.headers()) => ApiError::of_status(status),
        None => return response,
    };
    let retry_after = error.retry_after;
    let (mut former, _) = response.into_parts();
    let mut rendered = (error.status, Json(error.body(request_id))).into_response();
    for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE] {
        former.headers.remove(name);
    }
    for (name, value) in &former.headers {
        rendered.headers_mut().append(name, value.clone());
    }
    if let Some(wait) = retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        rendered
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if rendered.status() == StatusCode::UNAUTHORIZED {
        rendered
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    rendered
}

fn has_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

impl Trace {
    fn of(request: &tracing::Span, headers: &HeaderMap) -> Self {
        if let Some(parent) = headers.get("traceparent").and_then(|value| value.to_str().ok()) {
            telemetry::set_parent(request, parent);
        }
        let traced = request.in_scope(|| telemetry::current_trace_id().zip(telemetry::current_traceparent()));
        if let Some((id, context)) = traced {
            return Self { id, context };
        }
        let span: u64 = rand::random::<u64>().max(1);
        let id = headers
            .get("traceparent")
            .and_then(|value| trace_id(value.to_str().ok()?))
            .unwrap_or_else(|| format!("{:032x}", rand::random::<u128>().max(1)));
        Self {
            context: format!("00-{id}-{span:016x}-01"),
            id,
        }
    }
}

/// The trace id of a `traceparent` (W3C Trace Context §3.2).
fn trace_id(text: &str) -> Option<String> {
    let mut parts = text.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let hexadecimal = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) && part.bytes().any(|b| b != b'0')
    };
    (version.len() == 2 && version != "ff" && hexadecimal(trace, 32) && hexadecimal(span, 16)).then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_traceparent_gives_the_request_id() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        for text in [
            "",
            "00",
            "00-4bf92f35-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(trace_id(text), None, "{text}");
        }
    }
}
