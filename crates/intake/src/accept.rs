//! The door itself: checks in order, then the group commit.

use crate::{
    Accepted, AcceptedRecipient, NoQuota, Quota, Refusal, Sender, Submission, Wake, batcher::Batcher, bounces, directory::Directory,
    message, policy,
};
use chrono::Utc;
use mail::{Address, ReversePath, content::ContentFacts, return_path::ReturnPaths};
use mailauth::Verifier;
use std::sync::Arc;
use store::{
    PgPool,
    acceptance::{self, NewMessage, Stored},
    ids::{DomainId, MessageId},
    models::DeliveryStatus,
};

/// What the operator chose about the door.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name in Received and Message-ID fields.
    pub hostname: String,
    /// Octets of a message at most.
    pub max_message_bytes: usize,
    /// Recipients of a message at most.
    pub max_recipients: usize,
    /// Received fields beyond which a message is going round in circles (RFC 5321 §6.3 asks for at least 100).
    pub max_hops: usize,
    /// Limits of one commit.
    pub batch: BatchLimits,
    /// How long delivery is tried.
    pub expire_after: chrono::Duration,
    /// Capture mode: nothing leaves, so the ownership of the sender's domain is not asked for.
    pub waive_ownership: bool,
}

/// How much one commit takes, and how much may wait for one.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Messages of one commit.
    pub messages: usize,
    /// Octets of one commit, but for a single message that has more.
    pub bytes: usize,
    /// Octets of messages on their way into the database; beyond, sessions wait for room.
    pub waiting_bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            messages: 256,
            bytes: 8 << 20,
            waiting_bytes: 96 << 20,
        }
    }
}

/// The door. Cheap to share by `Arc`.
#[derive(Debug)]
pub struct Intake {
    pub(crate) pool: PgPool,
    pub(crate) settings: Settings,
    pub(crate) directory: Directory,
    pub(crate) return_paths: ReturnPaths,
    pub(crate) verifier: Option<Verifier>,
    pub(crate) batcher: Batcher,
    pub(crate) wake: Wake,
    quota: Arc<dyn Quota>,
}

impl Intake {
    /// Opens the door. Must be called inside a tokio runtime: it starts the committing task.
    #[must_use]
    pub fn new(pool: PgPool, settings: Settings, return_paths: ReturnPaths, wake: Wake) -> Self {
        Self {
            directory: Directory::new(pool.clone()),
            batcher: Batcher::start(pool.clone(), settings.batch),
            pool,
            settings,
            return_paths,
            verifier: None,
            quota: Arc::new(NoQuota),
            wake,
        }
    }

    /// The same door with a quota.
    #[must_use]
    pub fn with_quota(mut self, quota: Arc<dyn Quota>) -> Self {
        self.quota = quota;
        self
    }

    /// The same door with checks of what comes in: without, nothing is known of its origin.
    #[must_use]
    pub fn with_verifier(mut self, verifier: Verifier) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// What the operator chose.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether a sender may use this reverse-path: asked at MAIL FROM, so that a client learns of it before it sends the body.
    ///
    /// # Errors
    /// [`Refusal::SenderNotAllowed`], [`Refusal::DomainNotVerified`], [`Refusal::Unavailable`].
    pub async fn check_sender(&self, sender: &Sender, path: &ReversePath) -> Result<(), Refusal> {
        match path.address() {
            Some(address) => self.may_send_as(sender, address).await.map(|_| ()),
            None => Ok(()), // the author's domain decides, at the end of DATA
        }
    }

