//! Mail that asks a mailbox whether it wants what an alias would forward to it.
//!
//! It is stored in the transaction that makes or renews the token, in the name of the instance and not of the organization that asks: what it
//! says, the token above all, must be readable by nobody but the mailbox. Who may ask, and how often, is the caller's decision.

use crate::{Intake, Refusal};
use chrono::Utc;
use mail::{
    Address,
    compose::{self, Draft, Mailbox},
};
use store::{
    PgConnection,
    acceptance::{self, InboundFacts, NewDelivery, NewMessage},
    ids::MessageId,
    lanes::LaneKey,
    models::{Direction, RecipientKind, Via},
    organizations::{self, INSTANCE},
};

/// A stored confirmation mail. Once its transaction has committed, [`ConfirmationMail::wake`] gets it going; without, it goes a little later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "wake the worker once the transaction has committed"]
pub struct ConfirmationMail {
    lane: i64,
}

impl ConfirmationMail {
    /// Tells the workers. Call it after COMMIT.
    pub fn wake(self, intake: &Intake) {
        intake.wake.wake([self.lane]);
    }
}

impl Intake {
    /// Stores a mail to `to` that asks to open `link`, inside the caller's transaction.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`]; [`Refusal::Malformed`] when no mail can be written to this address.
    pub async fn store_confirmation(&self, connection: &mut PgConnection, to: &Address, link: &str) -> Result<ConfirmationMail, Refusal> {
        // Outside the transaction: lanes are made on connections of their own, and theirs must see it.
        organizations::ensure_instance(&self.pool).await?;
        let key = LaneKey {
            organization: INSTANCE,
            stream: "transactional".to_owned(),
            destination: to.host().to_string(),
        };
        let lane = self.directory.lanes(vec![key]).await?[0];
        let message = self.confirmation(to, link, lane)?;
        acceptance::insert(connection, &message).await?;
        Ok(ConfirmationMail { lane })
    }

    fn confirmation(&self, to: &Address, link: &str, lane: i64) -> Result<NewMessage, Refusal> {
        let (id, now, host) = (MessageId::generate(), Utc::now(), &self.settings.hostname);
        let malformed = |error: String| Refusal::Malformed(error);
        let from = Address::parse(&format!("postmaster@{host}")).map_err(|error| malformed(error.to_string()))?;
        let draft = draft(from, to, link, format!("<{id}@{host}>"), now);
        let raw =
            compose::compose(&draft).map_err(|faults| malformed(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
        Ok(NewMessage {
            id,
            organization: INSTANCE,
            direction: Direction::Outbound,
            via: Via::Internal,
            credential: None,
            domain: None,
            parent: None,
            envelope_sender: String::new(), // nobody waits for its bounce
            header_from: draft.from.address.to_string(),
            subject: draft.subject.unwrap_or_default(),
            message_id_header: draft.message_id,
            eight_bit: !raw.is_ascii(),
            smtputf8: !to.is_ascii(),
            stream: "transactional".to_owned(),
            tags: Vec::new(),
            metadata: serde_json::json!({}),
            dsn_envid: None,
            dsn_headers_only: false,
            trace_context: None,
            scheduled_at: None,
            expires_at: now + self.settings.expire_after,
            raw,
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
        })
    }
}

/// Nothing in it is of the asking customer's making, so that it cannot be used to tell strangers things.
fn draft(from: Address, to: &Address, link: &str, message_id: String, now: chrono::DateTime<Utc>) -> Draft {
    let mailbox = |address: Address, name: Option<&str>| Mailbox {
        name: name.map(str::to_owned),
        address,
    };
    Draft {
        from: mailbox(from, Some("Postroad")),
        to: vec![mailbox(to.clone(), None)],
        cc: Vec::new(),
        bcc: Vec::new(),
        reply_to: Vec::new(),
        subject: Some("Confirm that mail may be forwarded to this mailbox".to_owned()),
        html: None,
        text: Some(format!(
            "Somebody asked to have mail for their aliases forwarded to\n\n    {to}\n\nIf that was you, open this link within a week and \
             confirm:\n\n{link}\n\nIf it was not, do nothing: no mail will be forwarded here.\n"
        )),
        headers: vec![("Auto-Submitted".to_owned(), "auto-generated".to_owned())],
        attachments: Vec::new(),
        message_id,
        date: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mail_carries_the_link_whole_and_says_that_a_program_wrote_it() {
        let (from, to) = ("postmaster@mx.test".parse().unwrap(), "Me@home.test".parse().unwrap());
        let link = format!(
            "https://mail.example.org/api/v1/destinations/dst_01/verify?token={}",
            "x".repeat(43)
        );
        let raw = compose::compose(&draft(from, &to, &link, "<1@mx.test>".to_owned(), Utc::now())).unwrap();
        let text = String::from_utf8(raw).unwrap();
        assert!(
            text.contains("\r\nAuto-Submitted: auto-generated\r\n") && text.contains("Me@home.test"),
            "{text}"
        );
        let unfolded = text.replace("=\r\n", "").replace("=3D", "=");
        assert!(unfolded.contains(&link), "{text}");
    }
}
