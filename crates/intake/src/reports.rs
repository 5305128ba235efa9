//! Reports to SMTP senders about recipients that failed (RFC 3464).
//!
//! The debt is taken, and the report stored as a message of its own, in one transaction: exactly one report per failure, whoever dies when.
//! A report goes out from `<>`, so that nothing ever reports on it.

use crate::{Intake, Refusal};
use chrono::Utc;
use mail::{
    Address, EnhancedCode,
    dsn::{self, Action, Dsn, Original, Privacy, PrivateRecipient, ReportedRecipient},
};
use store::{
    acceptance::{self, InboundFacts, NewDelivery, NewMessage},
    ids::{MessageId, OrganizationId},
    lanes::LaneKey,
    models::{Direction, RecipientKind, Via},
    queue,
    reports::{self, Failure, Owed},
};

/// Reports of one pass: the rest waits for the next.
const PASS: i64 = 100;
/// One report that cannot be written does not hold up the others; so many mean that the fault is not theirs.
const ENOUGH_FAILURES: usize = 10;

/// Writes the reports that are owed.
#[derive(Debug)]
pub struct Reporter<'a> {
    intake: &'a Intake,
}

impl<'a> Reporter<'a> {
    /// A reporter that speaks in the name of this door's host.
    #[must_use]
    pub const fn new(intake: &'a Intake) -> Self {
        Self { intake }
    }

    /// Stores every report that may go out now. Gives how many.
    ///
    /// # Errors
    /// When the database is out of reach; what is left over is still owed.
    pub async fn run(&self) -> Result<usize, Refusal> {
        let (mut written, mut failed, mut failure) = (0, 0, None);
        for (organization, message) in reports::ready(&self.intake.pool, PASS).await? {
            match self.report(organization, message).await {
                Ok(done) => written += usize::from(done),
                Err(refusal) => {
                    tracing::warn!(%message, %refusal, "a report could not be written and is still owed");
                    (failed, failure) = (failed + 1, Some(refusal));
                }
            }
            if failed == ENOUGH_FAILURES {
                break;
            }
        }
        match failure {
            Some(refusal) if written == 0 => Err(refusal),
            _ => Ok(written),
        }
    }

    async fn report(&self, organization: OrganizationId, message: MessageId) -> Result<bool, Refusal> {
        let pool = &self.intake.pool;
        let mut transaction = pool.begin().await.map_err(store::Error::from)?;
        let Some(owed) = reports::take(&mut transaction, organization, message).await? else {
            transaction.commit().await.map_err(store::Error::from)?;
            return Ok(false);
        };
        let Ok(to) = Address::parse(&owed.envelope_sender) else {
            transaction.commit().await.map_err(store::Error::from)?;
            return Ok(false); // stored long ago by rules that have changed: nobody can be told
        };
        let key = LaneKey {
            organization,
            stream: owed.stream.clone(),
            destination: to.host().to_string(),
        };
        let lane = self.intake.directory.lanes(vec![key]).await?[0];
        let original = queue::bodies(pool, &[message])
            .await?
            .into_iter()
            .next()
            .map(|(_, raw)| raw)
            .unwrap_or_default();
        let report = self.compose(&owed, &to, &original, lane);
        acceptance::insert(&mut transaction, &report).await?;
        transaction.commit().await.map_err(store::Error::from)?;
        self.intake.wake.wake([lane]);
        metrics::counter!("postroad_reports_sent_total").increment(1);
        Ok(true)
    }

    fn compose(&self, owed: &Owed, to: &Address, original: &[u8], lane: i64) -> NewMessage {
        let (id, now, host) = (MessageId::generate(), Utc::now(), &self.intake.settings.hostname);
        let message_id_header = format!("<{id}@{host}>");
        let alias = owed.forwarded_for.as_ref().and_then(|alias| Address::parse(alias).ok());
        // An HTTP destination has no address of its own; the alias, which hides every other, stands for it.
        let address = |failure: &Failure| Address::parse(&failure.recipient).ok().or_else(|| alias.clone());
        let addresses: Vec<Option<Address>> = owed.failures.iter().map(address).collect();
        let known = owed.failures.iter().zip(&addresses);
        let plain: Vec<ReportedRecipient<'_>> = known
            .filter_map(|(failure, address)| Some(reported(failure, address.as_ref()?)))
            .collect();
        let private = alias.as_ref().map(|alias| private_views(&plain, alias));
        let recipients = match &private {
            Some(views) => views.iter().map(PrivateRecipient::reported).collect(),
            None => plain,
        };
        let original = if private.is_some() {
            dsn::as_sent(original, host)
        } else {
            original
        };
        let raw = dsn::write(&Dsn {
            reporting_mta: host,
            envelope_id: owed.envelope_id.as_deref(),
            arrival: Some(owed.created_at),
            to,
            recipients: &recipients,
            original: if owed.headers_only {
                Original::Headers(original)
            } else {
                Original::Full(original)
            },
            message_id: &message_id_header,
            boundary: &id.to_string(),
            now,
        });
        let header = mail::header::Headers::scan(&raw);
        let text = |name: &str| header.first(name).map(|field| field.text()).unwrap_or_default();
        NewMessage {
            id,
            organization: owed.organization,
            direction: Direction::Bounce,
            via: Via::Internal,
            credential: None,
            domain: None,
            parent: Some(owed.message),
            envelope_sender: String::new(),
            header_from: text("From"),
            subject: text("Subject"),
            message_id_header,
            eight_bit: !raw.is_ascii(),
            smtputf8: !to.is_ascii(),
            stream: owed.stream.clone(),
            tags: Vec::new(),
            metadata: serde_json::json!({}),
            dsn_envid: None,
            dsn_headers_only: false,
            trace_context: None,
            scheduled_at: None,
            expires_at: now + self.intake.settings.expire_after,
            deliveries: vec![NewDelivery {
                recipient: to.to_string(),
                recipient_folded: to.folded(),
                kind: RecipientKind::Envelope,
                destination: 0,
                lane,
                dsn_notify: None,
                dsn_orcpt: None,
                forward_to: None,
                decided: None,
            }],
            idempotency: None,
            inbound: InboundFacts::default(),
            raw,
        }
    }
}

/// The author wrote to one address and learns of one, however many destinations failed; what their servers said is scrubbed of them.
fn private_views(plain: &[ReportedRecipient<'_>], alias: &Address) -> Vec<PrivateRecipient> {
    let addresses: Vec<&Address> = plain.iter().map(|recipient| recipient.final_recipient).collect();
    let privacy = Privacy {
        alias,
        addresses: &addresses,
        hosts: &[],
    };
    plain
        .iter()
        .take(1)
        .map(|recipient| dsn::private_outcome(recipient, &privacy))
        .collect()
}

fn reported<'a>(failure: &'a Failure, address: &'a Address) -> ReportedRecipient<'a> {
    ReportedRecipient {
        final_recipient: address,
        original_recipient: failure.original_recipient.as_deref(),
        action: Action::Failed,
        status: failure
            .enhanced_code
            .as_deref()
            .and_then(|code| EnhancedCode::parse(code).ok())
            .unwrap_or(EnhancedCode(5, 0, 0)),
        remote_mta: None,
        diagnostic: failure.reason.as_deref(),
        last_attempt: failure.finished_at,
        will_retry_until: None,
    }
}
