//! Dashboard logins.

use crate::world::{Answer, PASSWORD, World, request, with_headers};
use serde_json::{Value, json};
use store::PgPool;

fn credentials(password: &str) -> Value {
    json!({ "email": "Owner@a.test", "password": password })
}

fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
}

impl World {
    async fn with_cookie(&self, method: &str, path: &str, body: Value, headers: &[(&'static str, &str)]) -> Answer {
        self.send(with_headers(request("", method, path, body), headers)).await
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_session_reads_by_cookie_writes_with_its_token_and_ends(pool: PgPool) {
    // ASSURANCE W02, W03
    let world = World::new(pool).await;
    let login = world.call("", "POST", "/auth/login", credentials(PASSWORD)).await;
    let (session, attributes) = (cookie(&login), login.header("set-cookie").to_owned());
    assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Lax") && attributes.contains("Path=/"));
    let body = login.ok(200);
    let token = body["csrf_token"].as_str().unwrap().to_owned();
    assert!(!body.to_string().contains(session.split_once('=').unwrap().1));
    let by_cookie = ("cookie", session.as_str());

    let me = world.with_cookie("GET", "/me", Value::Null, &[by_cookie]).await.ok(200);
    assert_eq!(
        (me["user"]["email"].as_str(), me["csrf_token"].as_str()),
        (Some("owner@a.test"), Some(token.as_str()))
    );
    let domain = json!({ "name": "a.test" });
    for headers in [&[by_cookie][..], &[by_cookie, ("x-csrf-token", "wrong")]] {
        let answer = world.with_cookie("POST", "/domains", domain.clone(), headers).await;
        assert_eq!((answer.status, answer.code()), (403, "csrf_token_invalid"));
    }
    let with_token = [by_cookie, ("x-csrf-token", token.as_str())];
    world.with_cookie("POST", "/domains", domain, &with_token).await.ok(201);
    let foreign = world.b.id.to_string();
    let answer = world
        .with_cookie("GET", "/domains", Value::Null, &[by_cookie, ("x-organization", &foreign)])
        .await;
    assert_eq!(answer.status, 404);

    assert_eq!(
        world.with_cookie("POST", "/auth/logout", Value::Null, &[by_cookie]).await.status,
        403
    );
    let logout = world.with_cookie("POST", "/auth/logout", Value::Null, &with_token).await;
    assert_eq!((logout.status, logout.header("set-cookie").contains("Max-Age=0")), (204, true));
    assert_eq!(world.with_cookie("GET", "/me", Value::Null, &[by_cookie]).await.status, 401);
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_cookie_is_bound_to_the_host_where_users_come_by_tls(pool: PgPool) {
    let world = World::with(pool, |settings| settings.public_url = "https://mail.example.org".parse().unwrap()).await;
    let login = world.call("", "POST", "/auth/login", credentials(PASSWORD)).await;
    let header = login.header("set-cookie");
    assert!(header.starts_with("__Host-") && header.contains("; Secure"), "{header}");
    assert!(login.header("strict-transport-security").starts_with("max-age="));
}

#[sqlx::test(migrations = "../../migrations")]
async fn wrong_passwords_are_answered_alike_and_lock_the_account_for_guessers(pool: PgPool) {
    // ASSURANCE W01, W05
    let world = World::new(pool).await;
    let wrong = world.call("", "POST", "/auth/login", credentials("wrong")).await;
    let unknown = json!({ "email": "nobody@a.test", "password": "wrong" });
    let unknown = world.call("", "POST", "/auth/login", unknown).await;
    assert_eq!((wrong.status, wrong.code()), (401, "invalid_credentials"));
    assert_eq!((unknown.status, unknown.code()), (401, "invalid_credentials"));
    assert_eq!(wrong.json["error"]["message"], unknown.json["error"]["message"]);
    for number in 0..9 {
        let call = request("", "POST", "/auth/login", credentials("wrong"));
        assert_eq!(world.send_from(call, &format!("198.51.100.{number}")).await.status, 401);
    }
    let call = request("", "POST", "/auth/login", credentials(PASSWORD));
    let locked = world.send_from(call, "198.51.100.99").await;
    assert_eq!(locked.status, 429);
    assert!(locked.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_foreign_page_logs_nobody_in(pool: PgPool) {
    let world = World::new(pool).await;
    for (headers, status) in [
        (&[("origin", "https://evil.test")][..], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("origin", "null")], 403),
        (&[("origin", "http://localhost:8000")], 200),
        (&[("origin", "http://127.0.0.1:8000"), ("host", "127.0.0.1:8000")], 200),
    ] {
        let answer = world.with_cookie("POST", "/auth/login", credentials(PASSWORD), headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_learns_who_it_is(pool: PgPool) {
    let world = World::new(pool).await;
    let me = world.get("/me").await.ok(200);
    assert_eq!((me["type"].as_str(), me["scopes"].clone()), (Some("api_key"), json!(["admin"])));
    assert_eq!(me["organization"], world.a.id.to_string());
    assert!(me.get("csrf_token").is_none());
}
