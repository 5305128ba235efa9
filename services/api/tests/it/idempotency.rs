//! A repeated request is answered as the first one was.

use crate::world::{World, message, request, with_headers};
use serde_json::{Value, json};
use store::PgPool;

impl World {
    async fn keyed(&self, key: &str, path: &str, body: Value) -> crate::world::Answer {
        self.send(with_headers(request(&self.a.key, "POST", path, body), &[("idempotency-key", key)]))
            .await
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_creation_is_repeated_byte_for_byte_even_when_it_shows_a_secret(pool: PgPool) {
    let world = World::new(pool).await;
    for (path, body) in [
        ("/smtp-credentials", json!({ "name": "app" })),
        ("/api-keys", json!({ "name": "app", "scopes": ["messages.send"] })),
        ("/domains", json!({ "name": "sender.test" })),
        ("/suppressions", json!({ "address": "a@rcpt.test" })),
    ] {
        let first = world.keyed("same", path, body.clone()).await;
        let second = world.keyed("same", path, body.clone()).await;
        assert_eq!((first.status, second.status), (201, 201), "{path}: {}", second.json);
        assert_eq!(first.bytes, second.bytes, "{path}");
        assert_eq!(
            (first.header("idempotency-replayed"), second.header("idempotency-replayed")),
            ("", "true")
        );
        let mut other = body;
        other["name"] = json!("other.test");
        if path != "/suppressions" {
            let reused = world.keyed("same", path, other).await;
            assert_eq!((reused.status, reused.code()), (409, "idempotency_key_reused"), "{path}");
        }
    }
    assert_eq!(world.get("/smtp-credentials").await.ok(200)["data"].as_array().unwrap().len(), 1);
    let theirs = with_headers(
        request(&world.b.key, "POST", "/smtp-credentials", json!({ "name": "other" })),
        &[("idempotency-key", "same")],
    );
    assert_eq!(world.send(theirs).await.header("idempotency-replayed"), "");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_failed_request_leaves_its_key_free(pool: PgPool) {
    let world = World::new(pool).await;
    assert_eq!(world.keyed("k", "/suppressions", json!({ "address": "x" })).await.status, 422);
    world.post("/suppressions", json!({ "address": "a@rcpt.test" })).await.ok(201);
    assert_eq!(
        world.keyed("k", "/suppressions", json!({ "address": "a@rcpt.test" })).await.status,
        409
    );
    assert_eq!(
        world.keyed("k", "/suppressions", json!({ "address": "b@rcpt.test" })).await.status,
        201
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_message_is_sent_once_however_often_it_is_asked_for(pool: PgPool) {
    let world = World::new(pool).await;
    world.domain(&world.a, "sender.test").await;
    let answers = futures_util::future::join_all((0..8).map(|_| world.keyed("order-17", "/messages", message()))).await;
    let again = world.keyed("order-17", "/messages", message()).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, "true"));
    for answer in &answers {
        assert!(matches!(answer.status, 202 | 409), "{}", answer.json);
        assert!(
            answer.status == 409 || answer.bytes == again.bytes,
            "{} {}",
            answer.json,
            again.json
        );
    }
    let mut other = message();
    other["text"] = json!("other");
    let reused = world.keyed("order-17", "/messages", other).await;
    assert_eq!((reused.status, reused.code()), (409, "idempotency_key_reused"));
    assert_eq!(world.get("/messages").await.ok(200)["data"].as_array().unwrap().len(), 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_batch_is_repeated_as_a_whole(pool: PgPool) {
    let world = World::new(pool).await;
    world.domain(&world.a, "sender.test").await;
    let batch = json!([message(), { "from": "x" }, message()]);
    let first = world.keyed("batch", "/messages/batch", batch.clone()).await;
    let second = world.keyed("batch", "/messages/batch", batch).await;
    assert_eq!(
        (first.status, second.status, second.header("idempotency-replayed")),
        (202, 202, "true"),
        "{}",
        first.json
    );
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(world.get("/messages").await.ok(200)["data"].as_array().unwrap().len(), 2);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_that_is_none_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    let long = "x".repeat(257);
    for key in ["", long.as_str()] {
        let answer = world.keyed(key, "/suppressions", json!({ "address": "a@rcpt.test" })).await;
        assert_eq!((answer.status, answer.fields()), (422, vec!["Idempotency-Key"]));
    }
    world
        .keyed(&"x".repeat(256), "/suppressions", json!({ "address": "a@rcpt.test" }))
        .await
        .ok(201);
}
