//! Destinations and their consent, rules and their trial, sender lists.

use crate::world::{World, request};
use axum::body::Body;
use serde_json::{Value, json};
use store::PgPool;

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

impl World {
    /// The link of the newest confirmation mail, without what comes before the path.
    async fn mailed_link(&self) -> String {
        let raw: Vec<u8> = sqlx::query_scalar("select raw from content order by message_id desc limit 1")
            .fetch_one(&self.pool)
            .await
            .unwrap();
        let text = String::from_utf8(raw).unwrap().replace("=\r\n", "").replace("=3D", "=");
        let link = text.lines().find(|line| line.starts_with("http")).unwrap();
        link.split_once("/api/v1").unwrap().1.trim().to_owned()
    }

    async fn verified(&self, id: &str) -> bool {
        self.get(&format!("/destinations/{id}")).await.ok(200)["verified"]
            .as_bool()
            .unwrap()
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_mailbox_confirms_with_the_token_that_only_its_mail_tells(pool: PgPool) {
    let world = World::new(pool).await;
    let made = world.post("/destinations", json!({ "address": "me@home.test" })).await.ok(201);
    assert_eq!((&made["type"], &made["verified"]), (&json!("mailbox"), &json!(false)));
    assert_eq!(
        world.post("/destinations", json!({ "address": "ME@home.test" })).await.ok(200)["id"],
        made["id"]
    );
    let mails: i64 = sqlx::query_scalar("select count(*) from content")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(mails, 1);
    assert_eq!(
        world.get("/messages").await.ok(200)["data"],
        json!([]),
        "the token is not among the organization's messages"
    );
    let link = world.mailed_link().await;
    let (path, token) = link.split_once("?token=").unwrap();
    assert_eq!(path, format!("/destinations/{}/verify", id(&made)));
    for wrong in ["", "x", &token[1..]] {
        let answer = world.call("", "POST", path, json!({ "token": wrong })).await;
        assert_eq!(answer.status, 404, "{wrong}");
    }
    let page = world.call("", "GET", &link, Value::Null).await;
    assert!(page.status == 200 && String::from_utf8(page.bytes).unwrap().contains("<button"));
    assert!(!world.verified(id(&made)).await, "opening the link alone confirms nothing");
    let answer = world.call("", "POST", path, json!({ "token": token })).await.ok(200);
    assert_eq!(answer["verified"], true);
    assert!(world.verified(id(&made)).await);
    let again = world
        .post(&format!("/destinations/{}/resend-verification", id(&made)), Value::Null)
        .await;
    assert_eq!((again.status, again.code()), (409, "already_verified"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_pages_button_confirms_and_a_new_mail_makes_the_old_link_worthless(pool: PgPool) {
    let world = World::new(pool).await;
    let made = world.post("/destinations", json!({ "address": "me@home.test" })).await.ok(201);
    let former = world.mailed_link().await;
    let resend = format!("/destinations/{}/resend-verification", id(&made));
    let soon = world.post(&resend, Value::Null).await;
    assert!(soon.status == 429 && !soon.header("retry-after").is_empty());
    sqlx::query("update destination set verification_sent_at = now() - interval '5 minutes'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.post(&resend, Value::Null).await.ok(202);
    let press = async |link: &str| {
        let mut call = request("", "POST", link, Value::Null);
        call.headers_mut()
            .insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        *call.body_mut() = Body::empty();
        world.send(call).await
    };
    assert_eq!(press(&former).await.status, 404);
    let done = press(&world.mailed_link().await).await;
    assert!(done.status == 200 && done.header("content-type").starts_with("text/html"));
    assert!(world.verified(id(&made)).await);
    let odd = world
        .call(
            "",
            "GET",
            &format!("/destinations/{}/verify?token=%22%3E%3Cscript%3E", id(&made)),
            Value::Null,
        )
        .await;
    assert!(odd.status == 404 && !String::from_utf8(odd.bytes).unwrap().contains("<script"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn where_the_operator_waives_it_a_mailbox_need_not_confirm(pool: PgPool) {
    let world = World::with(pool, |settings| settings.require_verified_destinations = false).await;
    assert_eq!(
        world.post("/destinations", json!({ "address": "me@home.test" })).await.ok(201)["verified"],
        true
    );
    let mails: i64 = sqlx::query_scalar("select count(*) from content")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(mails, 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_endpoints_secret_is_shown_once_and_a_destination_in_use_stays(pool: PgPool) {
    let world = World::new(pool).await;
    world.domain(&world.a, "mine.test").await;
    let url = json!({ "address": "https://hook.test/in" });
    let made = world.post("/destinations", url.clone()).await.ok(201);
    let secret = made["signing_secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && made["verified"] == true);
    assert_eq!(world.post("/destinations", url).await.ok(200)["signing_secret"], Value::Null);
    let rotated = world
        .post(&format!("/destinations/{}/rotate-secret", id(&made)), Value::Null)
        .await
        .ok(200);
    assert!(rotated["signing_secret"].is_string() && rotated["signing_secret"] != secret);
    let alias = json!({ "domain": "mine.test", "local_part": "hook", "destinations": ["https://hook.test/in"] });
    let alias = world.post("/aliases", alias).await.ok(201);
    assert_eq!(alias["destination_details"][0]["id"], made["id"]);
    let path = format!("/destinations/{}", id(&made));
    let refused = world.call(&world.a.key, "DELETE", &path, Value::Null).await;
    assert_eq!((refused.status, refused.code()), (409, "destination_in_use"));
    world
        .call(&world.a.key, "DELETE", &format!("/aliases/{}", id(&alias)), Value::Null)
        .await;
    assert_eq!(world.call(&world.a.key, "DELETE", &path, Value::Null).await.status, 204);
}

#[sqlx::test(migrations = "../../migrations")]
async fn only_so_many_strangers_are_asked_at_once(pool: PgPool) {
    let world = World::new(pool).await;
    sqlx::query(
        "insert into destination (id, organization_id, kind, address, address_folded)
         select gen_random_uuid(), $1, 'mailbox', n || '@home.test', n || '@home.test' from generate_series(1, 100) n",
    )
    .bind(world.a.id.0)
    .execute(&world.pool)
    .await
    .unwrap();
    let refused = world.post("/destinations", json!({ "address": "me@home.test" })).await;
    assert_eq!((refused.status, refused.code()), (409, "too_many_unverified"));
    let mails: i64 = sqlx::query_scalar("select count(*) from content")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(mails, 0);
}

fn block(scope: Value) -> Value {
    let mut rule = json!({ "name": "no spam", "match": "any", "conditions": [
        { "field": "sender_domain", "op": "equals", "value": "spam.test" }, { "field": "subject", "op": "contains", "value": "WINNER" }],
        "action": { "type": "block" } });
    rule["scope"] = scope;
    rule
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_rule_is_kept_changed_ordered_and_refused_when_it_is_not_well_formed(pool: PgPool) {
    let world = World::new(pool).await;
    world.domain(&world.a, "mine.test").await;
    world.domain(&world.b, "theirs.test").await;
    let first = world.post("/rules", block(json!({ "organization": true }))).await.ok(201);
    let second = world.post("/rules", block(json!({ "domain": "mine.test" }))).await.ok(201);
    assert_eq!(second["scope"], json!({ "domain": "mine.test" }));
    assert_eq!(
        (&second["match"], &second["action"], &second["match_count"]),
        (&json!("any"), &json!({ "type": "block" }), &json!(0))
    );
    let path = format!("/rules/{}", id(&second));
    assert_eq!(world.get(&path).await.ok(200), second);
    let redirect = json!({ "action": { "type": "redirect", "destinations": ["Archive@work.test"] }, "enabled": false, "name": " new " });
    let changed = world.call(&world.a.key, "PATCH", &path, redirect).await.ok(200);
    assert_eq!(
        (&changed["name"], &changed["enabled"], &changed["conditions"]),
        (&json!("new"), &json!(false), &second["conditions"])
    );
    assert_eq!(world.get("/destinations").await.ok(200)["data"][0]["address"], "Archive@work.test");
    let order = async |ids: Value| world.call(&world.a.key, "PUT", "/rules/order", json!({ "ids": ids })).await.status;
    assert_eq!(order(json!([id(&second), id(&first)])).await, 204);
    let listed = world.get("/rules").await.ok(200);
    assert_eq!([id(&listed["data"][0]), id(&listed["data"][1])], [id(&second), id(&first)]);
    assert_eq!(
        world.get("/rules?domain=mine.test").await.ok(200)["data"].as_array().unwrap().len(),
        1
    );
    assert_eq!(order(json!([id(&second), id(&second)])).await, 422);
    assert_eq!(order(json!(["rul_nonsense"])).await, 404);
    let base = block(json!({ "organization": true }));
    for (member, value, status, field) in [
        (
            "conditions",
            json!([{ "field": "subject", "op": "matches", "value": "(unclosed" }]),
            422,
            "conditions[0].value",
        ),
        (
            "conditions",
            json!([{ "field": "moon", "op": "is", "value": "full" }]),
            422,
            "conditions[0].field",
        ),
        ("conditions", json!([]), 422, "conditions"),
        ("action", json!({ "type": "explode" }), 422, "action.type"),
        (
            "action",
            json!({ "type": "redirect", "destinations": [] }),
            422,
            "action.destinations",
        ),
        (
            "action",
            json!({ "type": "redirect", "destinations": ["http://192.0.2.1/"] }),
            422,
            "action.destinations[0]",
        ),
        ("name", json!(""), 422, "name"),
        ("surprise", json!(1), 422, "surprise"),
        ("scope", json!({ "domain": "theirs.test" }), 404, ""),
        ("scope", json!({ "alias": "als_nonsense" }), 404, ""),
    ] {
        let mut rule = base.clone();
        rule[member] = value.clone();
        let answer = world.post("/rules", rule).await;
        let found = answer.fields().first().copied().unwrap_or_default();
        assert_eq!((answer.status, found), (status, field), "{member} {value}: {}", answer.json);
    }
    assert_eq!(world.call(&world.a.key, "DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(world.get(&path).await.status, 404);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_trial_says_what_a_rule_would_do_and_changes_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let message = |from: &str| {
        let raw = format!("From: {from}\r\nTo: shop@mine.test\r\nSubject: hello\r\n\r\ntext\r\n");
        json!({ "from": from, "to": "shop@mine.test", "raw": raw })
    };
    let trial = async |body: Value| world.post("/rules/test", body).await;
    let rule = block(json!({ "organization": true }));
    let hit = trial(json!({ "rule": rule, "message": message("x@spam.test") })).await.ok(200);
    assert_eq!(hit["data"], json!([{ "matched": true, "action": { "type": "block" } }]));
    let spared = trial(json!({ "rule": rule, "message": message("bob@stranger.test") }))
        .await
        .ok(200);
    assert_eq!(spared["data"], json!([{ "matched": false, "action": null }]));
    sqlx::query(
        "insert into message (organization_id, id, direction, via, envelope_sender, header_from, subject, message_id_header, size_bytes,
                              eight_bit, smtputf8, stream, expires_at, original_recipient)
         values ($1, $2, 'forward', 'smtp', 'x@spam.test', '', '', '', 10, false, false, 'transactional', now(), 'shop@mine.test')",
    )
    .bind(world.a.id.0)
    .bind(uuid::Uuid::now_v7())
    .execute(&world.pool)
    .await
    .unwrap();
    sqlx::query("insert into content (message_id, raw) select id, $1 from message")
        .bind(&b"From: x@spam.test\r\n\r\n"[..])
        .execute(&world.pool)
        .await
        .unwrap();
    let past = trial(json!({ "rule": rule, "last": 50 })).await.ok(200);
    assert_eq!(
        (past["data"].as_array().unwrap().len(), &past["data"][0]["matched"]),
        (1, &json!(true))
    );
    assert!(id_of(&past["data"][0]["message"]).starts_with("msg_"));
    let theirs = world
        .call(&world.b.key, "POST", "/rules/test", json!({ "rule": rule, "last": 50 }))
        .await
        .ok(200);
    assert_eq!(theirs["data"], json!([]));
    assert_eq!(world.get("/rules").await.ok(200)["data"], json!([]));
    for (body, field) in [
        (json!({ "rule": rule }), "message"),
        (json!({ "rule": rule, "last": 0 }), "last"),
        (json!({ "rule": rule, "last": 101 }), "last"),
        (
            json!({ "rule": rule, "message": { "from": "nope", "to": "a@b.test", "raw": "" } }),
            "message.from",
        ),
    ] {
        let answer = trial(body).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field]));
    }
    let mut broken = rule;
    broken["conditions"][0]["op"] = json!("matches");
    broken["conditions"][0]["value"] = json!("(");
    let answer = trial(json!({ "rule": broken, "last": 1 })).await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["rule.conditions[0].value"]));
}

fn id_of(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_sender_is_listed_once_in_each_scope(pool: PgPool) {
    let world = World::new(pool).await;
    world.domain(&world.a, "mine.test").await;
    let everywhere = world
        .post("/sender-lists", json!({ "listing": "deny", "sender": "*.Spam.test" }))
        .await
        .ok(201);
    assert_eq!(
        (&everywhere["scope"], &everywhere["sender"]),
        (&json!({ "organization": true }), &json!("*.spam.test"))
    );
    let twice = world
        .post("/sender-lists", json!({ "listing": "allow", "sender": "*.spam.test" }))
        .await;
    assert_eq!((twice.status, twice.code()), (409, "already_listed"));
    let narrow = json!({ "listing": "allow", "sender": "*.spam.test", "scope": { "domain": "mine.test" } });
    let narrow = world.post("/sender-lists", narrow).await.ok(201);
    assert_eq!(world.get("/sender-lists?domain=mine.test").await.ok(200)["data"], json!([narrow]));
    assert_eq!(world.get("/sender-lists?listing=deny").await.ok(200)["data"], json!([everywhere]));
    for (body, field) in [
        (json!({ "listing": "deny", "sender": "a b@c.test" }), "sender"),
        (json!({ "listing": "maybe", "sender": "a@c.test" }), "listing"),
        (json!({ "listing": "deny", "sender": "a@c.test", "scope": {} }), "scope"),
    ] {
        let answer = world.post("/sender-lists", body.clone()).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field]), "{body}");
    }
    let limited = world.key(&["sender-lists.read", "sender-lists.write"], &["mine.test"]).await;
    assert_eq!(world.call(&limited, "GET", "/sender-lists", Value::Null).await.status, 403);
    let path = format!("/sender-lists/{}", id(&everywhere));
    assert_eq!(world.call(&limited, "GET", &path, Value::Null).await.status, 404);
    assert_eq!(world.call(&limited, "DELETE", &path, Value::Null).await.status, 404);
    assert_eq!(world.call(&world.a.key, "DELETE", &path, Value::Null).await.status, 204);
}
