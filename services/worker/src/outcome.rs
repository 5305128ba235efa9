//! What a server's answers mean for the deliveries: pure decisions.

use crate::{
    job::Job,
    schedule::{self, Next},
};
use chrono::{DateTime, Utc};
use mail::EnhancedCode;
use smtp::{
    Reply,
    client::{Failure, Fault},
};
use std::time::Duration;
use store::{
    ids::AttemptId,
    models::{AttemptOutcome, DeliveryStatus, Direction, Via},
    queue::{AttemptRecord, Claimed, Finish, Outcome},
};

/// What one recipient's attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The remote reply's code, when there was one.
    pub code: Option<u16>,
    /// The enhanced code to show.
    pub enhanced: Option<EnhancedCode>,
    /// The remote reply or our reason.
    pub response: String,
}

impl Fate {
    /// A fate without a remote reply: `permanent` makes it final.
    #[must_use]
    pub fn local(permanent: bool, enhanced: EnhancedCode, response: impl Into<String>) -> Self {
        let outcome = if permanent {
            AttemptOutcome::Failed
        } else {
            AttemptOutcome::Deferred
        };
        Self {
            outcome,
            code: None,
            enhanced: Some(enhanced),
            response: response.into(),
        }
    }

    /// The fate that a server's answer, or its absence, means.
    #[must_use]
    pub fn of(answer: &Result<Reply, Failure>) -> Self {
        match answer {
            Ok(reply) => Self {
                outcome: AttemptOutcome::Delivered,
                code: Some(reply.code),
                enhanced: reply.enhanced,
                response: words(reply),
            },
            Err(failure) => Self {
                outcome: match &failure.fault {
                    _ if failure.is_in_doubt() => AttemptOutcome::InDoubt,
                    Fault::Unfit(_) => AttemptOutcome::Failed,
                    Fault::Refused(reply) if reply.is_permanent() => AttemptOutcome::Bounced,
                    _ => AttemptOutcome::Deferred,
                },
                code: failure.reply().map(|reply| reply.code),
                enhanced: Some(failure.enhanced()),
                response: failure.reply().map_or_else(|| failure.to_string(), words),
            },
        }
    }

    /// RFC 3463: the mailbox does not exist or has moved away. The fault is the address's, not this message's.
    fn condemns_the_address(&self) -> bool {
        self.outcome == AttemptOutcome::Bounced && matches!(self.enhanced, Some(EnhancedCode(5, 1, 1 | 6)))
    }
}

fn words(reply: &Reply) -> String {
    match reply.enhanced {
        Some(enhanced) => format!("{} {enhanced} {}", reply.code, reply.text),
        None => format!("{} {}", reply.code, reply.text),
    }
}

/// Where and how long an attempt was made.
#[derive(Debug, Clone, Default)]
pub struct Circumstances {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// The host's name.
    pub host: Option<String>,
    /// Address and port.
    pub address: Option<String>,
    /// TLS version and cipher suite.
    pub tls: Option<String>,
    /// What was said.
    pub transcript: String,
}

/// The outcome of each delivery. `fates` are in the order of the job's deliveries; `jitter` in 0.0–1.0 is drawn once per transaction, so that
/// recipients deferred together are tried together.
#[must_use]
pub fn outcomes(job: &Job, fates: &[Fate], waits: &[Duration], now: DateTime<Utc>, jitter: f64) -> Vec<Outcome> {
    job.deliveries
        .iter()
        .zip(fates)
        .map(|(delivery, fate)| outcome(delivery, fate, waits, now, jitter))
        .collect()
}

fn outcome(delivery: &Claimed, fate: &Fate, waits: &[Duration], now: DateTime<Utc>, jitter: f64) -> Outcome {
    let finish = match fate.outcome {
        AttemptOutcome::Delivered => Finish::Over(DeliveryStatus::Delivered),
        AttemptOutcome::Bounced => Finish::Over(DeliveryStatus::Bounced),
        AttemptOutcome::Failed => Finish::Over(DeliveryStatus::Failed),
        AttemptOutcome::Deferred | AttemptOutcome::InDoubt => {
            match schedule::next(waits, delivery.attempts, now, delivery.expires_at, jitter) {
                Next::Retry(wait) => Finish::Retry(wait),
                Next::Expired => Finish::Over(DeliveryStatus::Expired),
            }
        }
    };
    let failed = matches!(finish, Finish::Over(status) if status != DeliveryStatus::Delivered);
    Outcome {
        message: delivery.message,
        number: delivery.number,
        token: delivery.token,
        finish,
        enhanced_code: match finish {
            // RFC 3463: delivery time expired
            Finish::Over(DeliveryStatus::Expired) => Some("4.4.7".to_owned()),
            _ => fate.enhanced.map(|code| code.to_string()),
        },
        reason: (fate.outcome != AttemptOutcome::Delivered).then(|| fate.response.clone()),
        suppress: fate.condemns_the_address(),
        report: failed && wants_report(delivery),
    }
}

/// Whether the SMTP sender hears of a failure: not if it asked for none (RFC 3461 NOTIFY), and never about a message from `<>`.
fn wants_report(delivery: &Claimed) -> bool {
    const FAILURE: i16 = 4;
    (delivery.direction == Direction::Forward || (delivery.direction == Direction::Outbound && delivery.via == Via::Smtp))
        && !delivery.envelope_sender.is_empty()
        && delivery.dsn_notify.is_none_or(|bits| bits & FAILURE != 0)
}

/// The history of the attempt: recipients with the same answer share a row.
#[must_use]
pub fn attempts(job: &Job, fates: &[Fate], circumstances: &Circumstances) -> Vec<AttemptRecord> {
    let mut records: Vec<(usize, AttemptRecord)> = Vec::new();
    for (place, (delivery, fate)) in job.deliveries.iter().zip(fates).enumerate() {
        if let Some((_, record)) = records.iter_mut().find(|(first, _)| fates[*first] == *fate) {
            record.recipients.push(delivery.recipient.clone());
            continue;
        }
        records.push((
            place,
            AttemptRecord {
                message: delivery.message,
                id: AttemptId::generate(),
                organization: delivery.organization,
                started_at: circumstances.started_at,
                duration: circumstances.duration,
                host: circumstances.host.clone(),
                address: circumstances.address.clone(),
                tls: circumstances.tls.clone(),
                outcome: fate.outcome,
                code: fate.code.and_then(|code| i16::try_from(code).ok()),
                enhanced_code: fate.enhanced.map(|code| code.to_string()),
                response: Some(fate.response.clone()),
                recipients: vec![delivery.recipient.clone()],
                transcript: circumstances.transcript.clone(),
            },
        ));
    }
    records.into_iter().map(|(_, record)| record).collect()
}
