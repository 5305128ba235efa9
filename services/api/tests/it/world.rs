//! What every test starts from: two organizations with a key each, and a way to call.

use auth::{
    accounts,
    api_keys::{self, ApiKeys},
    passwords::Passwords,
    scopes::{Scope, Scopes},
    secrets::{Purpose, Secrets},
    sessions::Sessions,
};
use axum::{Router, body::Body, extract::ConnectInfo};
use dns::ScriptedResolver;
use http::{HeaderMap, Request, StatusCode};
use intake::{BatchLimits, Intake, Wake};
use mail::return_path::ReturnPaths;
use postroad_api::{
    app::{App, Settings},
    routes,
};
use rate_limit::{Limiter, Quota};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use store::{PgPool, ids::OrganizationId};
use tower::ServiceExt;

pub(crate) const HOST: &str = "mx.postroad.test";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
    pub(crate) json: Value,
}

impl Answer {
    /// The body, when the status is the wanted one.
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.json);
        self.json
    }

    pub(crate) fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn fields(&self) -> Vec<&str> {
        let fields = self.json["error"]["fields"].as_array().into_iter().flatten();
        fields.filter_map(|field| field["field"].as_str()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// An organization with a key.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) id: OrganizationId,
    pub(crate) key: String,
}

pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) pool: PgPool,
    pub(crate) dns: ScriptedResolver,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) a: Tenant,
    pub(crate) b: Tenant,
}

impl World {
    pub(crate) async fn new(pool: PgPool) -> Self {
        Self::with(pool, |_| ()).await
    }

    pub(crate) async fn with(pool: PgPool, change: impl FnOnce(&mut Settings)) -> Self {
        let secrets = Arc::new(Secrets::new(&SecretString::from("0123456789abcdef0123456789abcdef")));
        let dns = ScriptedResolver::new();
        dns.a(HOST, &["192.0.2.7"]);
        let intake_settings = intake::Settings {
            hostname: HOST.to_owned(),
            max_message_bytes: 2 * 1024 * 1024,
            max_recipients: 1000,
            max_hops: 100,
            batch: BatchLimits::default(),
            expire_after: chrono::Duration::days(5),
            waive_ownership: false,
        };
        let return_paths = ReturnPaths::new(secrets.key(Purpose::ReturnPath));
        let passwords = Passwords::default();
        let mut settings = settings();
        change(&mut settings);
        let app = App {
            api_keys: ApiKeys::new(pool.clone(), Arc::clone(&secrets)),
            sessions: Sessions::new(pool.clone(), passwords.clone()),
            intake: Arc::new(Intake::new(pool.clone(), intake_settings, return_paths, Wake::default())),
            resolver: Arc::new(dns.clone()),
            limiter: Limiter::in_process(),
            readiness: health::Readiness::new(),
            secrets: Arc::clone(&secrets),
            pool: pool.clone(),
            settings,
        };
        Self {
            router: routes::router(Arc::new(app)),
            a: tenant(&pool, &secrets, &passwords, "a").await,
            b: tenant(&pool, &secrets, &passwords, "b").await,
            pool,
            dns,
            secrets,
        }
    }

    /// A key of the first organization with these scopes and domains.
    pub(crate) async fn key(&self, scopes: &[&str], domains: &[&str]) -> String {
        let wanted = api_keys::Wanted {
            name: "test".to_owned(),
            scopes: Scopes::parse(scopes).unwrap(),
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            ..api_keys::Wanted::default()
        };
        let mut connection = self.pool.acquire().await.unwrap();
        let (_, plain) = api_keys::create(&mut connection, &self.secrets, self.a.id, &wanted).await.unwrap();
        plain.expose_secret().to_owned()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        self.send_from(request, "192.0.2.1").await
    }

