//! Addresses that are not written to.

use crate::world::{World, message};
use serde_json::{Value, json};
use store::PgPool;

#[sqlx::test(migrations = "../../migrations")]
async fn a_suppressed_address_is_not_written_to_until_it_is_let_go(pool: PgPool) {
    let world = World::new(pool).await;
    world.domain(&world.a, "sender.test").await;
    let made = world.post("/suppressions", json!({ "address": "Ann@RCPT.test" })).await.ok(201);
    assert_eq!(
        (made["address"].as_str(), made["reason"].as_str()),
        (Some("ann@rcpt.test"), Some("manual"))
    );
    let again = world.post("/suppressions", json!({ "address": "ann@rcpt.test" })).await;
    assert_eq!((again.status, again.code()), (409, "already_suppressed"));

    let sent = world.post("/messages", message()).await.ok(202);
    assert_eq!(sent["recipients"][0]["status"], "suppressed");

    let key = &world.a.key;
    assert_eq!(
        world.call(key, "DELETE", "/suppressions/ann@rcpt.test", Value::Null).await.status,
        204
    );
    assert_eq!(
        world.call(key, "DELETE", "/suppressions/ann%40rcpt.test", Value::Null).await.status,
        404
    );
    let sent = world.post("/messages", message()).await.ok(202);
    assert_eq!(sent["recipients"][0]["status"], "queued");
    let kinds = world.get("/events?type=suppression.created,suppression.deleted").await.ok(200);
    let kinds: Vec<_> = kinds["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["suppression.deleted", "suppression.created"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_is_no_address_or_reason_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    for address in ["", "x", "a@b c", "a@b.test\r\n", "a@b.test> SIZE=1"] {
        let answer = world.post("/suppressions", json!({ "address": address })).await;
        assert_eq!((answer.status, answer.fields()), (422, vec!["address"]), "{address:?}");
    }
    let answer = world.get("/suppressions?reason=whim").await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["reason"]));
}
