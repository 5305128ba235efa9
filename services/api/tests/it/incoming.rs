//! Reverse addresses of correspondents, and what a domain says becomes of mail that comes in.

use crate::world::World;
use serde_json::{Value, json};
use store::PgPool;

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_contact_has_one_reverse_address(pool: PgPool) {
    let world = World::with_domain(pool).await;
    let alias = world.alias(json!({})).await;
    let path = format!("/aliases/{}/contacts", id(&alias));
    let made = world
        .post(&path, json!({ "address": "Bob@stranger.test", "name": "Bob" }))
        .await
        .ok(201);
    let reverse = made["reverse_address"].as_str().unwrap();
    assert!(
        reverse.starts_with("r+") && reverse.ends_with("@mine.test") && reverse.len() == 28 + "@mine.test".len(),
        "{reverse}"
    );
    assert_eq!(world.post(&path, json!({ "address": "bob@stranger.test" })).await.ok(200), made);
    assert_eq!(world.get(&path).await.ok(200)["data"], json!([made]));
    assert_eq!(world.post(&path, json!({ "address": "nope" })).await.status, 422);
    let pattern = world.alias(json!({ "local_part": "p-*" })).await;
    let refused = world
        .post(
            &format!("/aliases/{}/contacts", id(&pattern)),
            json!({ "address": "bob@stranger.test" }),
        )
        .await;
    assert_eq!((refused.status, refused.code()), (409, "alias_is_a_pattern"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_domain_says_what_becomes_of_mail_that_comes_in(pool: PgPool) {
    let world = World::new(pool).await;
    let path = format!("/domains/{}", world.domain(&world.a, "mine.test").await);
    let patch = async |change: Value| world.call(&world.a.key, "PATCH", &path, change).await;
    let domain = world.get(&path).await.ok(200);
    assert_eq!(
        (&domain["catch_all"], &domain["subaddressing"], &domain["paused_reply"]),
        (&Value::Null, &json!(true), &Value::Null)
    );
    assert_eq!(domain["dmarc_fail"], "as_published");
    let set = json!({ "catch_all": { "destinations": ["all@home.test"] }, "subaddressing": false, "paused_reply": "gone fishing", "dmarc_fail": "quarantine" });
    let changed = patch(set.clone()).await.ok(200);
    for (member, value) in set.as_object().unwrap() {
        assert_eq!(changed[member], *value, "{member}");
    }
    assert_eq!(patch(json!({ "sign": false })).await.ok(200)["catch_all"], set["catch_all"]);
    assert_eq!(world.get("/domains").await.ok(200)["data"][0]["catch_all"], set["catch_all"]);
    let cleared = patch(json!({ "catch_all": null, "paused_reply": null })).await.ok(200);
    assert_eq!(
        (&cleared["catch_all"], &cleared["paused_reply"], &cleared["dmarc_fail"]),
        (&Value::Null, &Value::Null, &json!("quarantine"))
    );
    for (change, field) in [
        (json!({ "catch_all": { "destinations": [] } }), "catch_all.destinations"),
        (json!({ "catch_all": { "destinations": ["nope"] } }), "catch_all.destinations[0]"),
        (json!({ "catch_all": {} }), "catch_all.destinations"),
        (json!({ "paused_reply": "two\r\nlines" }), "paused_reply"),
        (json!({ "dmarc_fail": "shrug" }), "dmarc_fail"),
    ] {
        let answer = patch(change.clone()).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field]), "{change}: {}", answer.json);
    }
}
