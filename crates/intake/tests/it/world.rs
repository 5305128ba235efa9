//! A door, and an organization with the verified domain `sender.test`.

use bytes::Bytes;
use intake::{Accepted, BatchLimits, Intake, ReceivedInfo, Refusal, Sender, Settings, Submission, Wake};
use mail::{Address, Envelope, Recipient, ReversePath, return_path::ReturnPaths};
use std::sync::Arc;
use store::{
    PgPool,
    ids::{DomainId, MessageId, OrganizationId},
    models::Via,
};

pub(crate) const HOSTNAME: &str = "mx.postroad.test";
pub(crate) const KEY: &[u8] = b"a key for return paths";

pub(crate) struct World {
    /// Looks at the database, whatever becomes of the door's own connections.
    pub(crate) pool: PgPool,
    pub(crate) intake: Arc<Intake>,
    pub(crate) organization: OrganizationId,
}

pub(crate) fn settings() -> Settings {
    Settings {
        hostname: HOSTNAME.into(),
        max_message_bytes: 1 << 20,
        max_recipients: 200,
        max_hops: 50,
        batch: BatchLimits::default(),
        expire_after: chrono::Duration::days(5),
        waive_ownership: false,
    }
}

impl World {
    pub(crate) async fn new(pool: PgPool) -> Self {
        Self::with_door_on(pool.clone(), pool, settings()).await
    }

    /// The door works on another pool than the test.
    pub(crate) async fn with_door_on(door: PgPool, pool: PgPool, settings: Settings) -> Self {
        let organization = OrganizationId::generate();
        store::organizations::insert(&pool, organization, "Tests").await.unwrap();
        let world = Self {
            intake: Arc::new(Intake::new(door, settings, ReturnPaths::new(KEY), Wake::default())),
            pool,
            organization,
        };
        world.domain(organization, "sender.test", true).await;
        world
    }

    pub(crate) async fn domain(&self, organization: OrganizationId, name: &str, verified: bool) {
        sqlx::query(
            "insert into domain (id, organization_id, name, status, ownership_token, verified_at)
             values ($1, $2, $3, case when $4 then 'active' else 'pending' end::domain_status, 'x', case when $4 then now() end)",
        )
        .bind(DomainId::generate().0)
        .bind(organization.0)
        .bind(name)
        .bind(verified)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    pub(crate) fn letter(&self, raw: &[u8]) -> Submission {
        Submission {
            sender: Sender {
                organization: self.organization,
                credential: uuid::Uuid::from_u128(7),
                allowed_from: Vec::new(),
                stream: "transactional".into(),
            },
            via: Via::Smtp,
            envelope: Envelope::new(
                ReversePath::parse("app@sender.test").unwrap(),
                vec![Recipient::new(Address::parse("ann@d.test").unwrap())],
            ),
            kinds: Vec::new(),
            raw: Bytes::copy_from_slice(raw),
            received: ReceivedInfo {
                helo: "client.test".into(),
                peer: Some([203, 0, 113, 9].into()),
                with: "ESMTPSA".into(),
                tls: Some("TLSv1.3".into()),
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

    pub(crate) async fn accept(&self, raw: &[u8]) -> Result<Accepted, Refusal> {
        self.intake.accept(self.letter(raw)).await
    }

    /// What was stored, split into our fields and the rest, which must be `rest`.
    pub(crate) async fn ours_before(&self, message: MessageId, rest: &[u8]) -> String {
        let raw = store::messages::content(&self.pool, self.organization, message).await.unwrap();
        let shown = String::from_utf8_lossy(&raw).into_owned();
        let ours = raw
            .strip_suffix(rest)
            .unwrap_or_else(|| panic!("{shown:?} does not end in {:?}", String::from_utf8_lossy(rest)));
        String::from_utf8(ours.to_vec()).unwrap()
    }

    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }
}

pub(crate) const COMPLETE: &[u8] =
    b"From: App <app@sender.test>\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\nSubject: hello\r\n\r\nthe body\r\n";
