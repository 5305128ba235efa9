//! API keys and SMTP credentials: shown once, limited, withdrawn.

use crate::world::World;
use serde_json::{Value, json};
use store::PgPool;

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_is_shown_once_works_within_its_scopes_and_stops_when_withdrawn(pool: PgPool) {
    let world = World::new(pool).await;
    let made = world
        .post("/api-keys", json!({ "name": " ci ", "scopes": ["domains.read"] }))
        .await
        .ok(201);
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(key.starts_with(made["prefix"].as_str().unwrap()) && made["name"] == "ci");
    world.call(key, "GET", "/domains", Value::Null).await.ok(200);
    let denied = world.call(key, "POST", "/domains", json!({ "name": "a.test" })).await;
    assert_eq!((denied.status, denied.code()), (403, "insufficient_scope"));
    let listed = world.get("/api-keys").await.ok(200);
    assert!(!listed.to_string().contains(key) && listed.to_string().contains(id));

    let rotated = world.post(&format!("/api-keys/{id}/rotate"), Value::Null).await.ok(200);
    let next = rotated["key"].as_str().unwrap();
    assert_eq!(world.call(key, "GET", "/domains", Value::Null).await.status, 401);
    world.call(next, "GET", "/domains", Value::Null).await.ok(200);

    let path = format!("/api-keys/{id}");
    assert_eq!(world.call(&world.a.key, "DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(world.call(next, "GET", "/domains", Value::Null).await.status, 401);
    assert_eq!(world.call(&world.a.key, "DELETE", &path, Value::Null).await.status, 404);
    let events = world.get("/events?type=credential.revoked").await.ok(200);
    assert_eq!(events["data"][0]["data"]["credential"], id);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_gives_nobody_more_than_it_has(pool: PgPool) {
    let world = World::new(pool).await;
    let limited = world.key(&["api-keys.write", "domains.read"], &[]).await;
    for scopes in [json!(["admin"]), json!(["domains.write"]), json!(["domains.read", "messages.send"])] {
        let answer = world
            .call(&limited, "POST", "/api-keys", json!({ "name": "x", "scopes": scopes }))
            .await;
        assert_eq!((answer.status, answer.code()), (403, "insufficient_scope"), "{scopes}");
    }
    let same = world.call(&limited, "POST", "/api-keys", json!({ "name": "same" })).await.ok(201);
    assert_eq!(same["scopes"], json!(["domains.read", "api-keys.write"]), "{same}");
    let answer = world.post("/api-keys", json!({ "name": "x", "scopes": ["instance.admin"] })).await;
    assert_eq!(answer.status, 403, "only the command line gives the instance's scope");
    world
        .call(&limited, "POST", "/api-keys", json!({ "name": "x", "scopes": ["domains.read"] }))
        .await
        .ok(201);

    let strong = world
        .post("/api-keys", json!({ "name": "strong", "scopes": ["admin"] }))
        .await
        .ok(201);
    let path = format!("/api-keys/{}/rotate", strong["id"].as_str().unwrap());
    assert_eq!(world.call(&limited, "POST", &path, Value::Null).await.status, 403);

    let one_domain = world.key(&["admin"], &["own.test"]).await;
    for (path, body, status) in [
        ("/api-keys", json!({ "name": "x", "scopes": ["messages.send"] }), 403),
        (
            "/api-keys",
            json!({ "name": "x", "scopes": ["messages.send"], "domains": ["other.test"] }),
            403,
        ),
        (
            "/api-keys",
            json!({ "name": "x", "scopes": ["messages.send"], "domains": ["own.test"] }),
            201,
        ),
        ("/smtp-credentials", json!({ "name": "x" }), 403),
        ("/smtp-credentials", json!({ "name": "x", "allowed_from": ["@other.test"] }), 403),
        ("/smtp-credentials", json!({ "name": "x", "allowed_from": ["app@own.test"] }), 201),
        ("/domains", json!({ "name": "other.test" }), 404),
    ] {
        assert_eq!(
            world.call(&one_domain, "POST", path, body.clone()).await.status,
            status,
            "{path} {body}"
        );
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_faulty_key_is_refused_with_every_fault(pool: PgPool) {
    let world = World::new(pool).await;
    let faulty = json!({ "name": "", "scopes": ["nothing.read"], "networks": ["10.0.0.0/8", "x"], "domains": ["a b"],
        "expires_at": "2020-01-01T00:00:00Z" });
    let answer = world.post("/api-keys", faulty).await;
    assert_eq!(
        (answer.status, answer.fields()),
        (422, vec!["name", "scopes", "networks[1]", "domains[0]", "expires_at"])
    );
    for member in ["organization_id", "prefix", "secret_hash", "revoked_at"] {
        let mut body = json!({ "name": "x", "scopes": ["admin"] });
        body[member] = json!("x");
        let answer = world.post("/api-keys", body).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![member]));
    }
    let answer = world.post("/api-keys", json!({ "name": "x", "scopes": [] })).await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["scopes"]));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_credentials_password_is_shown_once(pool: PgPool) {
    let world = World::new(pool).await;
    let made = world
        .post("/smtp-credentials", json!({ "name": "Web Shop", "stream": "bulk" }))
        .await
        .ok(201);
    assert!(made["username"].as_str().unwrap().starts_with("web-shop-"));
    let password = made["password"].as_str().unwrap();
    assert!(password.len() >= 26);
    let path = format!("/smtp-credentials/{}", made["id"].as_str().unwrap());
    let shown = world.get(&path).await.ok(200);
    assert!(!shown.to_string().contains(password) && shown["stream"] == "bulk");
    let key = &world.a.key;
    let changed = world
        .call(key, "PATCH", &path, json!({ "allowed_from": ["@Sender.Test"], "name": "shop" }))
        .await
        .ok(200);
    assert_eq!(
        (changed["allowed_from"].clone(), changed["name"].as_str()),
        (json!(["@sender.test"]), Some("shop"))
    );
    assert_eq!(world.call(key, "DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(world.get(&path).await.status, 404);
    assert_eq!(world.call(key, "PATCH", &path, json!({})).await.status, 404);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_network_credential_admits_no_wide_network(pool: PgPool) {
    // ASSURANCE O31, O34
    let world = World::new(pool).await;
    for networks in [
        json!(null),
        json!([]),
        json!(["0.0.0.0/0"]),
        json!(["::/0"]),
        json!(["128.0.0.0/1"]),
        json!(["x"]),
    ] {
        let answer = world
            .post(
                "/smtp-credentials",
                json!({ "name": "lan", "type": "network", "networks": networks }),
            )
            .await;
        assert_eq!(answer.status, 422, "{networks}");
        assert!(answer.fields()[0].starts_with("networks"), "{}", answer.json);
    }
    let made = world
        .post(
            "/smtp-credentials",
            json!({ "name": "lan", "type": "network", "networks": ["10.1.2.3/16"] }),
        )
        .await
        .ok(201);
    assert_eq!((made["networks"].clone(), made.get("password")), (json!(["10.1.0.0/16"]), None));
    let path = format!("/smtp-credentials/{}", made["id"].as_str().unwrap());
    for networks in [json!([]), json!(["0.0.0.0/0"])] {
        assert_eq!(
            world
                .call(&world.a.key, "PATCH", &path, json!({ "networks": networks }))
                .await
                .status,
            422
        );
    }
}
