//! Mail that comes in for the domains hosted here: who takes it, what is checked, what is decided, and how it goes on.
//!
//! Promises: an address that nobody takes is refused when it is named, never accepted and dropped later; SPF, DKIM and DMARC are verified once
//! and kept with the message; every recipient is decided by a pure function; whatever is accepted is stored in one transaction with
//! all that follows from it. The author's header and body stay untouched in the store; what must change on the way out is written beside.

mod decision;
mod recipient;
mod reply;

use crate::{
    Intake, ReceivedInfo, Refusal,
    inbound::{
        decision::{Decision, Verdict},
        recipient::{Onward, Taker},
    },
    message::SEVERAL_FROM,
};
use bytes::Bytes;
use chrono::Utc;
use futures_util::future::try_join_all;
use mail::{
    Address, Envelope, Recipient, ReversePath,
    content::{self, ContentFacts},
    header::{self, Headers, hops},
    trace::{self, ReceivedClause},
};
use mailauth::Verdicts;
use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
};
use store::{
    acceptance::{InboundFacts, NewDelivery, NewIdempotency, NewMessage, Stored},
    ids::{MessageId, OrganizationId},
    lanes::LaneKey,
    models::{DeliveryStatus, DestinationKind, Direction, RecipientKind, Via},
};

/// The stream of mail that goes on from an alias.
const STREAM: &str = "forwarding";
/// A message that has been through this many aliases goes round in circles.
const MAX_FORWARDS: usize = 3;

/// A message that came in.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// How it reached us; the peer's address counts for SPF.
    pub received: ReceivedInfo,
    /// The envelope; every recipient was found to be taken by [`Intake::recipient`].
    pub envelope: Envelope,
    /// The message as it came, without our fields.
    pub raw: Bytes,
    /// W3C traceparent of the session.
    pub trace_context: Option<String>,
    /// Mail of our own that stays in the house: the delivery it comes from, so that it enters once.
    pub local: Option<LocalOrigin>,
}

/// A delivery of this instance whose recipient is hosted here too.
#[derive(Debug, Clone)]
pub struct LocalOrigin {
    /// Its organization.
    pub organization: OrganizationId,
    /// The message.
    pub message: MessageId,
    /// The delivery's number.
    pub number: i32,
}

/// What the arrival's bytes and origin say, worked out once for all recipients.
struct Examined {
    facts: ContentFacts,
    verdicts: Verdicts,
    /// Our fields and the message without forged ones of that kind.
    body: Vec<u8>,
}

/// What became of one recipient.
enum Handled {
    Wanted(Box<NewMessage>),
    /// Recorded if somebody else takes the message, refused otherwise.
    Blocked(Box<NewMessage>, Refusal),
}

impl Intake {
    /// Takes a message for addresses hosted here. Gives the ids of what was stored.
    ///
    /// # Errors
    /// A [`Refusal`] when nothing was stored: for a fact about the message, or when no recipient wants it.
    pub async fn receive(&self, arrival: Arrival) -> Result<Vec<MessageId>, Refusal> {
        let outcome = self.try_receive(arrival).await;
        match &outcome {
            Ok(_) => metrics::counter!("postroad_messages_received_total").increment(1),
            Err(refusal) => metrics::counter!("postroad_messages_refused_total", "reason" => refusal.reason()).increment(1),
        }
        outcome
    }

    async fn try_receive(&self, arrival: Arrival) -> Result<Vec<MessageId>, Refusal> {
        let facts = self.examine_content(&arrival)?;
        let recipients = each_once(&arrival.envelope.recipients);
        let takers = try_join_all(recipients.iter().map(|recipient| self.taker(&recipient.address))).await?;
        let verdicts = self.verify(&arrival).await?;
        let field = mailauth::authentication_results(&self.settings.hostname, &verdicts, &arrival.envelope.sender, &arrival.received.helo);
        let cleaned = mailauth::remove_forged(&arrival.raw, &self.settings.hostname);
        let examined = Examined {
            facts,
            verdicts,
            body: header::prepend(field.as_bytes(), &cleaned),
        };
        let mut wanted = Vec::new();
        let mut blocked = Vec::new();
        for (recipient, taker) in recipients.into_iter().zip(takers) {
            // A refusal that cannot be recorded is the whole message's: taken for the others, it would be lost to this one unseen.
            match self.handle(&arrival, &examined, recipient, taker).await? {
                Handled::Wanted(message) => wanted.push(*message),
                Handled::Blocked(message, refusal) => blocked.push((*message, refusal)),
            }
        }
        if !wanted.is_empty() {
            wanted.extend(blocked.into_iter().map(|(message, _)| message));
            return self.store_arrived(wanted).await;
        }
        match blocked.into_iter().next() {
            Some((message, refusal)) => {
                self.count_rule(message.organization, message.inbound.rule).await;
                Err(refusal)
            }
            None => Err(Refusal::NoSuchAddress),
        }
    }

