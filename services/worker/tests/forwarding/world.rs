//! An organization with the verified domain `mine.test`, its private mailboxes at `home.test`, and authors elsewhere, all at one sink.

use assembly::Assembly;
use auth::secrets::{Purpose, Secrets};
use config::{Config, Service};
use dns::ScriptedResolver;
use intake::{Arrival, BatchLimits, Intake, ReceivedInfo, Refusal, Wake};
use mail::{Address, Envelope, Recipient, ReversePath, return_path::ReturnPaths};
use mailauth::{
    Verifier,
    dkim::{Algorithm, Signer, generate, record_value, sign},
};
use postroad_worker::Deps;
use std::{net::IpAddr, sync::Arc, time::Duration};
use store::{
    PgPool,
    aliases::{self, NewAlias},
    destinations::{self, NewDestination},
    dkim_keys,
    ids::{AliasId, DestinationId, DkimKeyId, DomainId, MessageId, OrganizationId},
    models::{DestinationKind, DkimAlgorithm, RepliesAs},
    rules::{self, NewRule, Scope},
};
use testkit::{
    Sink,
    sink::{Behaviour, Message, Moment, Reply},
};
use tokio_util::sync::CancellationToken;

pub(crate) const HOSTNAME: &str = "mx.postroad.test";
/// The address that SPF of every author's domain names.
pub(crate) const AUTHORS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));
/// An address that no SPF record names.
pub(crate) const STRANGE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 66));

/// Where mail for `mine.test` ends, where authors are, and who checks nothing.
const OUTSIDE: [&str; 5] = ["home.test", "work.test", "stranger.test", "strict.test", "careful.test"];

pub(crate) struct World {
    pub(crate) pool: PgPool,
    pub(crate) dns: ScriptedResolver,
    pub(crate) assembly: Assembly,
    pub(crate) organization: OrganizationId,
    pub(crate) domain: DomainId,
    pub(crate) sink: Sink,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn config() -> Config {
    let given = [
        ("DATABASE_URL", "postgres://unused"),
        ("POSTROAD_SECRET_KEY", "a secret for tests that is long enough for anybody"),
        ("POSTROAD_SMTP__HOSTNAME", HOSTNAME),
        ("POSTROAD_DELIVERY__MODE", "direct"),
        ("POSTROAD_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"),
        ("POSTROAD_WEBHOOKS__ALLOW_NETWORKS", "127.0.0.0/8"),
        ("POSTROAD_DELIVERY__RETRY_SCHEDULE", "100ms"),
        ("POSTROAD_DELIVERY__IDLE_TIMEOUT", "50ms"),
        ("POSTROAD_DELIVERY__POLL_INTERVAL", "100ms"),
    ];
    let environment = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_sources(Service::Worker, environment, |path| std::fs::read_to_string(path)).unwrap()
}

impl World {
    pub(crate) async fn new(pool: PgPool) -> Self {
        Self::behaving(pool, Behaviour::default(), |_| {}).await
    }

