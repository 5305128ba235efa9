//! A collector of our own: spans arrive, and one made from a `traceparent` belongs to that trace.
#![expect(clippy::unwrap_used, reason = "a test")]

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use telemetry::{Format, Otlp, Settings, current_trace_id, current_traceparent, set_parent};
use tracing::Instrument;

type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

async fn collect(State(received): State<Received>, headers: HeaderMap, body: Bytes) {
    let token = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    received.lock().unwrap().push((token.unwrap_or_default(), body.to_vec()));
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_the_collector_and_a_trace_passes_through_the_queue() {
    let received = Received::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let app = Router::new().route("/v1/traces", post(collect)).with_state(received.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });

    let otlp = Otlp {
        endpoint,
        headers: vec![("authorization".into(), "Bearer sesame".into())],
        timeout: Duration::from_secs(10),
        resource_attributes: vec![("deployment.environment.name".into(), "acceptance".into())],
        sample_ratio: 1.0,
    };
    assert!(!format!("{otlp:?}").contains("sesame"));
    let settings = Settings {
        service_name: "postroad-test".into(),
        service_version: "0.0.0",
        filter: "info".into(),
        format: Format::Json,
        otlp: Some(otlp),
    };
    let guard = telemetry::init(&settings).unwrap();
    assert!(matches!(telemetry::init(&settings), Err(telemetry::Error::Twice)));

    // What the listener does: a span, whose context is stored with the message.
    let stored = async { current_traceparent().unwrap() }
        .instrument(tracing::info_span!("smtp-session"))
        .await;
    let trace_id = stored.split('-').nth(1).unwrap().to_owned();
    // What the worker does, perhaps days later and elsewhere.
    let attempt = tracing::info_span!("delivery-attempt");
    set_parent(&attempt, &stored);
    async {
        assert_eq!(current_trace_id().as_ref(), Some(&trace_id));
        tracing::info!("delivered");
    }
    .instrument(attempt)
    .await;
    // Garbage is ignored: the span begins a trace of its own.
    let garbage = tracing::info_span!("garbage");
    set_parent(&garbage, "00-zz-1-1\r\nx");
    assert_ne!(garbage.in_scope(current_trace_id).unwrap(), trace_id);
    assert_eq!(current_traceparent(), None, "outside every span");

    metrics::histogram!("postroad_attempt_seconds").record(0.2);
    metrics::counter!("postroad_attempts_total", "outcome" => "delivered").increment(1);
    let text = guard.metrics().render();
    assert!(
        text.contains("# HELP postroad_attempts_total Delivery attempts, by outcome."),
        "{text}"
    );
    assert!(text.contains("postroad_attempts_total{outcome=\"delivered\"} 1"), "{text}");
    assert!(text.contains("postroad_attempt_seconds_bucket{le=\"0.25\"} 1"), "{text}");

    guard.shutdown().await;
    let received = received.lock().unwrap();
    assert!(!received.is_empty() && received.iter().all(|(token, _)| token == "Bearer sesame"));
    let bodies: Vec<u8> = received.iter().flat_map(|(_, body)| body.clone()).collect();
    for part in ["smtp-session", "delivery-attempt", "postroad-test", "service.version", "acceptance"] {
        assert!(contains(&bodies, part.as_bytes()), "{part} did not arrive");
    }
    let id: Vec<u8> = (0..16)
        .map(|octet| u8::from_str_radix(&trace_id[octet * 2..octet * 2 + 2], 16).unwrap())
        .collect();
    let carried = bodies.windows(16).filter(|window| *window == id).count();
    assert_eq!(carried, 2, "session and attempt share the trace");
}
