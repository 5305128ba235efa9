//! Claiming a domain, publishing its records, proving it, and losing it again.

use crate::world::World;
use serde_json::{Value, json};
use store::PgPool;

fn record<'a>(domain: &'a Value, purpose: &str, kind: &str) -> &'a Value {
    let records = domain["dns_records"]["data"].as_array().unwrap();
    records
        .iter()
        .find(|record| record["purpose"] == purpose && record["type"] == kind)
        .unwrap_or_else(|| panic!("no {kind} for {purpose}"))
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_domain_becomes_active_when_its_records_are_published(pool: PgPool) {
    let world = World::new(pool).await;
    let made = world.post("/domains", json!({ "name": "Bücher.Test." })).await.ok(201);
    assert_eq!(
        (made["name"].as_str(), made["status"].as_str()),
        (Some("xn--bcher-kva.test"), Some("pending"))
    );
    for (purpose, kind, required) in [
        ("ownership", "TXT", true),
        ("dkim", "TXT", true),
        ("spf", "TXT", false),
        ("dmarc", "TXT", false),
        ("mx", "MX", false),
        ("return_path", "MX", false),
        ("return_path", "TXT", false),
    ] {
        let record = record(&made, purpose, kind);
        assert_eq!(
            (record["required"].as_bool(), record["status"].as_str()),
            (Some(required), Some("unchecked"))
        );
        assert!(record["name"].as_str().unwrap().ends_with("xn--bcher-kva.test") && !record["value"].as_str().unwrap().is_empty());
    }
    let path = format!("/domains/{}", made["id"].as_str().unwrap());
    let verify = format!("{path}/verify");
    let pending = world.post(&verify, Value::Null).await.ok(200);
    assert_eq!(
        (pending["status"].as_str(), record(&pending, "spf", "TXT")["status"].as_str()),
        (Some("pending"), Some("missing"))
    );
    world.publish(&made);
    let active = world.post(&verify, Value::Null).await.ok(200);
    assert_eq!(active["status"], "active");
    assert!(
        active["dns_records"]["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|record| record["status"] == "ok"),
        "{active}"
    );
    assert_eq!(world.get(&format!("{path}/dns-records")).await.ok(200), active["dns_records"]);
    let keys = world.get(&format!("{path}/dkim-keys")).await.ok(200);
    assert_eq!(keys["data"][0]["state"], "active");
    let events = world.get("/events?type=domain.created,domain.verified").await.ok(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 2);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_dns_failure_changes_nothing_and_a_vanished_record_does(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.domain(&world.a, "sender.test").await;
    let verify = format!("/domains/{id}/verify");
    for name in ["_postroad.sender.test", "sender.test", "rp.sender.test", "_dmarc.sender.test"] {
        world.dns.fail(name);
    }
    let failed = world.post(&verify, Value::Null).await.ok(200);
    assert_eq!(
        (failed["status"].as_str(), record(&failed, "ownership", "TXT")["status"].as_str()),
        (Some("active"), Some("ok"))
    );
    world.dns.heal("_postroad.sender.test").txt("_postroad.sender.test", &[]);
    let failing = world.post(&verify, Value::Null).await.ok(200);
    assert_eq!(failing["status"], "failing");
    assert!(failing["failing_since"].is_string());
    world.publish(&failing);
    assert_eq!(world.post(&verify, Value::Null).await.ok(200)["status"], "active");
    let events = world.get("/events?type=domain.failing").await.ok(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_first_to_prove_a_name_keeps_it(pool: PgPool) {
    // ASSURANCE API6: domain take-over
    let world = World::new(pool).await;
    let rival = world
        .call(&world.b.key, "POST", "/domains", json!({ "name": "sender.test" }))
        .await
        .ok(201);
    world.domain(&world.a, "sender.test").await;
    world.publish(&rival);
    let path = format!("/domains/{}/verify", rival["id"].as_str().unwrap());
    let refused = world.call(&world.b.key, "POST", &path, Value::Null).await;
    assert_eq!((refused.status, refused.code()), (409, "domain_taken"));
    let again = world
        .call(
            &world.b.key,
            "GET",
            &format!("/domains/{}", rival["id"].as_str().unwrap()),
            Value::Null,
        )
        .await;
    assert_eq!(again.ok(200)["status"], "pending");
    let again = world.post("/domains", json!({ "name": "SENDER.test" })).await;
    assert_eq!((again.status, again.code()), (409, "domain_exists"));
    world.domain(&world.a, "other.test").await;
    let late = world.call(&world.b.key, "POST", "/domains", json!({ "name": "other.test" })).await;
    assert_eq!((late.status, late.code()), (409, "domain_taken"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_new_key_signs_once_it_is_seen_in_dns(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.domain(&world.a, "sender.test").await;
    let path = format!("/domains/{id}/dkim-keys");
    let rotated = world.post(&path, json!({ "selector": "second" })).await.ok(201);
    assert_eq!(rotated["state"], "pending");
    let clash = world.post(&path, json!({ "selector": "second" })).await;
    assert_eq!((clash.status, clash.code()), (409, "selector_exists"));
    let ed = world.post(&path, json!({ "algorithm": "ed25519-sha256" })).await.ok(201);
    let states = async || {
        let keys = world.get(&path).await.ok(200);
        let keys = keys["data"].as_array().unwrap().clone();
        keys.iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states().await, ["active", "pending", "pending"]);
    for key in [&rotated, &ed] {
        let record = &key["dns_record"];
        world
            .dns
            .txt(record["name"].as_str().unwrap(), &[record["value"].as_str().unwrap()]);
    }
    world.post(&format!("/domains/{id}/verify"), Value::Null).await.ok(200);
    assert_eq!(states().await, ["retiring", "active", "active"]);
    let delete = async |key: &Value| {
        let path = format!("{path}/{}", key["id"].as_str().unwrap());
        world.call(&world.a.key, "DELETE", &path, Value::Null).await.status
    };
    assert_eq!(delete(&rotated).await, 409);
    let first = world.get(&path).await.ok(200)["data"][0].clone();
    assert_eq!(delete(&first).await, 204);
    assert_eq!(delete(&first).await, 404);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_is_imported_only_when_it_can_sign(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.domain(&world.a, "sender.test").await;
    let path = format!("/domains/{id}/dkim-keys");
    let made = mailauth::dkim::generate(mailauth::dkim::Algorithm::Ed25519Sha256).unwrap();
    let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &made.pkcs8);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
    let good = world
        .post(&path, json!({ "algorithm": "ed25519-sha256", "private_key": pem }))
        .await
        .ok(201);
    assert!(good["dns_record"]["value"].as_str().unwrap().ends_with(&made.public_key));
    assert!(!good.to_string().contains(&base64));
    for body in [
        json!({ "private_key": pem }),
        json!({ "private_key": "%%%" }),
        json!({ "algorithm": "ed25519-sha256", "private_key": "AAAA" }),
        json!({ "algorithm": "rsa-sha1" }),
        json!({ "selector": "a b" }),
        json!({ "selector": "" }),
        json!({ "state": "active" }),
    ] {
        assert_eq!(world.post(&path, body.clone()).await.status, 422, "{body}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn names_that_are_none_are_refused(pool: PgPool) {
    let world = World::new(pool).await;
    for name in [
        "",
        "localhost",
        "a b.test",
        "192.0.2.1",
        "-a.test",
        "a..test",
        "_dmarc.a.test",
        "a.test\r\nb",
        &"a".repeat(300),
    ] {
        let answer = world.post("/domains", json!({ "name": name })).await;
        assert_eq!((answer.status, answer.fields()), (422, vec!["name"]), "{name}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_domain_is_changed_and_given_up(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.domain(&world.a, "sender.test").await;
    let path = format!("/domains/{id}");
    let key = &world.a.key;
    let changed = world
        .call(key, "PATCH", &path, json!({ "return_path_label": "bounce", "sign": false }))
        .await
        .ok(200);
    assert_eq!(record(&changed, "return_path", "MX")["name"], "bounce.sender.test");
    assert_eq!(record(&changed, "dkim", "TXT")["required"], false);
    for label in ["", "a.b", "UP", "-x", "ü"] {
        let answer = world.call(key, "PATCH", &path, json!({ "return_path_label": label })).await;
        assert_eq!(answer.status, 422, "{label}");
    }
    assert_eq!(world.call(key, "DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(world.get(&path).await.status, 404);
    world
        .call(&world.b.key, "POST", "/domains", json!({ "name": "sender.test" }))
        .await
        .ok(201);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_limited_to_domains_sees_no_others(pool: PgPool) {
    let world = World::new(pool).await;
    let own = world.domain(&world.a, "own.test").await;
    let other = world.domain(&world.a, "other.test").await;
    let key = world.key(&["admin"], &["own.test"]).await;
    let names = world.call(&key, "GET", "/domains", Value::Null).await.ok(200);
    assert_eq!(names["data"].as_array().unwrap().len(), 1);
    assert_eq!(world.call(&key, "GET", &format!("/domains/{own}"), Value::Null).await.status, 200);
    assert_eq!(world.call(&key, "GET", &format!("/domains/{other}"), Value::Null).await.status, 404);
    assert_eq!(
        world.call(&key, "DELETE", &format!("/domains/{other}"), Value::Null).await.status,
        404
    );
}