    fn examine_content(&self, arrival: &Arrival) -> Result<ContentFacts, Refusal> {
        if arrival.raw.len() > self.settings.max_message_bytes {
            return Err(Refusal::TooLarge {
                limit: self.settings.max_message_bytes,
            });
        }
        let facts = content::inspect_inbound(&arrival.raw).map_err(|error| Refusal::Malformed(error.to_string()))?;
        if facts.from_count > 1 {
            // One would pass DMARC and the other be shown (RFC 7489 §6.6.1).
            return Err(Refusal::Malformed(SEVERAL_FROM.to_owned()));
        }
        if facts.received_count > self.settings.max_hops {
            return Err(Refusal::Loop {
                hops: facts.received_count,
            });
        }
        let forwards = hops::count(&arrival.raw).total;
        if forwards >= MAX_FORWARDS {
            return Err(Refusal::Loop { hops: forwards });
        }
        Ok(facts)
    }

    /// Mail of our own that stays in the house has no peer: only its signatures say something.
    async fn verify(&self, arrival: &Arrival) -> Result<Verdicts, Refusal> {
        let verifier = self.verifier.as_ref().ok_or(Refusal::Unavailable)?;
        let (sender, helo) = match arrival.received.peer {
            Some(_) => (&arrival.envelope.sender, arrival.received.helo.as_str()),
            None => (&ReversePath::Null, ""),
        };
        let client = arrival.received.peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Ok(verifier
            .verify(mailauth::Inbound {
                client,
                helo,
                mail_from: sender,
                hostname: &self.settings.hostname,
                raw: &arrival.raw,
            })
            .await)
    }

    /// One recipient: the message to store, wanted or not, or why there is none.
    async fn handle(&self, arrival: &Arrival, examined: &Examined, recipient: &Recipient, taker: Taker) -> Result<Handled, Refusal> {
        let alias = match taker {
            Taker::Reverse(contact) => {
                let message = self.reply(arrival, examined, &recipient.address, *contact).await?;
                return Ok(Handled::Wanted(Box::new(message)));
            }
            Taker::Alias(alias) => alias,
        };
        let decision = self.decide(arrival, examined, &recipient.address, &alias).await?;
        let refusal = match &decision.verdict {
            Verdict::Block {
                reply: decision::BlockReply::Dmarc { domain },
            } => Some(Refusal::DmarcFailed { domain: domain.clone() }),
            Verdict::Block {
                reply: decision::BlockReply::Owner { text },
            } => Some(Refusal::Blocked { reply: text.clone() }),
            _ => None,
        };
        let message = Box::new(self.forward(arrival, examined, recipient, &alias, decision).await?);
        Ok(match refusal {
            Some(refusal) => Handled::Blocked(message, refusal),
            None => Handled::Wanted(message),
        })
    }

    async fn store_arrived(&self, mut messages: Vec<NewMessage>) -> Result<Vec<MessageId>, Refusal> {
        let mut lanes = Vec::new();
        for message in &messages {
            lanes.extend(message.deliveries.iter().map(|delivery| delivery.lane));
        }
        let ids = messages.iter().map(|message| message.id).collect();
        messages.sort_unstable_by_key(|message| message.id);
        for stored in self.batcher.store_all(messages).await {
            match stored {
                // A key that is taken: this delivery of our own came in before, and its worker died before it could say so.
                Stored::Committed { .. } | Stored::KeyTaken => {}
                Stored::Refused => return Err(Refusal::Malformed("the database cannot hold this message's header".to_owned())),
                Stored::Unavailable => return Err(Refusal::Unavailable),
                Stored::InDoubt => return Err(Refusal::InDoubt),
            }
        }
        self.wake.wake(lanes);
        Ok(ids)
    }