    pub(crate) async fn send_from(&self, mut request: Request<Body>, address: &str) -> Answer {
        let peer = SocketAddr::new(address.parse().unwrap(), 4711);
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            bytes,
        }
    }

    /// A call below the base; a body of `Null` is none.
    pub(crate) async fn call(&self, key: &str, method: &str, path: &str, body: Value) -> Answer {
        self.send(request(key, method, path, body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(&self.a.key, "GET", path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(&self.a.key, "POST", path, body).await
    }

    /// Publishes what the product asks for.
    pub(crate) fn publish(&self, domain: &Value) {
        for record in domain["dns_records"]["data"].as_array().unwrap() {
            let (name, value) = (record["name"].as_str().unwrap(), record["value"].as_str().unwrap());
            match record["type"].as_str().unwrap() {
                "TXT" => self.dns.txt(name, &[value]),
                _ => self.dns.mx(name, &[(10, value)]),
            };
        }
    }

    /// An active domain of an organization.
    pub(crate) async fn domain(&self, tenant: &Tenant, name: &str) -> String {
        let domain = self.call(&tenant.key, "POST", "/domains", json!({ "name": name })).await.ok(201);
        self.publish(&domain);
        let id = domain["id"].as_str().unwrap().to_owned();
        let verified = self
            .call(&tenant.key, "POST", &format!("/domains/{id}/verify"), Value::Null)
            .await
            .ok(200);
        assert_eq!(verified["status"], "active", "{verified}");
        id
    }
}

/// A request below the base.
pub(crate) fn request(key: &str, method: &str, path: &str, body: Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(format!("{}{path}", routes::BASE));
    if !key.is_empty() {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let body = match body {
        Value::Null => Body::empty(),
        body => {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        }
    };
    request.body(body).unwrap()
}

/// A request with further headers.
pub(crate) fn with_headers(mut request: Request<Body>, headers: &[(&'static str, &str)]) -> Request<Body> {
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// A message that can be sent.
pub(crate) fn message() -> Value {
    json!({ "from": "App <app@sender.test>", "to": ["ann@rcpt.test"], "subject": "hello", "text": "text" })
}

/// Asserts that nothing of ours shows in a 4xx or 5xx but what the contract says.
pub(crate) fn assert_error(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status.as_u16(), "{}", answer.json);
    let error = answer.json["error"].as_object().unwrap();
    let members: Vec<&str> = error.keys().map(String::as_str).collect();
    assert_eq!(members.len(), 4, "{members:?}");
    assert!(!answer.code().is_empty() && error["message"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(error["request_id"], answer.header("x-request-id"));
}

fn settings() -> Settings {
    let hour = Duration::from_secs(3600);
    Settings {
        hostname: HOST.to_owned(),
        public_url: "http://localhost:8000".parse().unwrap(),
        trusted_proxies: Vec::new(),
        cors_origins: Vec::new(),
        anonymous: Quota::per_minute(60),
        authenticated: Quota::per_minute(10_000),
        sending: Quota::per_minute(600),
        failed_logins_per_address: Quota::new(50, Duration::from_secs(600)),
        failed_logins_per_account: Quota::new(10, Duration::from_secs(600)),
        request_timeout: Duration::from_secs(60),
        expire_after: 24 * 5 * hour,
        check_interval: 6 * hour,
        endpoint_networks: vec!["127.0.0.0/8".parse().unwrap()],
        require_verified_destinations: true,
    }
}

async fn tenant(pool: &PgPool, secrets: &Secrets, passwords: &Passwords, name: &str) -> Tenant {
    let password = SecretString::from(PASSWORD);
    let email = format!("owner@{name}.test");
    let wanted = accounts::Wanted {
        email: &email,
        password: &password,
        name: "Owner",
        organization: name,
        instance_admin: false,
    };
    let (_, id) = accounts::create(pool, passwords, wanted).await.unwrap();
    let wanted = api_keys::Wanted {
        name: "test".to_owned(),
        scopes: [Scope::Admin].into_iter().collect(),
        ..api_keys::Wanted::default()
    };
    let mut connection = pool.acquire().await.unwrap();
    let (_, plain) = api_keys::create(&mut connection, secrets, id, &wanted).await.unwrap();
    Tenant {
        id,
        key: plain.expose_secret().to_owned(),
    }
}
