//! Finding messages, and steering those that are not finished.

use crate::world::{World, message};
use serde_json::{Value, json};
use std::time::Duration;
use store::{
    PgPool, incarnations, lanes,
    models::DeliveryStatus,
    queue::{self, Claimed, Finish, Outcome, Want},
};
use uuid::Uuid;

async fn ready(pool: PgPool) -> World {
    let world = World::new(pool).await;
    world.domain(&world.a, "sender.test").await;
    world
}

impl World {
    async fn sent(&self, to: &[&str]) -> String {
        let mut body = message();
        body["to"] = json!(to);
        self.post("/messages", body).await.ok(202)["id"].as_str().unwrap().to_owned()
    }

    /// What a worker would hold after a claim.
    async fn claimed(&self) -> Vec<Claimed> {
        let worker = Uuid::now_v7();
        incarnations::start(&self.pool, worker, "test").await.unwrap();
        let due = lanes::due(&self.pool).await.unwrap();
        let wants: Vec<Want> = due
            .iter()
            .map(|lane| Want {
                lane: lane.id,
                room: 100,
                since: chrono::DateTime::UNIX_EPOCH,
            })
            .collect();
        let mut connection = self.pool.acquire().await.unwrap();
        queue::claim(&mut connection, worker, &wants).await.unwrap()
    }

    async fn finish(&self, claimed: &Claimed, finish: Finish) {
        let outcome = Outcome {
            message: claimed.message,
            number: claimed.number,
            token: claimed.token,
            finish,
            enhanced_code: Some("5.1.1".to_owned()),
            reason: Some("550 no such user".to_owned()),
            suppress: false,
            report: false,
        };
        let mut connection = self.pool.acquire().await.unwrap();
        assert_eq!(queue::finish(&mut connection, &[outcome], &[]).await.unwrap().written, 1);
    }

