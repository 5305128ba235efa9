//! What holds for every call: errors, request ids, limits, strictness, pages.

use crate::world::{World, assert_error, message, request, with_headers};
use axum::body::Body;
use http::{Request, StatusCode};
use rate_limit::Quota;
use serde_json::{Value, json};
use std::time::Duration;
use store::PgPool;

const LIMIT_HEADERS: [&str; 6] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "ratelimit",
    "ratelimit-policy",
    "x-request-id",
];

#[sqlx::test(migrations = "../../migrations")]
async fn every_answer_carries_its_request_id_and_the_state_of_the_limit(pool: PgPool) {
    let world = World::new(pool).await;
    let key = &world.a.key;
    for (call, status) in [
        (request(key, "GET", "/domains", Value::Null), 200),
        (request("", "GET", "/health", Value::Null), 200),
        (request("", "GET", "/domains", Value::Null), 401),
        (request("pr_wrong", "GET", "/domains", Value::Null), 401),
        (request(key, "GET", "/messages/msg_doesnotexist", Value::Null), 404),
        (request(key, "GET", "/nothing/here", Value::Null), 404),
        (request(key, "DELETE", "/health", Value::Null), 405),
        (request(key, "POST", "/domains", json!({})), 422),
        (request(key, "GET", "/domains?surprise=1", Value::Null), 422),
        (request(key, "POST", "/messages?surprise=1", message()), 422),
        (request(key, "GET", "/me?surprise=1", Value::Null), 422),
        (request("", "GET", "/health?surprise=1", Value::Null), 200),
        (
            with_headers(request(key, "POST", "/domains", json!({})), &[("content-length", "99999999")]),
            413,
        ),
    ] {
        let what = format!("{} {}", call.method(), call.uri());
        let answer = world.send(call).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.json);
        for header in LIMIT_HEADERS {
            assert!(!answer.header(header).is_empty(), "{what} has no {header}");
        }
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
        if status >= 400 {
            assert_error(&answer, StatusCode::from_u16(status).unwrap());
        }
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_request_id_is_the_callers_trace_id(pool: PgPool) {
    let world = World::new(pool).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let call = with_headers(request("", "GET", "/health", Value::Null), &[("traceparent", &parent)]);
    assert_eq!(world.send(call).await.header("x-request-id"), trace);
}

#[sqlx::test(migrations = "../../migrations")]
async fn guessing_keys_is_stopped_without_stopping_anybody_else(pool: PgPool) {
    let world = World::new(pool).await;
    let mut refused = None;
    for _ in 0..70 {
        let answer = world.call("pr_wrong", "GET", "/domains", Value::Null).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, 401);
    }
    let refused = refused.expect("guessing went on");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_error(&refused, StatusCode::TOO_MANY_REQUESTS);
    world.get("/domains").await.ok(200);
    world.call("", "GET", "/health", Value::Null).await.ok(200);
    let elsewhere = world.send_from(request("", "GET", "/domains", Value::Null), "198.51.100.9").await;
    assert_eq!(elsewhere.status, 401);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_has_its_own_allowance_for_calls_and_another_for_messages(pool: PgPool) {
    let world = World::with(pool, |settings| {
        settings.authenticated = Quota::new(5, Duration::from_secs(3600));
        settings.sending = Quota::new(3, Duration::from_secs(3600));
    })
    .await;
    for _ in 0..5 {
        world.get("/domains").await.ok(200);
    }
    assert_eq!(world.get("/domains").await.status, 429);
    for left in (0..3).rev() {
        let answer = world.post("/messages", message()).await;
        assert_eq!(
            (answer.status, answer.header("x-ratelimit-remaining")),
            (403, left.to_string().as_str())
        );
        assert!(answer.header("ratelimit").starts_with("\"send\";"));
    }
    assert_eq!(world.post("/messages", message()).await.status, 429);
    assert_eq!(world.call(&world.b.key, "GET", "/domains", Value::Null).await.status, 200);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_forwarded_address_counts_only_from_a_trusted_proxy(pool: PgPool) {
    let world = World::with(pool, |settings| {
        settings.anonymous = Quota::new(1, Duration::from_secs(3600));
        settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    let from = async |peer: &str, forwarded: &str| {
        let call = with_headers(request("", "GET", "/domains", Value::Null), &[("x-forwarded-for", forwarded)]);
        world.send_from(call, peer).await.status
    };
    assert_eq!(from("10.0.0.1", "198.51.100.1").await, 401);
    assert_eq!(
        from("10.0.0.2", "203.0.113.5, 198.51.100.1, 10.0.0.9").await,
        429,
        "the same client by another way"
    );
    assert_eq!(from("10.0.0.1", "198.51.100.2").await, 401);
    assert_eq!(from("192.0.2.77", "198.51.100.3").await, 401);
    assert_eq!(from("192.0.2.77", "198.51.100.4").await, 429, "a stranger's word for its address");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_body_that_is_not_what_was_asked_for_is_refused_by_name(pool: PgPool) {
    let world = World::new(pool).await;
    let raw = |content: &'static [u8], kind: &'static str| {
        let builder = Request::post("/api/v1/domains").header("authorization", format!("Bearer {}", world.a.key));
        builder.header("content-type", kind).body(Body::from(content)).unwrap()
    };
    for (call, status, code) in [
        (raw(b"{", "application/json"), 400, "malformed_json"),
        (raw(b"\xff\xfe", "application/json"), 400, "malformed_json"),
        (raw(b"[]", "application/json"), 422, "invalid_request"),
        (
            raw(br#"{"name":"a.test","status":"active"}"#, "application/json"),
            422,
            "invalid_request",
        ),
        (raw(br#"{"name":"a\u0000.test"}"#, "application/json"), 422, "invalid_request"),
        (raw(br#"{"name":"a.test"}"#, "text/plain"), 415, "unsupported_media_type"),
    ] {
        let answer = world.send(call).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.json);
    }
    let long = json!({ "name": "x".repeat(300 * 1024) });
    assert_eq!(world.post("/domains", long).await.status, 413);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_list_is_read_page_by_page_and_every_row_once(pool: PgPool) {
    let world = World::new(pool).await;
    for number in 0..7 {
        world
            .post("/suppressions", json!({ "address": format!("p{number}@rcpt.test") }))
            .await
            .ok(201);
    }
    let (mut seen, mut path) = (Vec::new(), "/suppressions?limit=3".to_owned());
    loop {
        let page = world.get(&path).await.ok(200);
        let rows = page["data"].as_array().unwrap();
        seen.extend(rows.iter().map(|row| row["address"].as_str().unwrap().to_owned()));
        assert_eq!(page["has_more"], page["next"].is_string());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/suppressions?limit=3&after={next}");
    }
    let newest_first: Vec<_> = (0..7).rev().map(|number| format!("p{number}@rcpt.test")).collect();
    assert_eq!(seen, newest_first);
    for query in [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=-1",
        "after=",
        "after=nonsense",
        "limit=1&limit=2",
        "offset=1",
        "q=%00",
    ] {
        let answer = world.get(&format!("/suppressions?{query}")).await;
        assert_eq!((answer.status, answer.fields().len()), (422, 1), "{query}: {}", answer.json);
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn no_foreign_page_may_read_an_answer(pool: PgPool) {
    let world = World::new(pool).await;
    let origin = [("origin", "https://app.test")];
    let answer = world.send(with_headers(request("", "GET", "/health", Value::Null), &origin)).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_page_that_the_operator_names_may_read_answers(pool: PgPool) {
    let world = World::with(pool, |settings| settings.cors_origins = vec!["https://app.test".to_owned()]).await;
    for (origin, allowed) in [("https://app.test", "https://app.test"), ("https://evil.test", "")] {
        let call = with_headers(request("", "GET", "/health", Value::Null), &[("origin", origin)]);
        assert_eq!(world.send(call).await.header("access-control-allow-origin"), allowed);
    }
    let preflight = with_headers(
        request("", "OPTIONS", "/messages", Value::Null),
        &[("origin", "https://app.test"), ("access-control-request-method", "POST")],
    );
    let answer = world.send(preflight).await;
    assert_eq!((answer.status, answer.header("access-control-allow-credentials")), (200, "true"));
    assert!(!answer.header("x-ratelimit-limit").is_empty());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_database_that_is_away_is_a_503_that_says_when_to_come_back(pool: PgPool) {
    let world = World::new(pool).await;
    world.get("/domains").await.ok(200);
    world.pool.close().await;
    let answer = world.get("/domains").await;
    assert_error(&answer, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(!answer.json.to_string().contains("pool"), "{}", answer.json);
}
