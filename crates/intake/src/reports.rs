//! Reports to SMTP senders about recipients that failed (RFC 3464).
//!
//! The debt is taken, and the report stored as a message of its own, in one transaction: exactly one report per failure, whoever dies when.
//! A report goes out from `<>`, so that nothing ever reports on it.

use crate::{Intake, Refusal};
use chrono::Utc;
use mail::{
    Address, EnhancedCode,
    dsn::{Action, Dsn, Original, ReportedRecipient},
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
        let mut written = 0;
        for (organization, message) in reports::ready(&self.intake.pool, PASS).await? {
            written += usize::from(self.report(organization, message).await?);
        }
        Ok(written)
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
        let private = owed.forwarded_for.is_some();
        let named = |failure: &Failure| Address::parse(owed.forwarded_for.as_ref().unwrap_or(&failure.recipient)).ok();
        let addresses: Vec<Option<Address>> = owed.failures.iter().map(named).collect();
        let mut recipients: Vec<ReportedRecipient<'_>> = owed
            .failures
            .iter()
            .zip(&addresses)
            .filter_map(|(failure, address)| Some(reported(failure, address.as_ref()?, private)))
            .collect();
        if private {
            recipients.truncate(1); // several destinations failed: the author wrote to one address
        }
        let raw = mail::dsn::write(&Dsn {
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

/// `private`: what the destination's server said may name the mailbox behind the alias, so only its code is passed on.
fn reported<'a>(failure: &'a Failure, address: &'a Address, private: bool) -> ReportedRecipient<'a> {
    ReportedRecipient {
        final_recipient: address,
        original_recipient: failure.original_recipient.as_deref().filter(|_| !private),
        action: Action::Failed,
        status: failure
            .enhanced_code
            .as_deref()
            .and_then(|code| EnhancedCode::parse(code).ok())
            .unwrap_or(EnhancedCode(5, 0, 0)),
        remote_mta: None,
        diagnostic: failure.reason.as_deref().filter(|_| !private),
        last_attempt: failure.finished_at,
        will_retry_until: None,
    }
}
