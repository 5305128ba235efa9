//! One transaction from start to outcome: body, signature, return path, conversation, history.

use crate::{
    destination::ConnectionLimits,
    dial::{Dialer, Dialled, Unreachable},
    identity::{Identities, Identity},
    job::{self, Job},
    outcome::{self, Circumstances, Fate},
    writer::{Finished, Writer},
};
use chrono::{DateTime, Utc};
use intake::Intake;
use mail::{Address, Domain, EnhancedCode, Host, ReversePath, header, return_path::ReturnPaths};
use smtp::client::Transaction;
use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use store::{
    PgPool, contacts,
    models::AttemptOutcome,
    queue::{self, AttemptRecord, Finish, Outcome},
};
use tokio::sync::Semaphore;
use tracing::Instrument;

/// When the work on a transaction began, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    at: DateTime<Utc>,
    clock: Instant,
}

/// Everything a connection needs to run transactions.
#[derive(Debug)]
pub struct Deliverer {
    /// The database, for bodies that were too large to be fetched with their claim.
    pub pool: PgPool,
    /// Reaches servers; `None` in capture mode.
    pub dialer: Option<Dialer>,
    /// Signing keys and return-path names by domain.
    pub identities: Identities,
    /// Makes return paths.
    pub return_paths: ReturnPaths,
    /// Takes the outcomes.
    pub writer: Writer,
    /// The waits between tries.
    pub schedule: Vec<Duration>,
    /// Limits on connections.
    pub limits: ConnectionLimits,
    /// Our name, for return paths of mail that belongs to no verified domain.
    pub hostname: Domain,
    /// Octets of large bodies in memory, in KiB.
    pub memory: Semaphore,
    /// The door, for recipients that are hosted here.
    pub intake: Arc<Intake>,
}

/// All large bodies together may take so many KiB.
pub const MEMORY_KIB: usize = 128 << 10;

impl Deliverer {
    /// The clock for one transaction.
    #[must_use]
    pub fn start(&self) -> Started {
        Started {
            at: Utc::now(),
            clock: Instant::now(),
        }
    }

    /// A connection for the job's destination.
    ///
    /// # Errors
    /// See [`Dialer::dial`].
    pub async fn dial(&self, destination: &str, job: &Job) -> Result<Dialled, Box<Unreachable>> {
        match &self.dialer {
            Some(dialer) => dialer.dial(destination, rand::random()).instrument(span(job)).await,
            None => Err(Box::new(Unreachable {
                fate: Fate::local(false, EnhancedCode(4, 3, 5), "nobody is dialled in capture mode"),
                host: None,
                address: None,
                transcript: String::new(),
            })),
        }
    }

    /// Runs the transaction and hands in its outcome. `true`: the connection had ended before anything was said, and `may_repeat` let that pass:
    /// nothing is written, try again on a new one.
    pub async fn transact(&self, dialled: &mut Dialled, job: &Job, started: Started, may_repeat: bool) -> bool {
        let span = span(job);
        async {
            let Some(prepared) = self.prepare(job, started).await else {
                return false;
            };
            let report = dialled
                .connection
                .transaction(&Transaction {
                    sender: &prepared.sender,
                    recipients: &job.recipients,
                    envelope_id: job.head().dsn_envid.as_deref(),
                    headers_only: job.head().dsn_headers_only,
                    smtputf8: job.head().smtputf8,
                    parts: &[&prepared.signatures, &prepared.body],
                })
                .await;
            if report.stale && may_repeat {
                return true;
            }
            let fates: Vec<Fate> = report.fates.iter().map(Fate::of).collect();
            let circumstances = Circumstances {
                host: Some(dialled.host.clone()),
                address: Some(dialled.address.to_string()),
                tls: dialled.connection.tls().map(|tls| format!("{} {}", tls.version, tls.cipher)),
                transcript: dialled.connection.take_transcript(),
                ..started.circumstances()
            };
            self.finish(job, &fates, &circumstances).await;
            false
        }
        .instrument(span.clone())
        .await
    }

