//! Bounces that come back to a return path of ours.
//!
//! A return path names a message and a destination, is signed, and ages: what is forged or too old is refused, and only the null
//! reverse-path may write to one. What a bounce says is recorded against the deliveries it names; the address that does not exist is
//! suppressed; the SMTP sender is owed a report. A bounce that tells nothing new changes nothing.

use crate::{Idempotency, Intake, Refusal, Submission};
use chrono::Utc;
use mail::{
    Address, EnhancedCode,
    dsn::{self, Action, Kind, Report},
    return_path,
};
use sha2::{Digest, Sha256};
use store::{
    bounces::{self, Finding, FindingKind, Known},
    ids::MessageId,
};
use uuid::Uuid;

/// A return path is good for the time a message may wait, and a while for the servers behind it.
const MAX_AGE_DAYS: i64 = 30;

/// A genuine return path: the deliveries whose failure it may report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BounceTarget {
    message: MessageId,
    destination: i16,
}

impl Intake {
    /// Whether a recipient is a return path. `Ok(None)`: it is an ordinary address.
    ///
    /// # Errors
    /// [`Refusal::InvalidReturnPath`] for one that looks like ours but is forged, too old or already answered;
    /// [`Refusal::Unavailable`].
    pub async fn bounce_target(&self, recipient: &Address) -> Result<Option<BounceTarget>, Refusal> {
        if !return_path::is_candidate(recipient.local_part()) {
            return Ok(None);
        }
        let Some(domain) = recipient.domain() else { return Ok(None) };
        if domain.as_str() != self.settings.hostname && !self.directory.is_hosted(domain.as_str()).await? {
            return Ok(None);
        }
        let (message, destination) = self
            .return_paths
            .decode(recipient.local_part())
            .map_err(|_| Refusal::InvalidReturnPath)?;
        let minted = i64::try_from(return_path::minted_at(message)).unwrap_or(i64::MAX);
        let target = BounceTarget {
            message: MessageId(Uuid::from_bytes(message)),
            destination: i16::try_from(destination).map_err(|_| Refusal::InvalidReturnPath)?,
        };
        if is_too_old(minted) {
            // Unless it left only lately: it may have been scheduled for then, or held.
            let left = bounces::last_finished(&self.pool, target.message, target.destination).await?;
            if left.is_none_or(|left| is_too_old(left.timestamp_millis())) {
                return Err(Refusal::InvalidReturnPath);
            }
        }
        match bounces::standing(&self.pool, target.message, target.destination).await? {
            Known::Open => Ok(Some(target)),
            Known::Busy => Err(Refusal::Unavailable),
            Known::Unknown | Known::Settled => Err(Refusal::InvalidReturnPath),
        }
    }

    /// Records what a bounce says. The answer comes after COMMIT.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    pub async fn take_bounce(&self, target: BounceTarget, raw: &[u8]) -> Result<(), Refusal> {
        let findings = dsn::parse(raw).map(|report| findings(&report)).unwrap_or_default();
        let taken = bounces::record(&self.pool, target.message, target.destination, &findings).await?;
        metrics::counter!("postroad_bounces_received_total").increment(1);
        tracing::info!(message = %target.message, findings = findings.len(), changed = taken, "a bounce came back");
        Ok(())
    }
}

fn is_too_old(milliseconds: i64) -> bool {
    Utc::now().timestamp_millis().saturating_sub(milliseconds) > chrono::Duration::days(MAX_AGE_DAYS).num_milliseconds()
}

/// What the report says of each recipient, in the store's words.
fn findings(report: &Report) -> Vec<Finding> {
    report
        .recipients
        .iter()
        .filter_map(|recipient| {
            let kind = match (report.kind, recipient.action) {
                (Kind::Complaint, _) => FindingKind::Complaint,
                (_, Action::Failed) => FindingKind::Failure,
                (_, Action::Delayed) => FindingKind::Delay,
                _ => return None,
            };
            Some(Finding {
                recipients: [&recipient.final_recipient, &recipient.original_recipient]
                    .into_iter()
                    .flatten()
                    .map(Address::folded)
                    .collect(),
                kind,
                enhanced_code: recipient.status.map(|code| code.to_string()),
                reason: recipient.diagnostic.clone(),
                // RFC 3463 5.1.1 and 5.1.6: the address is at fault, not this message
                suppress: kind == FindingKind::Complaint || matches!(recipient.status, Some(EnhancedCode(5, 1, 1 | 6))),
            })
        })
        .collect()
}

/// The idempotency record of an SMTP submission that carries the header field.
pub(crate) fn smtp_idempotency(key: String, submission: &Submission) -> Idempotency {
    let mut hash = Sha256::new();
    hash.update(submission.envelope.sender.to_string());
    for recipient in &submission.envelope.recipients {
        hash.update([0]);
        hash.update(recipient.address.to_string());
    }
    hash.update([0, 0]);
    hash.update(&submission.raw);
    Idempotency {
        route: "smtp".to_owned(),
        key,
        request_hash: hash.finalize().into(),
    }
}
