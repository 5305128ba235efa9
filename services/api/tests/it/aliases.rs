//! Aliases: made, refused with a reason, changed, paused, deleted, in bulk and as a file.

use crate::world::{World, request, with_headers};
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use store::PgPool;

fn body(change: Value) -> Value {
    let mut body = json!({ "domain": "mine.test", "local_part": "shop", "destinations": ["me@home.test"] });
    if let (Value::Object(members), Value::Object(change)) = (&mut body, change) {
        members.extend(change);
    }
    body
}

impl World {
    pub(crate) async fn with_domain(pool: PgPool) -> Self {
        let world = Self::new(pool).await;
        world.domain(&world.a, "mine.test").await;
        world
    }

    pub(crate) async fn alias(&self, change: Value) -> Value {
        self.post("/aliases", body(change)).await.ok(201)
    }

    async fn import(&self, text: &str) -> Value {
        let mut call = with_headers(
            request(&self.a.key, "POST", "/aliases/import", Value::Null),
            &[("content-type", "text/csv")],
        );
        *call.body_mut() = Body::from(text.to_owned());
        self.send(call).await.ok(200)
    }
}

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_alias_is_made_shown_changed_paused_and_deleted_for_good(pool: PgPool) {
    let world = World::with_domain(pool).await;
    let made = world
        .alias(json!({ "local_part": "Shop", "destinations": ["Me@home.test", "https://hook.test/in?x=1"], "description": "=shop", "max_messages": 3 }))
        .await;
    assert_eq!(made["address"], "shop@mine.test");
    assert_eq!(made["destinations"], json!(["Me@home.test", "https://hook.test/in?x=1"]));
    assert_eq!(
        (&made["state"], &made["replies"], &made["pattern"]),
        (&json!("active"), &json!("direct"), &json!(false))
    );
    let verified: Vec<_> = made["destination_details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["verified"].clone())
        .collect();
    assert_eq!(verified, [json!(false), json!(true)]);
    let path = format!("/aliases/{}", id(&made));
    assert_eq!(world.get(&path).await.ok(200), made);
    let change =
        json!({ "replies": "as_alias", "max_messages": null, "expires_at": "2030-01-01T00:00:00Z", "destinations": ["other@home.test"] });
    let changed = world.call(&world.a.key, "PATCH", &path, change).await.ok(200);
    assert_eq!(
        (&changed["replies"], &changed["max_messages"], &changed["expires_at"]),
        (&json!("as_alias"), &Value::Null, &json!("2030-01-01T00:00:00Z"))
    );
    assert_eq!(
        (&changed["destinations"], &changed["description"]),
        (&json!(["other@home.test"]), &json!("=shop"))
    );
    assert_eq!(world.post(&format!("{path}/pause"), Value::Null).await.ok(200)["state"], "paused");
    assert_eq!(world.post(&format!("{path}/resume"), Value::Null).await.ok(200)["state"], "active");
    assert_eq!(world.call(&world.a.key, "DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(world.get(&path).await.status, 404);
    let again = world.post("/aliases", body(json!({}))).await;
    assert_eq!((again.status, again.code()), (409, "alias_exists"));
    let events = world.get("/events?type=alias.created,alias.paused,alias.deleted").await.ok(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 3);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_bad_alias_is_refused_with_its_reason(pool: PgPool) {
    let world = World::with_domain(pool).await;
    world.post("/domains", json!({ "name": "pending.test" })).await.ok(201);
    world.domain(&world.b, "theirs.test").await;
    world.alias(json!({ "local_part": "taken" })).await;
    let many: Vec<String> = (0..21).map(|n| format!("a{n}@home.test")).collect();
    for (change, status, code, field) in [
        (json!({ "local_part": "taken" }), 409, "alias_exists", "local_part"),
        (json!({ "local_part": "TAKEN" }), 409, "alias_exists", "local_part"),
        (json!({ "local_part": "two words" }), 422, "invalid_request", "local_part"),
        (json!({ "local_part": "" }), 422, "invalid_request", "local_part"),
        (json!({ "local_part": "a".repeat(65) }), 422, "invalid_request", "local_part"),
        (json!({ "local_part": "r+abc" }), 422, "invalid_request", "local_part"),
        (json!({ "destinations": [] }), 422, "invalid_request", "destinations"),
        (json!({ "destinations": many }), 422, "invalid_request", "destinations"),
        (json!({ "destinations": ["nope"] }), 422, "invalid_request", "destinations[0]"),
        (
            json!({ "destinations": ["a@b.test", "A@B.test"] }),
            422,
            "invalid_request",
            "destinations[1]",
        ),
        (
            json!({ "destinations": ["a@[127.0.0.1]"] }),
            422,
            "invalid_request",
            "destinations[0]",
        ),
        (
            json!({ "destinations": ["http://hook.test/"] }),
            422,
            "invalid_request",
            "destinations[0]",
        ),
        (
            json!({ "destinations": ["http://192.0.2.1/"] }),
            422,
            "invalid_request",
            "destinations[0]",
        ),
        (
            json!({ "destinations": ["https://user:pw@hook.test/"] }),
            422,
            "invalid_request",
            "destinations[0]",
        ),
        (
            json!({ "destinations": ["ftp://hook.test/"] }),
            422,
            "invalid_request",
            "destinations[0]",
        ),
        (json!({ "max_messages": 0 }), 422, "invalid_request", "max_messages"),
        (json!({ "description": "x".repeat(1001) }), 422, "invalid_request", "description"),
        (json!({ "id": "als_1" }), 422, "invalid_request", "id"),
        (json!({ "replies": "maybe" }), 422, "invalid_request", "replies"),
        (json!({ "domain": "not-mine.test" }), 404, "not_found", ""),
        (json!({ "domain": "theirs.test" }), 404, "not_found", ""),
        (json!({ "domain": "pending.test" }), 403, "domain_not_verified", "domain"),
    ] {
        let answer = world.post("/aliases", body(change.clone())).await;
        let found = answer.fields().first().copied().unwrap_or_default();
        assert_eq!(
            (answer.status, answer.code(), found),
            (status, code, field),
            "{change}: {}",
            answer.json
        );
    }
    let left = world.get("/aliases").await.ok(200);
    assert_eq!(left["data"].as_array().unwrap().len(), 1);
    let destinations = world.get("/destinations").await.ok(200);
    assert_eq!(
        destinations["data"].as_array().unwrap().len(),
        1,
        "a refused alias leaves no destination behind"
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_plain_http_endpoint_is_taken_only_inside_the_allowed_networks(pool: PgPool) {
    let world = World::with_domain(pool).await;
    let made = world.alias(json!({ "destinations": ["http://127.0.0.1:8080/in"] })).await;
    assert_eq!(made["destination_details"][0]["type"], "endpoint");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_list_is_filtered_and_read_on_page_by_page(pool: PgPool) {
    let world = World::with_domain(pool).await;
    world.domain(&world.a, "other.test").await;
    for (local_part, domain, to) in [
        ("a", "mine.test", "x@home.test"),
        ("b", "mine.test", "y@home.test"),
        ("a", "other.test", "x@home.test"),
    ] {
        world
            .alias(json!({ "local_part": local_part, "domain": domain, "destinations": [to] }))
            .await;
    }
    let first = world.get("/aliases?domain=mine.test&limit=1").await.ok(200);
    let next = world
        .call(
            &world.a.key,
            "POST",
            &format!("/aliases/{}/pause", id(&first["data"][0])),
            Value::Null,
        )
        .await;
    assert_eq!(next.ok(200)["address"], "b@mine.test");
    let rest = world
        .get(&format!("/aliases?domain=mine.test&after={}", first["next"].as_str().unwrap()))
        .await
        .ok(200);
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), &rest["data"][0]["address"]),
        (1, &json!("a@mine.test"))
    );
    for (query, count) in [
        ("state=paused", 1),
        ("state=active", 2),
        ("q=B@mine", 1),
        ("q=%25", 0),
        ("destination=X@home.test", 2),
        ("domain=nobodys.test", 0),
    ] {
        let found = world.get(&format!("/aliases?{query}")).await.ok(200);
        assert_eq!(found["data"].as_array().unwrap().len(), count, "{query}");
    }
    let limited = world.key(&["aliases.read", "aliases.write"], &["other.test"]).await;
    let found = world.call(&limited, "GET", "/aliases", Value::Null).await.ok(200);
    assert_eq!(
        (found["data"].as_array().unwrap().len(), &found["data"][0]["domain"]),
        (1, &json!("other.test"))
    );
    assert_eq!(
        world
            .call(&limited, "GET", &format!("/aliases/{}", id(&first["data"][0])), Value::Null)
            .await
            .status,
        404
    );
    let all = world
        .call(
            &limited,
            "POST",
            "/aliases/bulk",
            json!({ "action": "delete", "filter": { "domain": "mine.test" } }),
        )
        .await;
    assert_eq!(all.ok(200)["changed"], 0);
    assert_eq!(
        world
            .call(&limited, "POST", "/aliases", body(json!({ "local_part": "new" })))
            .await
            .status,
        404
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn many_are_made_paused_resumed_and_deleted_at_once(pool: PgPool) {
    let world = World::with_domain(pool).await;
    let items = json!([
        { "domain": "mine.test", "local_part": "one", "destinations": ["me@home.test"] },
        { "domain": "mine.test", "local_part": "one", "destinations": ["new@home.test"] },
        { "domain": "mine.test", "local_part": "two", "destinations": ["me@home.test"], "surprise": 1 },
        { "domain": "theirs.test", "local_part": "three", "destinations": ["me@home.test"] },
        { "domain": "mine.test", "local_part": "four-*", "destinations": ["me@home.test"] },
    ]);
    let made = world
        .post("/aliases/bulk", json!({ "action": "create", "aliases": items }))
        .await
        .ok(200);
    assert_eq!(made["created"], 2);
    let outcome = |at: usize| made["data"][at]["error"]["status"].as_u64().unwrap_or(201);
    assert_eq!([0, 1, 2, 3, 4].map(outcome), [201, 409, 422, 404, 201]);
    assert_eq!(world.get("/destinations?q=new@").await.ok(200)["data"], json!([]));
    let bulk = async |action: &str, meant: Value| {
        let mut body = json!({ "action": action });
        body.as_object_mut().unwrap().extend(meant.as_object().unwrap().clone());
        world.post("/aliases/bulk", body).await
    };
    let paused = bulk("pause", json!({ "filter": { "domain": "mine.test" } })).await.ok(200);
    assert_eq!((&paused["changed"], &paused["has_more"]), (&json!(2), &json!(false)));
    assert_eq!(bulk("resume", json!({ "filter": { "q": "four" } })).await.ok(200)["changed"], 1);
    let ids = json!({ "aliases": [made["data"][0]["id"], "als_nonsense"] });
    assert_eq!(bulk("delete", ids).await.ok(200)["changed"], 1);
    assert_eq!(world.get("/aliases").await.ok(200)["data"].as_array().unwrap().len(), 1);
    for (action, meant) in [
        ("delete", json!({})),
        ("delete", json!({ "filter": {} })),
        ("delete", json!({ "aliases": [] })),
        ("delete", json!({ "aliases": [7] })),
        ("delete", json!({ "filter": { "q": "x" }, "aliases": ["als_x"] })),
        ("create", json!({ "filter": { "q": "x" } })),
        ("explode", json!({ "filter": { "q": "x" } })),
    ] {
        assert_eq!(bulk(action, meant.clone()).await.status, 422, "{action} {meant}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_is_exported_can_be_imported_again_and_opens_as_no_formula(pool: PgPool) {
    let world = World::with_domain(pool.clone()).await;
    let formula = "=cmd|'/c calc'!A0, \"quoted\"\nnext";
    let rich = json!({ "local_part": "+plus", "description": formula, "max_messages": 7, "expires_at": "2031-02-03T04:05:06Z", "replies": "as_alias",
                       "destinations": ["me@home.test", "\"x y\"@home.test", "https://hook.test/"] });
    world.alias(rich).await;
    world.alias(json!({ "local_part": "plain-*", "state": "paused" })).await;
    let exported = world.get("/aliases/export").await;
    assert!(exported.status == 200 && exported.header("content-type").starts_with("text/csv"));
    let text = String::from_utf8(exported.bytes).unwrap();
    assert!(text.contains("\"'=cmd") && text.contains(",'+plus,"), "{text}");
    let before = world.get("/aliases").await.ok(200);
    let unchanged = world.import(&text).await;
    assert_eq!(
        (&unchanged["created"], &unchanged["updated"], &unchanged["failed"]),
        (&json!(0), &json!(2), &json!(0)),
        "{unchanged}"
    );
    assert_eq!(world.get("/aliases").await.ok(200), before);

    world.domain(&world.b, "second.test").await;
    let elsewhere = text.replace("mine.test", "second.test");
    let mut call = with_headers(
        request(&world.b.key, "POST", "/aliases/import", Value::Null),
        &[("content-type", "text/csv")],
    );
    *call.body_mut() = Body::from(elsewhere);
    let imported = world.send(call).await.ok(200);
    assert_eq!(imported["created"], 2, "{imported}");
    let theirs = world.call(&world.b.key, "GET", "/aliases?q=plus", Value::Null).await.ok(200);
    let ours = world.get("/aliases?q=plus").await.ok(200);
    for member in [
        "local_part",
        "description",
        "destinations",
        "expires_at",
        "max_messages",
        "replies",
        "state",
        "pattern",
    ] {
        assert_eq!(theirs["data"][0][member], ours["data"][0][member], "{member}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_import_tells_each_bad_line_and_does_the_others(pool: PgPool) {
    let world = World::with_domain(pool).await;
    let deleted = world.alias(json!({ "local_part": "gone" })).await;
    world
        .call(&world.a.key, "DELETE", &format!("/aliases/{}", id(&deleted)), Value::Null)
        .await;
    let done = world
        .import(
            "local_part,domain,destinations,max_messages\r\nfine,mine.test,me@home.test,\r\n\
             gone,mine.test,me@home.test,\r\nbad,mine.test,me@home.test,many\r\nalso fine,mine.test,me@home.test,\r\nlast,mine.test,me@home.test,5\r\n",
        )
        .await;
    assert_eq!((&done["created"], &done["failed"]), (&json!(2), &json!(3)), "{done}");
    let lines: Vec<u64> = done["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [3, 4, 5]);
    for text in [
        "",
        "a,b\r\n",
        "domain,local_part\r\nx,y\r\n",
        "domain,local_part,destinations\r\n\"x",
    ] {
        let call: Request<Body> = with_headers(
            request(&world.a.key, "POST", "/aliases/import", json!(text)),
            &[("content-type", "text/csv")],
        );
        let (parts, _) = call.into_parts();
        let answer = world.send(Request::from_parts(parts, Body::from(text))).await;
        assert_eq!(answer.status, 422, "{text:?}");
    }
}
