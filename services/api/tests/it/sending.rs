//! Sending: what is accepted, what is refused, and that a refusal leaves nothing behind.

use crate::world::{World, assert_error, message, request, with_headers};
use axum::body::Body;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use store::PgPool;

async fn ready(pool: PgPool) -> World {
    let world = World::new(pool).await;
    world.domain(&world.a, "sender.test").await;
    world
}

fn changed(changes: &Value) -> Value {
    let mut body = message();
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_message_with_everything_is_accepted_and_its_bytes_are_kept(pool: PgPool) {
    let world = ready(pool).await;
    let sent = world
        .post(
            "/messages",
            json!({ "from": "App <app@sender.test>", "to": "Ann <ann@rcpt.test>", "cc": ["bob@rcpt.test"], "bcc": ["eve@rcpt.test", "ANN@rcpt.test"],
                "reply_to": "help@sender.test", "subject": "Grüße €", "text": "plain", "html": "<p>html</p>", "headers": { "X-Order": "17" },
                "attachments": [{ "filename": "ü.txt", "content": BASE64_STANDARD.encode(b"attached"), "content_type": "text/plain" }],
                "tags": ["welcome"], "metadata": { "order": 17 }, "stream": "bulk" }),
        )
        .await
        .ok(202);
    let addresses: Vec<_> = sent["recipients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["address"].as_str().unwrap())
        .collect();
    assert_eq!(addresses, ["ann@rcpt.test", "bob@rcpt.test", "eve@rcpt.test"]);
    let id = sent["id"].as_str().unwrap();
    let shown = world.get(&format!("/messages/{id}")).await.ok(200);
    for (member, value) in [
        ("direction", json!("outbound")),
        ("via", json!("api")),
        ("status", json!("queued")),
        ("subject", json!("Grüße €")),
        ("stream", json!("bulk")),
        ("tags", json!(["welcome"])),
        ("metadata", json!({ "order": 17 })),
        ("recipient_count", json!(3)),
    ] {
        assert_eq!(shown[member], value, "{member}");
    }
    let kinds: Vec<_> = shown["recipients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["to", "cc", "bcc"]);
    assert!(shown["recipients"][0]["next_attempt_at"].is_string() && shown["recipients"][0]["attempts"] == 0);
    let content = world.get(&format!("/messages/{id}/content")).await;
    assert_eq!(content.header("content-type"), "message/rfc822");
    let text = String::from_utf8(content.bytes).unwrap();
    // ASSURANCE I05
    assert!(
        text.contains("X-Order: 17\r\n") && text.contains("Received: ") && !text.contains("eve@rcpt.test"),
        "{text}"
    );
    let events = world.get(&format!("/messages/{id}/events")).await.ok(200);
    assert_eq!(events["data"][0]["type"], "message.queued");
    assert_eq!(world.get(&format!("/messages/{id}/attempts")).await.ok(200)["data"], json!([]));
}

#[sqlx::test(migrations = "../../migrations")]
async fn every_bad_request_names_its_field_and_sends_nothing(pool: PgPool) {
    // ASSURANCE I01, I02, I03
    let world = ready(pool).await;
    let many: Vec<String> = (0..1001).map(|number| format!("u{number}@rcpt.test")).collect();
    for (changes, field) in [
        (json!({ "from": null }), "from"),
        (json!({ "from": "nobody" }), "from"),
        (json!({ "from": "a@sender.test, b@sender.test" }), "from"),
        (json!({ "to": [] }), "to"),
        (json!({ "to": null }), "to"),
        (json!({ "to": ["not an address"] }), "to[0]"),
        (json!({ "to": ["ann@rcpt.test", "a@b> SIZE=1"] }), "to[1]"),
        (json!({ "to": many }), "to"),
        (json!({ "cc": many[..500], "bcc": many[500..] }), "to"),
        (json!({ "bcc": "x\r\n@rcpt.test" }), "bcc"),
        (json!({ "subject": "a\r\nBcc: x@rcpt.test" }), "subject"),
        (json!({ "subject": "a\u{0}b" }), "body"),
        (json!({ "headers": { "X-A\r\nBcc": "x" } }), "headers.X-A??Bcc"),
        (json!({ "headers": { "X-A": "b\nBcc: x@rcpt.test" } }), "headers.X-A"),
        (json!({ "headers": { "Received": "from x" } }), "headers.Received"),
        (json!({ "headers": { "Bcc": "x@rcpt.test" } }), "headers.Bcc"),
        (
            json!({ "attachments": [{ "filename": "a", "content": "%%%" }] }),
            "attachments[0].content",
        ),
        (
            json!({ "attachments": [{ "filename": "a\r\nb", "content": "" }] }),
            "attachments[0].filename",
        ),
        (
            json!({ "attachments": [{ "content": "", "path": "/etc/passwd" }] }),
            "attachments[0].path",
        ),
        (json!({ "surprise": 1 }), "surprise"),
        (json!({ "tags": ["a\nb"] }), "tags[0]"),
        (json!({ "tags": vec!["x"; 21] }), "tags"),
        (json!({ "metadata": [] }), "metadata"),
        (json!({ "metadata": { "x": "y".repeat(20_000) } }), "metadata"),
        (json!({ "stream": "mine" }), "stream"),
        (json!({ "scheduled_at": "2999-01-01T00:00:00Z" }), "scheduled_at"),
        (json!({ "scheduled_at": "tomorrow" }), "scheduled_at"),
        (json!({ "expires_at": "2020-01-01T00:00:00Z" }), "expires_at"),
    ] {
        let answer = world.post("/messages", changed(&changes)).await;
        assert_error(&answer, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.fields().contains(&field), "{changes}: {}", answer.json);
    }
    assert_eq!(world.get("/messages").await.ok(200)["data"], json!([]));
}

#[sqlx::test(migrations = "../../migrations")]
async fn only_a_verified_domain_of_ones_own_sends(pool: PgPool) {
    let world = ready(pool).await;
    world.post("/domains", json!({ "name": "pending.test" })).await.ok(201);
    for from in ["ceo@bank.test", "app@pending.test", "app@sub.sender.test"] {
        let answer = world.post("/messages", changed(&json!({ "from": from }))).await;
        assert_eq!(
            (answer.status, answer.code(), answer.fields()),
            (403, "domain_not_verified", vec!["from"]),
            "{from}"
        );
    }
    let theirs = world.call(&world.b.key, "POST", "/messages", message()).await;
    assert_eq!((theirs.status, theirs.code()), (403, "domain_not_verified"));
    let limited = world.key(&["messages.send"], &["other.test"]).await;
    let answer = world.call(&limited, "POST", "/messages", message()).await;
    assert_eq!((answer.status, answer.code()), (403, "sender_not_allowed"));
    let reader = world.key(&["messages.read"], &[]).await;
    let answer = world.call(&reader, "POST", "/messages", message()).await;
    assert_eq!((answer.status, answer.code()), (403, "insufficient_scope"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_batch_answers_each_message_in_order(pool: PgPool) {
    let world = ready(pool).await;
    let batch = json!([
        message(),
        changed(&json!({ "from": "ceo@bank.test" })),
        { "surprise": 1 },
        17,
        changed(&json!({ "to": "zoe@rcpt.test" })),
    ]);
    let answer = world.post("/messages/batch", batch).await;
    assert_eq!(answer.header("x-ratelimit-remaining"), "595");
    let data = answer.ok(202)["data"].as_array().unwrap().clone();
    let outcome = |item: &Value| match item["error"]["status"].as_u64() {
        Some(status) => status,
        None => {
            if item["id"].is_string() {
                202
            } else {
                0
            }
        }
    };
    assert_eq!(data.iter().map(outcome).collect::<Vec<_>>(), [202, 403, 422, 422, 202]);
    assert_eq!(data[4]["recipients"][0]["address"], "zoe@rcpt.test");
    for body in [json!([]), json!(vec![json!({}); 501]), json!({})] {
        assert_eq!(world.post("/messages/batch", body).await.status, 422);
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_complete_message_is_sent_as_it_is(pool: PgPool) {
    let world = ready(pool).await;
    let raw = "From: app@sender.test\r\nTo: list@rcpt.test\r\nSubject: raw\r\nMessage-ID: <1@sender.test>\r\n\r\nbody\r\n..\r\n";
    let encoded =
        json!({ "from": "app@sender.test", "to": ["ann@rcpt.test", "bob@rcpt.test"], "raw": BASE64_STANDARD.encode(raw), "tags": ["r"] });
    let sent = world.post("/messages/raw", encoded.clone()).await.ok(202);
    let id = sent["id"].as_str().unwrap();
    let shown = world.get(&format!("/messages/{id}")).await.ok(200);
    assert_eq!(
        (shown["message_id"].as_str(), shown["subject"].as_str()),
        (Some("<1@sender.test>"), Some("raw"))
    );
    let content = world.get(&format!("/messages/{id}/content")).await;
    assert!(content.bytes.ends_with(b"\r\n\r\nbody\r\n..\r\n"));

    let rfc822 = |query: &str, body: &'static str| {
        let builder = Request::post(format!("/api/v1/messages/raw?{query}")).header("content-type", "message/rfc822");
        builder
            .header("authorization", format!("Bearer {}", world.a.key))
            .body(Body::from(body))
            .unwrap()
    };
    let unix = "From: app@sender.test\nSubject: unix\n\nbody\n";
    let sent = world
        .send(rfc822(
            "from=app@sender.test&to=ann@rcpt.test,bob@rcpt.test&to=eve%40rcpt.test",
            unix,
        ))
        .await
        .ok(202);
    assert_eq!(sent["recipients"].as_array().unwrap().len(), 3);
    for (query, body, field) in [
        ("to=ann@rcpt.test", unix, "from"),
        ("from=app@sender.test", unix, "to"),
        ("from=app@sender.test&to=x", unix, "to"),
        ("from=app@sender.test&to=a@rcpt.test&cc=b@rcpt.test", unix, "cc"),
        ("from=app@sender.test&to=a@rcpt.test", "", "raw"),
    ] {
        let answer = world.send(rfc822(query, body)).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field]), "{query}");
    }
    // ASSURANCE D24: what would smuggle a second message never enters
    for body in [
        "From: app@sender.test\r\n\r\nx\n.\n",
        "From: app@sender.test\r\n\r\nx\r.\r",
        "From: app@sender.test\r\n\r\nx\0\r\n",
    ] {
        let answer = world.send(rfc822("from=app@sender.test&to=a@rcpt.test", body)).await;
        assert_eq!((answer.status, answer.code()), (422, "invalid_message"), "{body:?}");
    }
    for change in [
        json!({ "raw": "%%%" }),
        json!({ "raw": "" }),
        json!({ "to": [] }),
        json!({ "from": "" }),
        json!({ "subject": "x" }),
    ] {
        let mut body = encoded.clone();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        assert_eq!(world.post("/messages/raw", body).await.status, 422, "{change}");
    }
    let forged =
        json!({ "from": "app@sender.test", "to": "a@rcpt.test", "raw": BASE64_STANDARD.encode("From: ceo@bank.test\r\n\r\nx\r\n") });
    assert_eq!(world.post("/messages/raw", forged).await.status, 403);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_large_attachment_passes_and_a_larger_one_does_not(pool: PgPool) {
    let world = ready(pool).await;
    let with = |octets: usize| {
        let content = BASE64_STANDARD.encode(vec![7; octets]);
        changed(&json!({ "attachments": [{ "filename": "a.bin", "content": content }] }))
    };
    world.post("/messages", with(1024 * 1024)).await.ok(202);
    let answer = world.post("/messages", with(2 * 1024 * 1024)).await;
    assert_eq!((answer.status, answer.code()), (413, "message_too_large"));
    // ASSURANCE API4: longer than any body may be, by its own word or without one
    let declared = with_headers(
        request(&world.a.key, "POST", "/messages", message()),
        &[("content-length", "31457281")],
    );
    let builder = Request::post("/api/v1/messages").header("authorization", format!("Bearer {}", world.a.key));
    let endless = builder.body(Body::from(vec![b' '; 30 * 1024 * 1024 + 1])).unwrap();
    for call in [declared, endless] {
        let answer = world.send(call).await;
        assert_eq!((answer.status, answer.code()), (413, "body_too_large"));
    }
}
