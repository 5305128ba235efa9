//! ASSURANCE API1: another organization's things do not exist. Made from the document, so that a new route is tried too.

use crate::{
    openapi::operations,
    world::{World, message, request},
};
use serde_json::{Value, json};
use store::PgPool;

/// The ids of one of everything that the first organization has, by the path's beginning.
async fn things(world: &World) -> Vec<(&'static str, String)> {
    let domain = world.domain(&world.a, "sender.test").await;
    let sent = world.post("/messages", message()).await.ok(202);
    let credential = world.post("/smtp-credentials", json!({ "name": "app" })).await.ok(201);
    let key = world
        .post("/api-keys", json!({ "name": "app", "scopes": ["messages.send"] }))
        .await
        .ok(201);
    let suppression = world.post("/suppressions", json!({ "address": "gone@rcpt.test" })).await.ok(201);
    let alias = json!({ "domain": "sender.test", "local_part": "shop", "destinations": ["me@home.test"] });
    let alias = world.post("/aliases", alias).await.ok(201);
    let rule = json!({ "name": "r", "scope": { "alias": alias["id"] }, "conditions": [], "action": { "type": "forward" } });
    let rule = world.post("/rules", rule).await.ok(201);
    let entry = world
        .post("/sender-lists", json!({ "listing": "deny", "sender": "@spam.test" }))
        .await
        .ok(201);
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    vec![
        ("/api/v1/domains/", domain),
        ("/api/v1/messages/", id(&sent)),
        ("/api/v1/smtp-credentials/", id(&credential)),
        ("/api/v1/api-keys/", id(&key)),
        ("/api/v1/suppressions/", id(&suppression)),
        ("/api/v1/aliases/", id(&alias)),
        ("/api/v1/destinations/", id(&alias["destination_details"][0])),
        ("/api/v1/rules/", id(&rule)),
        ("/api/v1/sender-lists/", id(&entry)),
    ]
}

/// A body that each call would take.
fn body(method: &str, path: &str) -> Value {
    match (method, path) {
        ("PATCH", path) if path.contains("/messages/") => json!({ "scheduled_at": "2030-01-01T00:00:00Z" }),
        ("POST", "/api/v1/aliases/{id}/contacts") => json!({ "address": "bob@stranger.test" }),
        ("POST", "/api/v1/destinations/{id}/verify") => json!({ "token": "wrong" }),
        ("PATCH", _) | ("POST", "/api/v1/domains/{id}/dkim-keys") => json!({}),
        _ => Value::Null,
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_id_of_another_organization_is_not_found_anywhere(pool: PgPool) {
    let world = World::new(pool).await;
    let things = things(&world).await;
    let mut tried = 0;
    for (method, path, _) in operations().into_iter().filter(|(_, path, _)| path.contains("{id}")) {
        let (_, id) = things
            .iter()
            .find(|(beginning, _)| path.starts_with(beginning))
            .unwrap_or_else(|| panic!("{path} is not in the list of things: add one"));
        let key = store::ids::DkimKeyId::generate().to_string();
        let mut call = request(&world.b.key, &method, "", body(&method, &path));
        *call.uri_mut() = path.replace("{id}", id).replace("{key}", &key).parse().unwrap();
        let answer = world.send(call).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.json);
        tried += 1;
    }
    assert!(tried >= 20, "only {tried} calls with an id");
    for (beginning, id) in &things {
        let path = format!("{}{id}", beginning.strip_prefix("/api/v1").unwrap());
        if !beginning.contains("api-keys") && !beginning.contains("suppressions") {
            world.get(&path).await.ok(200);
        }
    }
    assert_eq!(world.get("/api-keys").await.ok(200)["data"].as_array().unwrap().len(), 2);
    assert_eq!(world.get("/suppressions").await.ok(200)["data"].as_array().unwrap().len(), 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn lists_filters_and_cursors_show_only_ones_own(pool: PgPool) {
    let world = World::new(pool).await;
    let things = things(&world).await;
    world.post("/messages", message()).await.ok(202);
    let (_, message) = &things[1];
    for path in [
        "/messages".to_owned(),
        "/messages?to=ann@rcpt.test".to_owned(),
        "/messages?q=hello".to_owned(),
        "/messages?from=app".to_owned(),
        "/messages?status=queued".to_owned(),
        "/domains".to_owned(),
        "/domains?name=sender.test".to_owned(),
        "/smtp-credentials".to_owned(),
        "/suppressions".to_owned(),
        "/suppressions?q=gone".to_owned(),
        "/aliases".to_owned(),
        "/aliases?domain=sender.test".to_owned(),
        "/aliases?q=shop".to_owned(),
        "/destinations".to_owned(),
        "/rules".to_owned(),
        "/sender-lists".to_owned(),
        "/events".to_owned(),
        format!("/events?message={message}"),
    ] {
        let theirs = world.call(&world.b.key, "GET", &path, Value::Null).await.ok(200);
        assert_eq!(theirs["data"], json!([]), "{path}");
        let own = world.get(&path).await.ok(200);
        assert_ne!(own["data"], json!([]), "{path}");
    }
    let next = world.get("/messages?limit=1").await.ok(200)["next"].as_str().unwrap().to_owned();
    let theirs = world
        .call(&world.b.key, "GET", &format!("/messages?after={next}"), Value::Null)
        .await
        .ok(200);
    assert_eq!(theirs["data"], json!([]));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_session_or_key_cannot_choose_a_foreign_organization(pool: PgPool) {
    let world = World::new(pool).await;
    let call = request(&world.b.key, "GET", "/domains", Value::Null);
    let call = crate::world::with_headers(call, &[("x-organization", &world.a.id.to_string())]);
    assert_eq!(world.send(call).await.status, 404);
}
