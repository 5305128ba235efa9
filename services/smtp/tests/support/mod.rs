//! The listener on a free port, with a real PostgreSQL behind it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![allow(dead_code, reason = "each test file uses its own part of it, so `expect` would not hold in all")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::secrets::{Purpose, Secrets};
use auth::smtp_credentials::{self, SmtpCredentials, Wanted};
use config::{Config, ExposeSecret as _, SecretString, Service};
use intake::{BatchLimits, Intake, Wake};
use mail::return_path::ReturnPaths;
use rate_limit::Limiter;
use store::PgPool;
use store::ids::OrganizationId;
use store::smtp_credentials::{SmtpCredential, SmtpCredentialType};
use testkit::Client;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct World {
    pub(crate) pool: PgPool,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) organization: OrganizationId,
    pub(crate) return_paths: ReturnPaths,
    pub(crate) address: SocketAddr,
    pub(crate) tls_address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<anyhow::Result<()>>,
    pub(crate) credentials: SmtpCredentials,
    _data: tempfile::TempDir,
}

/// An organization with the verified domain `sender.test`, and the listener with these further settings.
pub(crate) async fn world(pool: PgPool, settings: &[(&str, &str)]) -> World {
    let data = tempfile::tempdir().unwrap();
    let given = [
        ("DATABASE_URL", "postgres://unused"),
        ("POSTROAD_SECRET_KEY", "a secret for tests that is long enough for anybody"),
        ("POSTROAD_SMTP__LISTEN", "127.0.0.1:0"),
        ("POSTROAD_SMTP__LISTEN_TLS", "127.0.0.1:0"),
        ("POSTROAD_SMTP__HOSTNAME", "mx.postroad.test"),
        ("POSTROAD_SMTP__REQUIRE_TLS_FOR_AUTH", "false"),
        ("POSTROAD_DATA_DIR", data.path().to_str().unwrap()),
    ];
    let environment = given
        .iter()
        .filter(|(name, _)| !settings.iter().any(|(other, _)| other == name))
        .chain(settings)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = Config::from_sources(Service::Smtp, environment, |path| std::fs::read_to_string(path)).unwrap();
    let secrets = Arc::new(Secrets::new(config.secret_key.as_ref().unwrap()));
    let organization = OrganizationId::generate();
    store::organizations::insert(&pool, organization, "Tests").await.unwrap();
    verified_domain(&pool, organization, "sender.test").await;
    let key = secrets.key(Purpose::ReturnPath);
    let intake_settings = intake::Settings {
        hostname: config.smtp.hostname.clone(),
        max_message_bytes: config.smtp.max_message_bytes,
        max_recipients: config.smtp.max_recipients,
        max_hops: 50,
        batch: BatchLimits::default(),
        expire_after: chrono::Duration::days(5),
        waive_ownership: false,
    };
    let intake = Intake::new(pool.clone(), intake_settings, ReturnPaths::new(key), Wake::default());
    let credentials = SmtpCredentials::with_staleness(pool.clone(), Arc::clone(&secrets), Duration::from_millis(50));
    let listeners = postroad_smtp::Listeners::bind(&config.smtp).unwrap();
    let (address, tls_address) = (listeners.addresses()[0], listeners.tls_addresses()[0]);
    let deps = postroad_smtp::Deps {
        config: Arc::new(config),
        intake: Arc::new(intake),
        credentials: credentials.clone(),
        limiter: Limiter::in_process(),
    };
    let stop = CancellationToken::new();
    let running = tokio::spawn(postroad_smtp::run(deps, listeners, stop.clone()));
    let return_paths = ReturnPaths::new(secrets.key(Purpose::ReturnPath));
    World {
        pool,
        secrets,
        organization,
        return_paths,
        address,
        tls_address,
        stop,
        running,
        credentials,
        _data: data,
    }
}

/// A domain as verification leaves it.
pub(crate) async fn verified_domain(pool: &PgPool, organization: OrganizationId, name: &str) {
    sqlx::query(
        "insert into domain (id, organization_id, name, status, ownership_token, verified_at) values ($1, $2, $3, 'active', 'x', now())",
    )
    .bind(store::ids::DomainId::generate().0)
    .bind(organization.0)
    .bind(name)
    .execute(pool)
    .await
    .unwrap();
}

/// The end of a test closes the pool, and waits for those who hold a connection.
impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    pub(crate) async fn credential(
        &self,
        kind: SmtpCredentialType,
        networks: &[&str],
        allowed_from: &[&str],
    ) -> (SmtpCredential, Option<SecretString>) {
        let wanted = Wanted {
            name: "App".into(),
            kind,
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            allowed_from: allowed_from.iter().map(|entry| (*entry).to_owned()).collect(),
            stream: "transactional".into(),
        };
        let mut connection = self.pool.acquire().await.unwrap();
        smtp_credentials::create(&mut connection, &self.secrets, self.organization, &wanted)
            .await
            .unwrap()
    }

    pub(crate) async fn password(&self) -> (String, String) {
        let (credential, password) = self.credential(SmtpCredentialType::Password, &[], &[]).await;
        (credential.username, password.unwrap().expose_secret().to_owned())
    }

    /// A connection past greeting and EHLO.
    pub(crate) async fn client(&self) -> Client<TcpStream> {
        let mut client = Client::new(TcpStream::connect(self.address).await.unwrap());
        let greeting = client.reply().await;
        assert!(greeting.starts_with("220 mx.postroad.test ESMTP"), "{greeting}");
        let offer = client.say("EHLO client.test").await;
        assert!(offer.contains("STARTTLS") && offer.contains("AUTH PLAIN LOGIN"), "{offer}");
        client
    }

    pub(crate) async fn logged_in(&self) -> Client<TcpStream> {
        let (username, password) = self.password().await;
        let mut client = self.client().await;
        let answer = log_in(&mut client, &username, &password).await;
        assert!(answer.starts_with("235 2.7.0"), "{answer}");
        client
    }

    pub(crate) async fn messages(&self) -> i64 {
        sqlx::query_scalar("select count(*) from message")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }
}

pub(crate) async fn log_in(client: &mut Client<TcpStream>, username: &str, password: &str) -> String {
    use lettre::transport::smtp::authentication::{Credentials, Mechanism};
    let response = Mechanism::Plain
        .response(&Credentials::new(username.to_owned(), password.to_owned()), None)
        .unwrap();
    client.say(&format!("AUTH PLAIN {}", base64(response.as_bytes()))).await
}

/// Enough of RFC 4648 for a test.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .enumerate()
            .fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for letter in 0..4 {
            let value = usize::try_from(bits >> (18 - 6 * letter) & 63).unwrap();
            text.push(if letter <= three.len() { char::from(LETTERS[value]) } else { '=' });
        }
    }
    text
}

pub(crate) async fn send(client: &mut Client<TcpStream>, from: &str, to: &[&str], content: &str) -> String {
    let answer = client.say(&format!("MAIL FROM:<{from}>")).await;
    assert!(answer.starts_with("250"), "{answer}");
    for recipient in to {
        let answer = client.say(&format!("RCPT TO:<{recipient}>")).await;
        assert!(answer.starts_with("250"), "{answer}");
    }
    assert!(client.say("DATA").await.starts_with("354"));
    client.say(&format!("{content}\r\n.")).await
}

pub(crate) const MESSAGE: &str = "From: app@sender.test\r\nTo: ann@rcpt.test\r\nSubject: hello\r\nMessage-ID: <1@sender.test>\r\n\r\nbody";
