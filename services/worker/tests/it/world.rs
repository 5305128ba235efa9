//! An organization with the verified domain `sender.test`, a scripted DNS, and a worker when the test wants one.

use assembly::Assembly;
use auth::secrets::{Purpose, Secrets};
use bytes::Bytes;
use config::{Config, Service};
use dns::{Resolver, ScriptedResolver};
use intake::{BatchLimits, Intake, ReceivedInfo, Sender, Submission, Wake};
use mail::{Address, Envelope, Recipient, ReversePath, return_path::ReturnPaths};
use postroad_worker::Deps;
use std::{net::IpAddr, sync::Arc, time::Duration};
use store::{
    PgPool,
    ids::{DomainId, MessageId, OrganizationId},
    models::Via,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const HOSTNAME: &str = "mx.postroad.test";

pub(crate) struct World {
    pub(crate) pool: PgPool,
    pub(crate) dns: ScriptedResolver,
    pub(crate) assembly: Assembly,
    pub(crate) organization: OrganizationId,
    pub(crate) domain: DomainId,
    stop: CancellationToken,
}

/// The end of a test closes the pool, and waits for those who hold a connection.
impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Settings under which a test is quick: a first wait of an hour keeps a deferred message where the test can look at it.
pub(crate) fn config() -> Config {
    let given = [
        ("DATABASE_URL", "postgres://unused"),
        ("POSTROAD_SECRET_KEY", "a secret for tests that is long enough for anybody"),
        ("POSTROAD_SMTP__HOSTNAME", HOSTNAME),
        ("POSTROAD_DELIVERY__MODE", "direct"),
        ("POSTROAD_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"),
        ("POSTROAD_DELIVERY__RETRY_SCHEDULE", "1h"),
        ("POSTROAD_DELIVERY__IDLE_TIMEOUT", "50ms"),
        ("POSTROAD_DELIVERY__POLL_INTERVAL", "200ms"),
    ];
    let environment = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_sources(Service::Worker, environment, |path| std::fs::read_to_string(path)).unwrap()
}

pub(crate) const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl World {
    /// `adjust` changes settings; every recipient's server listens on `port`.
    pub(crate) async fn new(pool: PgPool, port: u16, adjust: impl FnOnce(&mut Config)) -> Self {
        let dns = ScriptedResolver::new();
        Self::with_resolver(pool, port, dns.clone(), Arc::new(dns), adjust).await
    }

    pub(crate) async fn with_resolver(
        pool: PgPool,
        port: u16,
        dns: ScriptedResolver,
        resolver: Arc<dyn Resolver>,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = config();
        config.delivery.mx_port = port;
        adjust(&mut config);
        let secrets = Arc::new(Secrets::new(config.secret_key.as_ref().unwrap()));
        let settings = intake::Settings {
            hostname: config.smtp.hostname.clone(),
            max_message_bytes: config.smtp.max_message_bytes,
            max_recipients: config.smtp.max_recipients,
            max_hops: config.intake.max_hops,
            batch: BatchLimits::default(),
            expire_after: chrono::Duration::from_std(config.delivery.expire_after).unwrap(),
            waive_ownership: config.delivery.mode == config::Mode::Capture,
        };
        let wake = Wake::default();
        let return_paths = ReturnPaths::new(secrets.key(Purpose::ReturnPath));
        let assembly = Assembly {
            intake: Arc::new(Intake::new(pool.clone(), settings, return_paths, wake.clone())),
            config: Arc::new(config),
            pool: pool.clone(),
            secrets,
            wake,
            resolver,
            limiter: rate_limit::Limiter::in_process(),
            readiness: health::Readiness::new(),
        };
        let mut world = Self {
            organization: OrganizationId::generate(),
            domain: DomainId::generate(),
            pool,
            dns,
            assembly,
            stop: CancellationToken::new(),
        };
        world.domain = world.tenant(world.organization, "sender.test").await;
        world
    }

    /// An organization with a domain as verification leaves it.
    pub(crate) async fn tenant(&self, organization: OrganizationId, name: &str) -> DomainId {
        store::organizations::insert(&self.pool, organization, "Tests").await.unwrap();
        let domain = DomainId::generate();
        sqlx::query(
            "insert into domain (id, organization_id, name, status, ownership_token, verified_at, next_check_at)
             values ($1, $2, $3, 'active', 'x', now(), now() + interval '1 day')",
        )
        .bind(domain.0)
        .bind(organization.0)
        .bind(name)
        .execute(&self.pool)
        .await
        .unwrap();
        domain
    }

    /// Mail for `domain` goes to this address.
    pub(crate) fn serve(&self, domain: &str, address: IpAddr) {
        let host = format!("mx.{domain}");
        self.dns.mx(domain, &[(10, &host)]).a(&host, &[&address.to_string()]);
    }

    /// Starts a worker of its own.
    pub(crate) fn start(&self) -> Worker {
        let stop = self.stop.child_token();
        let deps = Deps {
            assembly: self.assembly.clone(),
            alone: true,
        };
        Worker {
            running: tokio::spawn(postroad_worker::run(deps, stop.clone())),
            stop,
        }
    }

    /// A submission by SMTP from `app@sender.test`.
    pub(crate) fn letter(&self, to: &[&str]) -> Submission {
        let recipients = to.iter().map(|text| Recipient::new(Address::parse(text).unwrap())).collect();
        let sender = ReversePath::parse("app@sender.test").unwrap();
        Submission {
            sender: Sender {
                organization: self.organization,
                credential: uuid::Uuid::from_u128(7),
                allowed_from: Vec::new(),
                stream: "transactional".into(),
            },
            via: Via::Smtp,
            envelope: Envelope::new(sender, recipients),
            kinds: Vec::new(),
            raw: Bytes::from_static(CONTENT),
            received: ReceivedInfo {
                helo: "client.test".into(),
                with: "ESMTPSA".into(),
                ..ReceivedInfo::default()
            },
            tags: Vec::new(),
            metadata: serde_json::json!({}),
            stream: None,
            scheduled_at: None,
            expires_at: None,
            idempotency: None,
            trace_context: None,
        }
    }

    pub(crate) async fn accept(&self, submission: Submission) -> MessageId {
        self.assembly.intake.accept(submission).await.unwrap().message
    }

    pub(crate) async fn send(&self, to: &[&str]) -> MessageId {
        self.accept(self.letter(to)).await
    }

    /// `recipient status code attempts`, in order.
    pub(crate) async fn deliveries(&self, message: MessageId) -> Vec<String> {
        sqlx::query_scalar(
            "select recipient || ' ' || status::text || ' ' || coalesce(enhanced_code, '-') || ' ' || attempts
             from delivery where message_id = $1 order by number",
        )
        .bind(message.0)
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    /// Waits until the deliveries look like this.
    pub(crate) async fn until(&self, message: MessageId, wanted: &[&str]) {
        let deadline = tokio::time::Instant::now() + testkit::PATIENCE;
        loop {
            let found = self.deliveries(message).await;
            if found == wanted {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited in vain for {wanted:?}: {found:?}, tried {:?}",
                self.attempts(message).await
            );
            tokio::time::sleep(milliseconds(20)).await;
        }
    }

    /// `outcome response recipients`, oldest first.
    pub(crate) async fn attempts(&self, message: MessageId) -> Vec<String> {
        self.texts(
            "select outcome::text || ' ' || coalesce(response, '-') || ' ' || array_to_string(recipients, ',')
             from attempt where message_id = $1 order by started_at, id",
            message,
        )
        .await
    }

    pub(crate) async fn transcript(&self, message: MessageId) -> String {
        self.texts(
            "select transcript from attempt where message_id = $1 order by started_at, id",
            message,
        )
        .await
        .join("\n")
    }

    /// The types of the message's events, sorted.
    pub(crate) async fn events(&self, message: MessageId) -> Vec<String> {
        self.texts("select type from event where message_id = $1 order by type", message)
            .await
    }

    /// The texts that a query about one message gives.
    pub(crate) async fn texts(&self, query: &'static str, message: MessageId) -> Vec<String> {
        sqlx::query_scalar(query).bind(message.0).fetch_all(&self.pool).await.unwrap()
    }

    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// Waits until a query gives this number.
    pub(crate) async fn until_number(&self, query: &'static str, wanted: i64) {
        let what = format!("{wanted} from: {query}");
        testkit::eventually(&what, || async { (self.number(query).await == wanted).then_some(()) }).await;
    }
}

pub(crate) const CONTENT: &[u8] =
    b"From: App <app@sender.test>\r\nTo: somebody\r\nSubject: hello\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n\
    Message-ID: <1@sender.test>\r\n\r\nthe body\r\n";

/// A running worker.
pub(crate) struct Worker {
    pub(crate) stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Worker {
    /// Stops it and waits until it has ended.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.ended().await;
    }

    pub(crate) async fn ended(self) {
        tokio::time::timeout(testkit::PATIENCE, self.running)
            .await
            .expect("the worker ends when told")
            .unwrap()
            .unwrap();
    }
}
