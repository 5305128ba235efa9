//! The trace's context as text (W3C Trace Context), so that one trace can pass through the queue or an HTTP header.

use opentelemetry::{
    Context,
    propagation::TextMapPropagator,
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::collections::HashMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

fn current() -> Option<SpanContext> {
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

/// The current span as a `traceparent`, to be stored or sent; nothing when no traces are made.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    let span = current()?;
    Some(format!(
        "00-{}-{}-{:02x}",
        span.trace_id(),
        span.span_id(),
        span.trace_flags().to_u8() & 1
    ))
}

/// The id of the current trace, 32 hexadecimal digits; nothing when no traces are made.
#[must_use]
pub fn current_trace_id() -> Option<String> {
    current().map(|span| span.trace_id().to_string())
}

/// Makes the span a child of the one that the `traceparent` names. To be called before the span is entered. Anything malformed is
/// ignored: the text may come from a stranger, and a trace is never worth an error.
pub fn set_parent(span: &Span, traceparent: &str) {
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    if parent.span().span_context().is_valid() {
        // Fails when the span is not traced, or begun already: then it keeps the parent it has.
        let _ = span.set_parent(parent);
    }
}