    async fn statuses(&self, id: &str) -> Vec<String> {
        let shown = self.get(&format!("/messages/{id}")).await.ok(200);
        let recipients = shown["recipients"].as_array().unwrap();
        recipients
            .iter()
            .map(|recipient| recipient["status"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn act(&self, id: &str, action: &str) -> u16 {
        self.post(&format!("/messages/{id}/{action}"), Value::Null).await.status
    }

    async fn kinds(&self, id: &str) -> Vec<String> {
        let events = self.get(&format!("/messages/{id}/events")).await.ok(200);
        events["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn messages_are_found_by_every_filter(pool: PgPool) {
    let world = ready(pool).await;
    let first = world.sent(&["ann@rcpt.test"]).await;
    let mut body = message();
    body["to"] = json!("Bob <bob@rcpt.test>");
    body["subject"] = json!("Invoice 17");
    body["tags"] = json!(["billing"]);
    body["scheduled_at"] = json!(chrono::Utc::now() + chrono::TimeDelta::days(1));
    let second = world.post("/messages", body).await.ok(202);
    assert_eq!(second["recipients"][0]["status"], "scheduled");
    let second = second["id"].as_str().unwrap();
    let soon = (chrono::Utc::now() + chrono::TimeDelta::minutes(1)).format("%Y-%m-%dT%H:%M:%SZ");
    for (query, found) in [
        ("to=BOB@rcpt.test".to_owned(), vec![second]),
        ("to=ann@rcpt.test".to_owned(), vec![first.as_str()]),
        ("to=nobody@rcpt.test".to_owned(), vec![]),
        ("to=nonsense".to_owned(), vec![]),
        ("status=scheduled".to_owned(), vec![second]),
        ("status=queued".to_owned(), vec![&first]),
        ("status=mixed".to_owned(), vec![]),
        ("q=invoice".to_owned(), vec![second]),
        ("q=ANN@".to_owned(), vec![&first]),
        ("q=100%25".to_owned(), vec![]),
        ("tag=billing".to_owned(), vec![second]),
        ("from=app@sender.test".to_owned(), vec![second, &first]),
        ("from=other".to_owned(), vec![]),
        ("direction=outbound".to_owned(), vec![second, &first]),
        ("direction=inbound".to_owned(), vec![]),
        ("since=2020-01-01T00:00:00Z".to_owned(), vec![second, &first]),
        ("until=2020-01-01T00:00:00Z".to_owned(), vec![]),
        (format!("since={soon}"), vec![]),
        (format!("until={soon}"), vec![second, &first]),
        ("captured=true".to_owned(), vec![]),
        ("captured=false".to_owned(), vec![second, &first]),
        ("status=queued&to=bob@rcpt.test".to_owned(), vec![]),
    ] {
        let list = world.get(&format!("/messages?{query}")).await.ok(200);
        let ids: Vec<_> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, found, "{query}");
    }
    for (query, field) in [
        ("status=lost", "status"),
        ("direction=up", "direction"),
        ("since=yesterday", "since"),
        ("captured=perhaps", "captured"),
        ("subject=x", "subject"),
    ] {
        let answer = world.get(&format!("/messages?{query}")).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field]), "{query}: {}", answer.json);
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn recipients_that_disagree_make_a_mixed_message(pool: PgPool) {
    let world = ready(pool).await;
    let id = world.sent(&["ann@rcpt.test", "bob@rcpt.test"]).await;
    let claimed = world.claimed().await;
    assert_eq!(claimed.len(), 2);
    assert_eq!(
        world.statuses(&id).await,
        ["queued", "queued"],
        "while an attempt runs the former status shows"
    );
    world.finish(&claimed[0], Finish::Over(DeliveryStatus::Delivered)).await;
    world.finish(&claimed[1], Finish::Over(DeliveryStatus::Bounced)).await;
    let shown = world.get(&format!("/messages/{id}")).await.ok(200);
    assert_eq!(shown["status"], "mixed");
    let delivered = shown["recipients"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["status"] == "delivered")
        .unwrap();
    assert!(delivered["delivered_at"].is_string() && delivered.get("next_attempt_at").is_none() && delivered["attempts"] == 1);
    for (query, count) in [("mixed", 1), ("delivered", 1), ("bounced", 1), ("queued", 0)] {
        let list = world.get(&format!("/messages?status={query}")).await.ok(200);
        assert_eq!(list["data"].as_array().unwrap().len(), count, "{query}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_message_is_canceled_for_those_it_did_not_reach_yet(pool: PgPool) {
    let world = ready(pool).await;
    let id = world.sent(&["ann@rcpt.test", "bob@other.test"]).await;
    let claimed = world.claimed().await;
    assert_eq!(world.act(&id, "cancel").await, 409, "both are being tried");
    world.finish(&claimed[0], Finish::Retry(Duration::from_secs(600))).await;
    assert_eq!(world.act(&id, "cancel").await, 200);
    world.finish(&claimed[1], Finish::Over(DeliveryStatus::Delivered)).await;
    let mut statuses = world.statuses(&id).await;
    statuses.sort();
    assert_eq!(statuses, ["canceled", "delivered"]);
    assert_eq!(world.act(&id, "cancel").await, 409);
    assert!(world.kinds(&id).await.contains(&"message.canceled".to_owned()));
    assert!(world.claimed().await.is_empty());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_held_message_is_not_tried_until_it_is_released(pool: PgPool) {
    let world = ready(pool).await;
    let id = world.sent(&["ann@rcpt.test"]).await;
    assert_eq!((world.act(&id, "hold").await, world.act(&id, "hold").await), (200, 409));
    assert_eq!(world.statuses(&id).await, ["held"]);
    assert!(world.claimed().await.is_empty());
    assert_eq!((world.act(&id, "release").await, world.act(&id, "release").await), (200, 409));
    assert_eq!(world.statuses(&id).await, ["queued"]);
    assert_eq!(world.claimed().await.len(), 1);
    assert_eq!(world.kinds(&id).await, ["message.queued", "message.held", "message.released"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_retry_brings_back_what_failed_and_hastens_what_waits(pool: PgPool) {
    let world = ready(pool).await;
    let id = world.sent(&["ann@rcpt.test", "bob@rcpt.test", "eve@rcpt.test"]).await;
    let claimed = world.claimed().await;
    world.finish(&claimed[0], Finish::Over(DeliveryStatus::Bounced)).await;
    world.finish(&claimed[1], Finish::Retry(Duration::from_secs(3600))).await;
    world.finish(&claimed[2], Finish::Over(DeliveryStatus::Delivered)).await;
    assert!(world.claimed().await.is_empty());
    assert_eq!(world.act(&id, "retry").await, 200);
    let again = world.claimed().await;
    assert_eq!(again.iter().map(|claim| claim.attempts).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(world.act(&id, "retry").await, 409, "both are being tried");
    for claim in &again {
        world.finish(claim, Finish::Over(DeliveryStatus::Delivered)).await;
    }
    assert_eq!(world.statuses(&id).await, ["delivered", "delivered", "delivered"]);
    assert_eq!(world.act(&id, "retry").await, 409);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_message_is_moved_to_another_time_until_it_was_tried(pool: PgPool) {
    let world = ready(pool).await;
    let id = world.sent(&["ann@rcpt.test"]).await;
    let path = format!("/messages/{id}");
    let key = &world.a.key;
    let later = chrono::Utc::now() + chrono::TimeDelta::days(7);
    let moved = world.call(key, "PATCH", &path, json!({ "scheduled_at": later })).await.ok(200);
    assert_eq!(moved["status"], "scheduled");
    assert!(moved["expires_at"].as_str().unwrap() > later.to_rfc3339().as_str(), "{moved}");
    assert!(world.claimed().await.is_empty());
    world
        .call(key, "PATCH", &path, json!({ "scheduled_at": "2020-01-01T00:00:00Z" }))
        .await
        .ok(200);
    let claimed = world.claimed().await;
    assert_eq!(claimed.len(), 1);
    let refused = world.call(key, "PATCH", &path, json!({ "scheduled_at": later })).await;
    assert_eq!((refused.status, refused.code()), (409, "nothing_to_do"));
    for body in [
        json!({}),
        json!({ "scheduled_at": null }),
        json!({ "scheduled_at": "2999-01-01T00:00:00Z" }),
        json!({ "status": "delivered" }),
    ] {
        assert_eq!(world.call(key, "PATCH", &path, body.clone()).await.status, 422, "{body}");
    }
}
