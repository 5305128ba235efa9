//! The document and the router are one: nothing is served that is not described, nothing described that is not served.

use crate::world::{World, request};
use postroad_api::routes;
use serde_json::Value;
use std::{fs, path::Path};
use store::PgPool;

fn document() -> Value {
    serde_json::to_value(routes::openapi()).unwrap()
}

/// Every operation: method, path, and what it says.
pub(crate) fn operations() -> Vec<(String, String, Value)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation.clone()))
    });
    all.collect()
}

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let now = format!("{:#}\n", document());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&snapshot, &now).unwrap();
    }
    let committed = fs::read_to_string(&snapshot).unwrap_or_default();
    assert!(
        committed == now,
        "docs/openapi.json is not what the code says: run this test with UPDATE=1 and read the difference"
    );
    assert_eq!(document()["openapi"], "3.1.0");
}

#[sqlx::test(migrations = "../../migrations")]
async fn every_operation_of_the_document_has_a_route(pool: PgPool) {
    let world = World::new(pool).await;
    for (method, path, _) in operations() {
        let path = path.replace("{id}", "none").replace("{key}", "none");
        let mut call = request(&world.a.key, &method, "", Value::Null);
        *call.uri_mut() = path.parse().unwrap();
        let answer = world.send(call).await;
        assert!(
            answer.code() != "route_not_found" && answer.status != 405,
            "{method} {path}: {}",
            answer.json
        );
    }
}

#[test]
fn no_route_is_made_outside_the_document() {
    fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { sources(&path, found) } else { found.push(path) }
        }
    }
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for forbidden in [".route(", ".route_service(", ".nest_service(", ".fallback_service("] {
            assert!(!text.contains(forbidden), "{} makes a route without describing it", file.display());
        }
    }
}

/// An id that could be one of the path's resource.
fn id_for(path: &str) -> String {
    use store::ids;
    match path.split('/').nth(3) {
        Some("domains") => ids::DomainId::generate().to_string(),
        Some("messages") => ids::MessageId::generate().to_string(),
        Some("smtp-credentials") => ids::SmtpCredentialId::generate().to_string(),
        Some("api-keys") => ids::ApiKeyId::generate().to_string(),
        Some("suppressions") => ids::SuppressionId::generate().to_string(),
        Some("aliases") => ids::AliasId::generate().to_string(),
        Some("destinations") => ids::DestinationId::generate().to_string(),
        Some("rules") => ids::RuleId::generate().to_string(),
        Some("sender-lists") => ids::SenderListEntryId::generate().to_string(),
        _ => "none".to_owned(),
    }
}

#[test]
fn every_operation_says_who_may_call_it() {
    for (method, path, operation) in operations() {
        assert!(operation["security"].is_array(), "{method} {path} has no `security`");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_without_the_scope_is_refused_and_nobody_at_all_is_sent_to_log_in(pool: PgPool) {
    // ASSURANCE API5
    let world = World::new(pool).await;
    let powerless = world.key(&["stats.read"], &[]).await;
    for (method, path, operation) in operations() {
        let scopes = operation["security"][0]["api_key"].as_array().cloned().unwrap_or_default();
        if scopes.is_empty() {
            continue;
        }
        // With a body the shape is looked at first: it is the same for everybody.
        let refused: &[u16] = if operation["requestBody"].is_null() {
            &[403]
        } else {
            &[400, 403, 422]
        };
        let path = path
            .replace("{id}", &id_for(&path))
            .replace("{key}", &store::ids::DkimKeyId::generate().to_string());
        for (key, wanted) in [(powerless.as_str(), refused), ("", &[401])] {
            let mut call = request(key, &method, "", Value::Null);
            *call.uri_mut() = path.parse().unwrap();
            let answer = world.send_from(call, &format!("198.51.100.{}", path.len())).await;
            assert!(
                wanted.contains(&answer.status),
                "{method} {path} as {key:?}: {} {}",
                answer.status,
                answer.json
            );
        }
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_page_needs_nothing_from_elsewhere(pool: PgPool) {
    let world = World::new(pool).await;
    for (path, kind) in [
        ("/docs", "text/html"),
        ("/docs/start.js", "text/javascript"),
        ("/docs/scalar.js", "text/javascript"),
        ("/api/v1/openapi.json", "application/json"),
        ("/health", "application/json"),
    ] {
        let mut call = request("", "GET", "", Value::Null);
        *call.uri_mut() = path.parse().unwrap();
        let answer = world.send(call).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").starts_with(kind), "{path}");
        if path == "/docs" {
            let page = String::from_utf8(answer.bytes).unwrap();
            assert!(!page.contains("http") && !page.contains("<script>"), "{page}");
            assert!(
                answer.headers["content-security-policy"]
                    .to_str()
                    .unwrap()
                    .contains("script-src 'self';")
            );
        }
    }
}
