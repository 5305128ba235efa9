//! Replies as the alias: what its destination sends to a reverse address, made fit to leave under the alias's name; and the From that makes an
//! ordinary reply come that way.
//!
//! Only the alias's own mailbox may use a reverse address, and not the text of From says who that is: SPF or DKIM must pass for the
//! mailbox's domain. Nothing of the private mailbox stays in what leaves.

use super::{Arrival, Examined, local_key, recipient::AliasTarget};
use crate::{Intake, Refusal};
use chrono::Utc;
use mail::{
    Address, Host,
    header::{self, Headers},
    reply::{self, Scrub},
};
use mailauth::{aligned_with, dmarc, verify::DmarcResult};
use store::{
    acceptance::{InboundFacts, NewDelivery, NewMessage},
    aliases::Target,
    contacts::{self, ReverseContact},
    ids::MessageId,
    lanes::LaneKey,
    models::{DestinationKind, Direction, RecipientKind, RepliesAs, Via},
};

/// The stream of replies: written by people, one by one.
const STREAM: &str = "transactional";

impl Intake {
    /// A message for a reverse address: the message that leaves as the alias.
    pub(super) async fn reply(
        &self,
        arrival: &Arrival,
        examined: &Examined,
        reverse: &Address,
        contact: ReverseContact,
    ) -> Result<NewMessage, Refusal> {
        let private = private_mailboxes(&contact.destinations);
        if !is_proven(examined, &private) {
            return Err(Refusal::ReplyNotProven);
        }
        let unreadable = |_| Refusal::NoSuchAddress; // stored by rules that have changed since
        let alias = Address::parse(&contact.alias_address()).map_err(unreadable)?;
        let correspondent = Address::parse(&contact.address).map_err(unreadable)?;
        let (id, now) = (MessageId::generate(), Utc::now());
        let message_id_header = format!("<{id}@{}>", contact.domain.name);
        let private: Vec<&Address> = private.iter().collect();
        let raw = reply::scrub(
            &arrival.raw,
            &Scrub {
                alias: &alias,
                alias_name: None,
                correspondent: &correspondent,
                reverse,
                private: &private,
                message_id: &message_id_header,
                date: now,
            },
        );
        let organization = contact.domain.organization;
        let key = LaneKey {
            organization,
            stream: STREAM.to_owned(),
            destination: correspondent.host().to_string(),
        };
        let lane = self.directory.lanes(vec![key]).await?[0];
        Ok(NewMessage {
            id,
            organization,
            direction: Direction::Reply,
            via: if arrival.local.is_some() { Via::Internal } else { Via::Smtp },
            credential: None,
            domain: Some(contact.domain.id),
            parent: arrival.local.as_ref().map(|local| local.message),
            envelope_sender: alias.to_string(),
            header_from: alias.to_string(),
            subject: examined.facts.subject.clone().unwrap_or_default(),
            message_id_header,
            eight_bit: !raw.is_ascii(),
            smtputf8: !correspondent.is_ascii() || !Headers::scan(&raw).as_bytes().is_ascii(),
            stream: STREAM.to_owned(),
            tags: Vec::new(),
            metadata: serde_json::json!({}),
            dsn_envid: None,
            dsn_headers_only: true,
            trace_context: arrival.trace_context.clone(),
            scheduled_at: None,
            expires_at: now + self.settings.expire_after,
            raw,
            deliveries: vec![NewDelivery {
                recipient: correspondent.to_string(),
                recipient_folded: correspondent.folded(),
                kind: RecipientKind::To,
                destination: 0,
                lane,
                dsn_notify: None,
                dsn_orcpt: None,
                forward_to: None,
                decided: None,
            }],
            idempotency: arrival.local.as_ref().map(local_key),
            inbound: InboundFacts {
                original_recipient: Some(reverse.to_string()),
                ..InboundFacts::default()
            },
        })
    }

    /// From on the way out: the reverse address where the alias wants replies to come as the alias, the alias's own address where DMARC would
    /// not survive the forwarding, otherwise the author's, untouched. What failed DMARC is never given a From of ours: our signature would vouch
    /// for a spoof. A pattern stands for many addresses, so that nobody could say as which of them a reply leaves.
    pub(super) async fn rewrite_from(
        &self,
        examined: &Examined,
        alias: &AliasTarget,
        alias_address: &Address,
    ) -> Result<Option<String>, Refusal> {
        let headers = Headers::scan(&examined.body);
        let Some(field) = headers.first("From") else { return Ok(None) };
        let Some(author) = header::author(field.value) else {
            return Ok(None);
        };
        let shown = header::shown_author(field.value, &author);
        let dmarc = &examined.verdicts.dmarc;
        if matches!(dmarc.result, DmarcResult::Fail | DmarcResult::PermError) {
            return Ok(None);
        }
        if let (RepliesAs::AsAlias, Some(id), Some(_)) = (alias.replies, alias.id, &alias.local_part) {
            // Whom an answer is meant for, if not the author.
            let reply_to = headers.first("Reply-To").and_then(|field| header::author(field.value));
            let correspondent = reply_to.as_ref().unwrap_or(&author);
            let mut transaction = self.pool.begin().await.map_err(store::Error::from)?;
            let (contact, _) = contacts::find_or_insert(&mut transaction, alias.domain.organization, id, correspondent, &shown).await?;
            transaction.commit().await.map_err(store::Error::from)?;
            let reverse = Host::parse(&contact.domain_name).and_then(|host| Address::new(&contact.reverse_local_part, host));
            return Ok(reverse.ok().map(|reverse| header::mailbox(&shown, &reverse)));
        }
        Ok(dmarc::rewrite_from(dmarc).then(|| header::mailbox(&shown, alias_address)))
    }
}

fn private_mailboxes(destinations: &[Target]) -> Vec<Address> {
    destinations
        .iter()
        .filter(|destination| destination.verified && destination.kind == DestinationKind::Mailbox)
        .filter_map(|destination| Address::parse(&destination.address).ok())
        .collect()
}

/// The author is one of the alias's mailboxes, and its domain vouches for that.
fn is_proven(examined: &Examined, private: &[Address]) -> bool {
    examined.facts.from.iter().any(|author| {
        private.iter().any(|mailbox| mailbox.folded() == author.folded())
            && author.domain().is_some_and(|domain| aligned_with(&examined.verdicts, domain))
    })
}