    async fn forward(
        &self,
        arrival: &Arrival,
        examined: &Examined,
        recipient: &Recipient,
        alias: &recipient::AliasTarget,
        decision: Decision,
    ) -> Result<NewMessage, Refusal> {
        let id = MessageId::generate();
        let alias_address = alias.address(&recipient.address);
        let held = match decision.verdict {
            Verdict::Quarantine => Some(DeliveryStatus::Quarantined),
            Verdict::Discard => Some(DeliveryStatus::Discarded),
            Verdict::Block { .. } => Some(DeliveryStatus::Blocked),
            Verdict::Forward => None,
        };
        let destinations = decision.redirect.as_deref().unwrap_or(&alias.destinations);
        let notify = recipient.notify.map(|notify| i16::from(notify.to_bits()));
        let mut deliveries = self.deliveries(alias.domain.organization, destinations, held).await?;
        for delivery in &mut deliveries {
            delivery.dsn_notify = notify;
        }
        let rewrite_from = self.rewrite_from(examined, alias, &alias_address).await?;
        let mut fields = self.received_field(arrival, id, &recipient.address);
        fields.push_str(&hops::write(&self.settings.hostname, &alias_address));
        Ok(NewMessage {
            id,
            organization: alias.domain.organization,
            direction: Direction::Forward,
            via: if arrival.local.is_some() { Via::Internal } else { Via::Smtp },
            credential: None,
            domain: Some(alias.domain.id),
            parent: arrival.local.as_ref().map(|local| local.message),
            envelope_sender: arrival.envelope.sender.to_string(),
            header_from: Headers::scan(&arrival.raw)
                .first("From")
                .map(|field| field.text())
                .unwrap_or_default(),
            subject: examined.facts.subject.clone().unwrap_or_default(),
            message_id_header: examined.facts.message_id.clone().unwrap_or_default(),
            eight_bit: examined.facts.eight_bit,
            // Raw octets in a header that came without SMTPUTF8 go on without it: not every server offers it.
            smtputf8: arrival.envelope.smtputf8 && examined.facts.eight_bit_header,
            stream: STREAM.to_owned(),
            tags: Vec::new(),
            metadata: serde_json::json!({}),
            dsn_envid: None,
            dsn_headers_only: arrival.envelope.headers_only,
            trace_context: arrival.trace_context.clone(),
            scheduled_at: None,
            expires_at: Utc::now() + self.settings.expire_after,
            raw: header::prepend(fields.as_bytes(), &examined.body),
            deliveries,
            idempotency: arrival.local.as_ref().map(local_key),
            inbound: InboundFacts {
                original_recipient: Some(recipient.address.to_string()),
                alias: alias.id,
                rule: decision.rule,
                verdicts: serde_json::to_value(&examined.verdicts).ok(),
                rewrite_from,
            },
        })
    }

    fn received_field(&self, arrival: &Arrival, id: MessageId, recipient: &Address) -> String {
        trace::received(&ReceivedClause {
            from_helo: &arrival.received.helo,
            from_address: arrival.received.peer,
            by: &self.settings.hostname,
            with: &arrival.received.with,
            tls: arrival.received.tls.as_deref(),
            id: &id.to_string(),
            for_recipient: Some(recipient),
            at: Utc::now(),
        })
    }

    /// One delivery per destination, with its lane.
    async fn deliveries(
        &self,
        organization: OrganizationId,
        destinations: &[Onward],
        decided: Option<DeliveryStatus>,
    ) -> Result<Vec<NewDelivery>, Refusal> {
        let ready: Vec<&Onward> = destinations.iter().filter(|destination| destination.verified).collect();
        if ready.is_empty() {
            return Err(Refusal::NoDestination);
        }
        let hosts: Vec<String> = ready.iter().map(|destination| host(destination)).collect();
        let keys = hosts
            .iter()
            .map(|host| LaneKey {
                organization,
                stream: STREAM.to_owned(),
                destination: host.clone(),
            })
            .collect();
        let lanes = self.directory.lanes(keys).await?;
        let mut seen: Vec<&String> = Vec::new();
        Ok(ready
            .into_iter()
            .zip(lanes)
            .zip(&hosts)
            .map(|((destination, lane), host)| {
                let ordinal = seen.iter().position(|known| *known == host).unwrap_or_else(|| {
                    seen.push(host);
                    seen.len() - 1
                });
                NewDelivery {
                    recipient: destination.address.clone(),
                    recipient_folded: destination.address.to_lowercase(),
                    kind: RecipientKind::Envelope,
                    destination: i16::try_from(ordinal).unwrap_or(i16::MAX),
                    lane,
                    dsn_notify: None,
                    dsn_orcpt: None,
                    forward_to: destination.id,
                    decided,
                }
            })
            .collect())
    }
}

/// Where a destination is: a mailbox's domain, or the whole origin of an endpoint.
fn host(destination: &Onward) -> String {
    match destination.kind {
        DestinationKind::Mailbox => Address::parse(&destination.address)
            .map(|address| address.host().to_string())
            .unwrap_or_default(),
        DestinationKind::Endpoint => destination.address.splitn(4, '/').take(3).collect::<Vec<_>>().join("/"),
    }
}

/// The recipients, without those that were named before.
fn each_once(recipients: &[Recipient]) -> Vec<&Recipient> {
    let mut seen = HashSet::new();
    recipients
        .iter()
        .filter(|recipient| seen.insert(recipient.address.folded()))
        .collect()
}

fn local_key(local: &LocalOrigin) -> NewIdempotency {
    NewIdempotency {
        route: "local".to_owned(),
        key: format!("{}-{}", local.message, local.number),
        request_hash: vec![0; 32],
    }
}