    /// The servers outside answer by this script.
    pub(crate) async fn scripted(pool: PgPool, script: impl Fn(&Moment<'_>) -> Reply + Send + Sync + 'static) -> Self {
        Self::behaving(pool, Behaviour::scripted(script), |_| {}).await
    }

    pub(crate) async fn behaving(pool: PgPool, behaviour: Behaviour, adjust: impl FnOnce(&mut Config)) -> Self {
        let sink = Sink::behaving(behaviour).await;
        let mut config = config();
        config.delivery.mx_port = sink.address.port();
        adjust(&mut config);
        let dns = ScriptedResolver::new();
        for domain in OUTSIDE {
            let host = format!("mx.{domain}");
            dns.mx(domain, &[(10, &host)]).a(&host, &["127.0.0.1"]);
            dns.txt(domain, &[&format!("v=spf1 ip4:{AUTHORS} -all")]);
        }
        dns.txt("work.test", &["v=spf1 -all"]);
        dns.txt("_dmarc.strict.test", &["v=DMARC1; p=reject"]);
        dns.txt("_dmarc.careful.test", &["v=DMARC1; p=quarantine"]);
        dns.txt("_dmarc.stranger.test", &["v=DMARC1; p=none"]);
        dns.mx("mine.test", &[(10, HOSTNAME)]).a(HOSTNAME, &["127.0.0.1"]);
        let assembly = assembly(&pool, config, &dns);
        let mut world = Self {
            organization: OrganizationId::generate(),
            domain: DomainId::generate(),
            pool,
            dns,
            assembly,
            sink,
            stop: CancellationToken::new(),
        };
        world.domain = world.tenant(world.organization, "mine.test").await;
        world
    }

    /// An organization with a domain as verification leaves it, and a key that signs.
    pub(crate) async fn tenant(&self, organization: OrganizationId, name: &str) -> DomainId {
        store::organizations::insert(&self.pool, organization, "Tests").await.unwrap();
        let domain = DomainId::generate();
        self.run(
            "insert into domain (id, organization_id, name, status, ownership_token, verified_at, next_check_at)
             select $1, $2, $3, 'active', 'x', now(), now() + interval '1 day'",
            &[domain.0, organization.0],
            Some(name),
        )
        .await;
        let made = generate(Algorithm::Ed25519Sha256).unwrap();
        let id = DkimKeyId::generate();
        let sealed = self.assembly.secrets.seal(Purpose::Dkim, &made.pkcs8, id.0.as_bytes());
        let new = dkim_keys::NewDkimKey {
            id,
            selector: "pr",
            algorithm: DkimAlgorithm::Ed25519Sha256,
            private_key: &sealed,
            public_key: &made.public_key,
        };
        dkim_keys::insert(&self.pool, organization, domain, new).await.unwrap();
        self.run("update dkim_key set state = 'active' where id = $1", &[id.0], None).await;
        let record = record_value(Algorithm::Ed25519Sha256, &made.public_key);
        self.dns.txt(&format!("pr._domainkey.{name}"), &[&record]);
        domain
    }

    /// Runs a statement whose first parameters are ids, and the last a text if there is one.
    pub(crate) async fn run(&self, statement: &'static str, ids: &[uuid::Uuid], text: Option<&str>) {
        let query = ids.iter().fold(sqlx::query(statement), |query, id| query.bind(*id));
        match text {
            Some(text) => query.bind(text.to_owned()),
            None => query,
        }
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// A destination; an endpoint when it is a URL.
    pub(crate) async fn destination(&self, address: &str, verified: bool) -> DestinationId {
        let id = DestinationId::generate();
        let endpoint = address.contains("://");
        let secret = self.assembly.secrets.seal(Purpose::Endpoint, b"signing secret", id.0.as_bytes());
        let new = NewDestination {
            id,
            kind: if endpoint {
                DestinationKind::Endpoint
            } else {
                DestinationKind::Mailbox
            },
            address,
            address_folded: &destinations::fold(address),
            verified,
            verification_hash: None,
            signing_secret: endpoint.then_some(&secret),
        };
        let mut connection = self.pool.acquire().await.unwrap();
        let found = destinations::find_or_insert(&mut connection, self.organization, new).await.unwrap();
        found.0.id
    }

    /// An alias of `mine.test`, to confirmed destinations.
    pub(crate) async fn alias(&self, local_part: &str, to: &[&str]) -> AliasId {
        self.alias_with(local_part, to, |_| {}).await
    }

    pub(crate) async fn alias_with(&self, local_part: &str, to: &[&str], adjust: impl FnOnce(&mut NewAlias<'_>)) -> AliasId {
        let mut destinations = Vec::new();
        for address in to {
            destinations.push(self.destination(address, true).await);
        }
        let mut new = NewAlias {
            domain: self.domain,
            local_part,
            pattern: false,
            replies: RepliesAs::Direct,
            description: "",
            expires_at: None,
            max_messages: None,
            destinations: &destinations,
        };
        adjust(&mut new);
        let mut connection = self.pool.acquire().await.unwrap();
        aliases::insert(&mut connection, self.organization, new).await.unwrap().id
    }

    pub(crate) async fn rule(&self, scope: Scope, conditions: serde_json::Value, action: serde_json::Value) {
        let definition = serde_json::json!({ "match": "all", "conditions": conditions, "action": action });
        let new = NewRule {
            scope,
            name: "a rule",
            position: None,
            enabled: true,
            definition: &definition,
        };
        rules::insert(&self.pool, self.organization, new).await.unwrap();
    }

    /// Signs a message as this domain, which publishes the key.
    pub(crate) fn sign(&self, domain: &str, raw: &[u8]) -> Vec<u8> {
        let made = generate(Algorithm::Ed25519Sha256).unwrap();
        let record = record_value(Algorithm::Ed25519Sha256, &made.public_key);
        self.dns.txt(&format!("s._domainkey.{domain}"), &[&record]);
        let signer = Signer::new(Algorithm::Ed25519Sha256, &made.pkcs8, domain, "s").unwrap();
        let now = chrono::Utc::now().timestamp().unsigned_abs();
        [sign(&[raw], &[&signer], now).unwrap(), raw.to_vec()].concat()
    }

    /// What a server at `peer` brings.
    pub(crate) fn arrival(&self, peer: IpAddr, from: &str, to: &[&str], raw: &[u8]) -> Arrival {
        let recipients = to.iter().map(|text| Recipient::new(Address::parse(text).unwrap())).collect();
        Arrival {
            received: ReceivedInfo {
                helo: "out.test".into(),
                peer: Some(peer),
                with: "ESMTP".into(),
                tls: None,
            },
            envelope: Envelope::new(ReversePath::parse(from).unwrap(), recipients),
            raw: raw.to_vec().into(),
            trace_context: None,
            local: None,
        }
    }

    pub(crate) async fn receive(&self, peer: IpAddr, from: &str, to: &[&str], raw: &[u8]) -> Result<Vec<MessageId>, Refusal> {
        // As the session does: every recipient is asked for before the message comes.
        for recipient in to {
            self.assembly.intake.recipient(&Address::parse(recipient).unwrap()).await?;
        }
        self.assembly.intake.receive(self.arrival(peer, from, to, raw)).await
    }

    /// A letter from this author by the right server.
    pub(crate) async fn letter(&self, from: &str, to: &[&str], subject: &str) -> Result<Vec<MessageId>, Refusal> {
        self.receive(AUTHORS, from, to, &letter(from, to[0], subject)).await
    }

    pub(crate) fn start(&self) {
        let deps = Deps {
            assembly: self.assembly.clone(),
            alone: true,
        };
        tokio::spawn(postroad_worker::run(deps, self.stop.child_token()));
    }

    /// The messages with this subject, once `count` of them have arrived and nothing is under way any more.
    pub(crate) async fn arrives(&self, subject: &str, count: usize) -> Vec<Message> {
        self.settled().await;
        let line = format!("\nSubject: {subject}\r\n");
        let found: Vec<Message> = self
            .sink
            .messages()
            .into_iter()
            .filter(|message| text(message).contains(&line))
            .collect();
        assert_eq!(found.len(), count, "{subject}: {found:?}");
        found
    }

    /// Waits until the queue is empty and no report is owed.
    pub(crate) async fn settled(&self) {
        self.until("select (select count(*) from queue) + (select count(*) from report_owed)", 0)
            .await;
    }

    pub(crate) async fn until(&self, query: &'static str, wanted: i64) {
        let what = format!("{wanted} from: {query}");
        testkit::eventually(&what, || async { (self.number(query).await == wanted).then_some(()) }).await;
    }

    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// The deliveries' `recipient status code`, sorted.
    pub(crate) async fn deliveries(&self) -> Vec<String> {
        self.texts("select recipient || ' ' || status || ' ' || coalesce(enhanced_code, '-') from delivery order by 1")
            .await
    }

    pub(crate) async fn texts(&self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query).fetch_all(&self.pool).await.unwrap()
    }
}

fn assembly(pool: &PgPool, config: Config, dns: &ScriptedResolver) -> Assembly {
    let secrets = Arc::new(Secrets::new(config.secret_key.as_ref().unwrap()));
    let settings = intake::Settings {
        hostname: config.smtp.hostname.clone(),
        max_message_bytes: config.smtp.max_message_bytes,
        max_recipients: config.smtp.max_recipients,
        max_hops: config.intake.max_hops,
        batch: BatchLimits::default(),
        expire_after: chrono::Duration::from_std(config.delivery.expire_after).unwrap(),
        waive_ownership: false,
    };
    let (wake, resolver) = (Wake::default(), Arc::new(dns.clone()));
    let return_paths = ReturnPaths::new(secrets.key(Purpose::ReturnPath));
    let intake = Intake::new(pool.clone(), settings, return_paths, wake.clone()).with_verifier(Verifier::new(resolver.clone()));
    Assembly {
        intake: Arc::new(intake),
        config: Arc::new(config),
        pool: pool.clone(),
        secrets,
        wake,
        resolver,
        limiter: rate_limit::Limiter::in_process(),
        readiness: health::Readiness::new(),
    }
}

pub(crate) const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A plain letter.
pub(crate) fn letter(from: &str, to: &str, subject: &str) -> Vec<u8> {
    letter_with(from, to, subject, "")
}

/// A plain letter with more fields.
pub(crate) fn letter_with(from: &str, to: &str, subject: &str, fields: &str) -> Vec<u8> {
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@author.test>\r\n{fields}\r\nthe body\r\n"
    )
    .into_bytes()
}

/// The bytes of a message for looking at.
pub(crate) fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.data).into_owned()
}

/// The body of a field, unfolded; empty when there is none.
pub(crate) fn field(message: &Message, name: &str) -> String {
    let headers = mail::header::Headers::scan(&message.data);
    headers
        .first(name)
        .map(|field| mail::header::unfold(field.value))
        .unwrap_or_default()
}