    /// Capture mode: the message is "delivered" to the built-in mailbox, with the bytes that would have left.
    pub async fn capture(&self, job: &Job) {
        let started = self.start();
        let Some(prepared) = self.prepare(job, started).await else { return };
        // What another destination's transaction has signed already is shown as it is: every stored message begins with our Received field.
        let signed_before = prepared.body.starts_with(b"DKIM-Signature:");
        if !prepared.signatures.is_empty() && !signed_before {
            let raw = [&prepared.signatures[..], &prepared.body].concat();
            if let Err(error) = queue::replace_body(&self.pool, job.head().message, &raw).await {
                tracing::warn!(%error, "a captured message is shown without its signature");
            }
        }
        let fate = Fate {
            outcome: AttemptOutcome::Delivered,
            code: Some(250),
            enhanced: Some(EnhancedCode(2, 0, 0)),
            response: "250 2.0.0 captured".to_owned(),
        };
        let circumstances = Circumstances {
            host: Some("capture".to_owned()),
            transcript: "-- captured: nobody was dialled\n".to_owned(),
            ..started.circumstances()
        };
        self.finish(job, &vec![fate; job.deliveries.len()], &circumstances).await;
    }

    /// No server could be reached for the job.
    pub async fn unreachable(&self, job: &Job, unreachable: &Unreachable, started: Started) {
        let circumstances = Circumstances {
            host: unreachable.host.clone(),
            address: unreachable.address.as_ref().map(SocketAddr::to_string),
            transcript: unreachable.transcript.clone(),
            ..started.circumstances()
        };
        self.finish(job, &vec![unreachable.fate.clone(); job.deliveries.len()], &circumstances)
            .await;
    }

    /// Gives the job back untried, its booked attempts taken off again.
    pub async fn give_back(&self, job: &Job) {
        let outcomes = job
            .deliveries
            .iter()
            .map(|delivery| Outcome {
                message: delivery.message,
                number: delivery.number,
                token: delivery.token,
                finish: Finish::Release(Duration::ZERO),
                enhanced_code: None,
                reason: None,
                suppress: false,
                report: false,
            })
            .collect();
        self.writer
            .write(Finished {
                lane: job.head().lane,
                outcomes,
                attempts: Vec::new(),
            })
            .await;
    }

    pub(crate) async fn finish(&self, job: &Job, fates: &[Fate], circumstances: &Circumstances) {
        let outcomes = outcome::outcomes(job, fates, &self.schedule, Utc::now(), rand::random());
        let attempts: Vec<AttemptRecord> = outcome::attempts(job, fates, circumstances);
        for attempt in &attempts {
            tracing::info!(message = %attempt.message, outcome = %attempt.outcome, code = attempt.code, recipients = attempt.recipients.len(), host = attempt.host, "attempt");
        }
        self.writer
            .write(Finished {
                lane: job.head().lane,
                outcomes,
                attempts,
            })
            .await;
    }

    /// Body, signatures and return path; `None` when the job was finished without them.
    pub(crate) async fn prepare<'a>(&'a self, job: &'a Job, started: Started) -> Option<Prepared<'a>> {
        let body = self.body(job, started).await?;
        let identity = match job.head().domain {
            Some(domain) => match self.identities.of(job.head().organization, domain).await {
                Ok(identity) => identity,
                Err(reason) => {
                    let fate = Fate::local(false, EnhancedCode(4, 3, 0), reason);
                    self.finish(job, &vec![fate; job.deliveries.len()], &started.circumstances()).await;
                    return None;
                }
            },
            None => None,
        };
        let signatures = identity
            .as_deref()
            .map(|identity| identity.sign(&body, started.at))
            .unwrap_or_default();
        Some(Prepared {
            body,
            signatures,
            sender: self.return_path(job, identity.as_deref()),
        })
    }

