//! What an orchestrator sees.
#![expect(clippy::unwrap_used, reason = "a test")]

use health::{Importance, Readiness, Status};
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

async fn start(readiness: Readiness) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = health::router(readiness, || "postroad_ready 1\n".into());
    tokio::spawn(health::serve(listener, router, std::future::pending()));
    base
}

async fn get(base: &str, path: &str) -> (u16, Value) {
    let response = reqwest::get(format!("{base}{path}")).await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn liveness_does_not_depend_on_any_probe() {
    let readiness = Readiness::new();
    readiness.register("database", Importance::Required, || async { Err("connection refused".into()) });
    let base = start(readiness).await;
    assert_eq!(get(&base, "/livez").await.0, 200);
    let (code, body) = get(&base, "/readyz").await;
    assert_eq!(
        (code, &body["status"], &body["components"][0]["status"]),
        (503, &"unhealthy".into(), &"unhealthy".into())
    );
    assert_eq!(
        (&body["components"][0]["name"], &body["components"][0]["message"]),
        (&"database".into(), &"connection refused".into())
    );
    assert!(body["components"][0]["latency_ms"].is_number());
}

#[tokio::test]
async fn what_we_can_do_without_only_degrades() {
    let readiness = Readiness::new();
    readiness.register("database", Importance::Required, || async { Ok(()) });
    readiness.register("redis", Importance::Optional, || async { Err("away".into()) });
    let base = start(readiness.clone()).await;
    let (code, body) = get(&base, "/readyz").await;
    assert_eq!((code, &body["status"]), (200, &"degraded".into()));
    readiness.drain();
    let (code, body) = get(&base, "/readyz").await;
    assert_eq!(
        (code, &body["status"], &body["components"][2]["message"]),
        (503, &"unhealthy".into(), &"shutting down".into())
    );
    assert_eq!(get(&base, "/livez").await.0, 200, "a draining process is not to be killed");
}

#[tokio::test]
async fn a_crowd_asks_each_probe_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let readiness = Readiness::new();
    readiness.register("database", Importance::Required, move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    });
    let crowd = (0..50).map(|_| {
        let readiness = readiness.clone();
        tokio::spawn(async move { readiness.report().await.status })
    });
    for one in crowd.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), Status::Healthy);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn probes_that_hang_or_panic_fail_and_do_not_hold_up_each_other() {
    let readiness = Readiness::new();
    readiness.register("hangs", Importance::Required, std::future::pending);
    readiness.register("hangs-too", Importance::Optional, std::future::pending);
    readiness.register("panics", Importance::Optional, || async { panic!("a fault") });
    readiness.register("fine", Importance::Required, || async { Ok(()) });
    let asked = Instant::now();
    let report = readiness.report().await;
    assert!(asked.elapsed() < Duration::from_millis(3_500), "{:?}", asked.elapsed());
    let statuses: Vec<Status> = report.components.iter().map(|component| component.status).collect();
    assert_eq!(statuses, [Status::Unhealthy, Status::Degraded, Status::Degraded, Status::Healthy]);
    assert_eq!(report.components[0].message.as_deref(), Some("no answer within 2 s"));
}

#[tokio::test]
async fn metrics_and_index_are_text() {
    let base = start(Readiness::new()).await;
    let response = reqwest::get(format!("{base}/metrics")).await.unwrap();
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    assert_eq!(response.text().await.unwrap(), "postroad_ready 1\n");
    assert!(reqwest::get(base).await.unwrap().text().await.unwrap().contains("/readyz"));
}