    /// Whether mail for this domain is ours to take: some organization has verified it, or it is the return-path name below such a one.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    pub async fn hosts(&self, domain: &mail::Domain) -> Result<bool, Refusal> {
        self.directory.is_hosted(domain.as_str()).await
    }

    /// Stores a message, or says why not.
    ///
    /// # Errors
    /// Every [`Refusal`] but those of bounces. Nothing is stored then, except that [`Refusal::InDoubt`] says that nobody knows.
    pub async fn accept(&self, submission: Submission) -> Result<Accepted, Refusal> {
        let outcome = self.try_accept(submission).await;
        match &outcome {
            Ok(accepted) if !accepted.replayed => metrics::counter!("postroad_messages_accepted_total").increment(1),
            Ok(_) => metrics::counter!("postroad_messages_replayed_total").increment(1),
            Err(refusal) => metrics::counter!("postroad_messages_refused_total", "reason" => refusal.reason()).increment(1),
        }
        outcome
    }

    async fn try_accept(&self, mut submission: Submission) -> Result<Accepted, Refusal> {
        let count = submission.envelope.recipients.len();
        if count == 0 || count > self.settings.max_recipients {
            return Err(Refusal::RecipientCount {
                limit: self.settings.max_recipients,
            });
        }
        let facts = message::inspect(&submission, &self.settings)?;
        let domain = self.authorize(&submission, &facts).await?;
        if submission.idempotency.is_none() {
            submission.idempotency = message::idempotency_key(&submission.raw).map(|key| bounces::smtp_idempotency(key, &submission));
        }
        self.quota
            .reserve(submission.sender.organization, count)
            .await
            .map_err(|full| Refusal::QuotaExceeded {
                retry_after: full.retry_after,
            })?;
        let prepared = message::prepare(submission, &facts, domain, &self.settings, Utc::now());
        let mut new = prepared.message;
        let lanes = self.directory.lanes(prepared.lanes).await?;
        for (delivery, lane) in new.deliveries.iter_mut().zip(&lanes) {
            delivery.lane = *lane;
        }
        let answer = Answer::of(&new);
        match self.batcher.store(new).await {
            Stored::Committed { suppressed } => {
                self.wake.wake(lanes);
                Ok(answer.accepted(&suppressed))
            }
            Stored::KeyTaken => answer.replay(&self.pool).await,
            Stored::Refused => Err(Refusal::Malformed("the database cannot hold this message's header".to_owned())),
            Stored::Unavailable => Err(Refusal::Unavailable),
            Stored::InDoubt => Err(Refusal::InDoubt),
        }
    }

    /// Envelope sender and authors must all be the sender's to use. Gives the domain whose keys sign: the author's, so that DKIM
    /// aligns with From.
    async fn authorize(&self, submission: &Submission, facts: &ContentFacts) -> Result<Option<DomainId>, Refusal> {
        let envelope = submission.envelope_sender();
        let mut domain = None;
        if let Some(address) = envelope {
            domain = self.may_send_as(&submission.sender, address).await?;
        }
        if facts.from_count == 0 {
            return if envelope.is_some() { Ok(domain) } else { Err(Refusal::NoFrom) };
        }
        if facts.from.is_empty() {
            return Err(Refusal::Malformed("the From field holds no address".to_owned()));
        }
        for author in facts.from.iter().rev() {
            domain = self.may_send_as(&submission.sender, author).await?;
        }
        Ok(domain)
    }

    async fn may_send_as(&self, sender: &Sender, address: &Address) -> Result<Option<DomainId>, Refusal> {
        if !policy::may_send_as(&sender.allowed_from, address) {
            return Err(Refusal::SenderNotAllowed {
                address: address.to_string(),
            });
        }
        let verified = match address.domain() {
            Some(domain) => self.directory.verified(sender.organization, domain.as_str()).await?,
            None => None,
        };
        if verified.is_none() && !self.settings.waive_ownership {
            return Err(Refusal::DomainNotVerified {
                domain: address.host().to_string(),
            });
        }
        Ok(verified)
    }
}

/// What is needed to answer once the message has gone to the batch.
struct Answer {
    message: MessageId,
    organization: store::ids::OrganizationId,
    recipients: Vec<String>,
    status: DeliveryStatus,
    key: Option<acceptance::NewIdempotency>,
}

impl Answer {
    fn of(message: &NewMessage) -> Self {
        Self {
            message: message.id,
            organization: message.organization,
            recipients: message.deliveries.iter().map(|delivery| delivery.recipient.clone()).collect(),
            status: message.first_status(),
            key: message.idempotency.clone(),
        }
    }

    fn accepted(self, suppressed: &[i32]) -> Accepted {
        let recipients = (0..)
            .zip(self.recipients)
            .map(|(number, address)| AcceptedRecipient {
                address,
                status: if suppressed.contains(&number) {
                    DeliveryStatus::Suppressed
                } else {
                    self.status
                },
            })
            .collect();
        Accepted {
            message: self.message,
            recipients,
            replayed: false,
        }
    }

    async fn replay(self, pool: &PgPool) -> Result<Accepted, Refusal> {
        let Some(key) = self.key else { return Err(Refusal::Unavailable) };
        match acceptance::previous(pool, self.organization, &key).await? {
            acceptance::Previous::OtherRequest => Err(Refusal::KeyReused),
            acceptance::Previous::Running => Err(Refusal::KeyInProgress),
            acceptance::Previous::Answered { message, recipients } => Ok(Accepted {
                message,
                recipients: recipients
                    .into_iter()
                    .map(|(address, status)| AcceptedRecipient { address, status })
                    .collect(),
                replayed: true,
            }),
        }
    }
}