    /// The message as it is to be delivered but for the signature; `None` when the job was finished without it.
    pub(crate) async fn body<'a>(&'a self, job: &'a Job, started: Started) -> Option<Body<'a>> {
        let body = match &job.body {
            Some(body) => Body::Fetched(body),
            None => match self.fetch(job).await {
                Ok(Some(body)) => body,
                Ok(None) => {
                    self.set_aside(job, "its content is gone").await;
                    return None;
                }
                Err(error) => {
                    tracing::warn!(%error, "a message's content could not be read");
                    let fate = Fate::local(false, EnhancedCode(4, 3, 0), "the message's content could not be read just now");
                    self.finish(job, &vec![fate; job.deliveries.len()], &started.circumstances()).await;
                    return None;
                }
            },
        };
        Some(match &job.head().rewrite_from {
            Some(from) => Body::Large(replace_author(&body, from), None),
            None => body,
        })
    }

    async fn fetch(&self, job: &Job) -> store::Result<Option<Body<'_>>> {
        let kib = (job.head().size_bytes >> 10).clamp(1, i32::try_from(MEMORY_KIB).unwrap_or(i32::MAX));
        // The semaphore is never closed, so acquiring does not fail.
        let room = self.memory.acquire_many(u32::try_from(kib).unwrap_or(1)).await.ok();
        let found = queue::bodies(&self.pool, &[job.head().message]).await?;
        Ok(found.into_iter().next().map(|(_, body)| Body::Large(body, room)))
    }

    /// The envelope sender on the way out: ours, so that SPF holds and bounces return here. A message from `<>` keeps it.
    fn return_path(&self, job: &Job, identity: Option<&Identity>) -> ReversePath {
        let head = job.head();
        if job.original_sender().is_some_and(|sender| sender.is_null()) {
            return ReversePath::Null;
        }
        let local_part = self
            .return_paths
            .encode(*head.message.0.as_bytes(), u16::try_from(head.destination).unwrap_or_default());
        let host = identity
            .and_then(|identity| identity.return_path.clone())
            .unwrap_or_else(|| self.hostname.clone());
        // 42 characters of letters, digits and "+" are a local part.
        Address::new(&local_part, Host::Domain(host)).map_or(ReversePath::Null, ReversePath::Address)
    }

    async fn set_aside(&self, job: &Job, reason: &str) {
        tracing::error!(message = %job.head().message, reason, "a message was set aside");
        metrics::counter!("postroad_quarantined_total").increment(job.deliveries.len() as u64);
        let outcomes = job.deliveries.iter().map(|delivery| job::quarantined(delivery, reason)).collect();
        self.writer
            .write(Finished {
                lane: job.head().lane,
                outcomes,
                attempts: Vec::new(),
            })
            .await;
    }
}

impl Started {
    pub(crate) fn circumstances(self) -> Circumstances {
        Circumstances {
            started_at: self.at,
            duration: self.clock.elapsed(),
            ..Circumstances::default()
        }
    }
}

/// A message ready to leave.
pub(crate) struct Prepared<'a> {
    pub(crate) body: Body<'a>,
    /// DKIM-Signature fields, to stand before it.
    pub(crate) signatures: Cow<'static, [u8]>,
    /// The envelope sender on the way out.
    pub(crate) sender: ReversePath,
}

/// The message's bytes, with the room they take when they are many.
pub(crate) enum Body<'a> {
    Fetched(&'a [u8]),
    Large(
        Vec<u8>,
        #[expect(dead_code, reason = "held so that its room is given back with the body")] Option<tokio::sync::SemaphorePermit<'a>>,
    ),
}

impl std::ops::Deref for Body<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Fetched(body) => body,
            Self::Large(body, _) => body,
        }
    }
}

/// A reverse address as From is for answers, so that no other one may stand beside it.
fn replace_author(raw: &[u8], from: &str) -> Vec<u8> {
    let is_reverse = header::author(from.as_bytes()).is_some_and(|address| contacts::is_candidate(&address.local_part().to_lowercase()));
    match is_reverse {
        true => header::replace_author_and_answers(raw, from),
        false => header::replace_author(raw, from),
    }
}

/// The trace continues where the accepting session's left off.
fn span(job: &Job) -> tracing::Span {
    let head = job.head();
    let span = tracing::info_span!("attempt", message = %head.message, attempt = head.attempts, recipients = job.deliveries.len());
    if let Some(parent) = &head.trace_context {
        telemetry::set_parent(&span, parent);
    }
    span
}
