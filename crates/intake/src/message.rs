//! From a submission to the message that is stored: what is missing is added, what is ours is removed, nothing else is touched.

use crate::{
    Refusal, Submission,
    accept::Settings,
    routing::{self, Route},
};
use chrono::{DateTime, Utc};
use mail::{
    content::{self, ContentFacts},
    header::{self, Headers},
    trace::{self, ReceivedClause},
};
use store::{
    acceptance::{InboundFacts, NewDelivery, NewIdempotency, NewMessage},
    ids::{DomainId, MessageId},
    lanes::LaneKey,
    models::{Direction, RecipientKind, Via},
};

/// The header field by which an SMTP client says that it may be sending the same message again.
const IDEMPOTENCY_FIELD: &str = "Postroad-Idempotency-Key";
/// Fields that end here: Bcc names people the others must not see, Return-Path is the last host's to write.
const NOT_FOR_THE_RECIPIENT: &[&str] = &[IDEMPOTENCY_FIELD, "Bcc", "Return-Path"];

/// Why a message with two authors' fields is refused.
pub(crate) const SEVERAL_FROM: &str = "the message has more than one From field (RFC 5322 section 3.6)";

/// The key in the message's header, if it carries one.
pub(crate) fn idempotency_key(raw: &[u8]) -> Option<String> {
    let key = Headers::scan(raw).first(IDEMPOTENCY_FIELD)?.text();
    (1..=256).contains(&key.chars().count()).then_some(key)
}

/// What a submission's bytes say, and whether they may pass at all.
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::Malformed`], [`Refusal::Loop`].
pub(crate) fn inspect(submission: &Submission, settings: &Settings) -> Result<ContentFacts, Refusal> {
    if submission.raw.len() > settings.max_message_bytes {
        return Err(Refusal::TooLarge {
            limit: settings.max_message_bytes,
        });
    }
    let facts = content::inspect(&submission.raw).map_err(|error| Refusal::Malformed(error.to_string()))?;
    if facts.from_count > 1 {
        return Err(Refusal::Malformed(SEVERAL_FROM.to_owned()));
    }
    if facts.from_unreadable {
        return Err(Refusal::Malformed(
            "the From field holds something that cannot be read as an address (RFC 5322 section 3.4)".to_owned(),
        ));
    }
    if facts.received_count > settings.max_hops {
        return Err(Refusal::Loop {
            hops: facts.received_count,
        });
    }
    Ok(facts)
}

/// A message ready but for the numbers of its lanes.
pub(crate) struct Prepared {
    pub(crate) message: NewMessage,
    pub(crate) lanes: Vec<LaneKey>,
}

/// Builds the stored message.
pub(crate) fn prepare(
    submission: Submission,
    facts: &ContentFacts,
    domain: Option<DomainId>,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Prepared {
    let id = MessageId::generate();
    let routes = routing::route(&submission.envelope);
    let stream = submission.stream.clone().unwrap_or_else(|| submission.sender.stream.clone());
    let message_id_header = facts.message_id.clone().unwrap_or_else(|| format!("<{id}@{}>", settings.hostname));
    let sender = submission.envelope.sender.to_string();
    // RFC 6409 §8: a submission server may complete what a simple client leaves out.
    let from_added = (facts.from_count == 0).then(|| sender.clone());
    let raw = assemble(&submission, facts, &id, &message_id_header, from_added.as_deref(), settings, now);
    let header_from = Headers::scan(&submission.raw).first("From").map(|field| field.text());
    let lanes = routes
        .iter()
        .map(|route| LaneKey {
            organization: submission.sender.organization,
            stream: stream.clone(),
            destination: route.destination.clone(),
        })
        .collect();
    let deliveries = routes.iter().map(|route| delivery(&submission, route)).collect();
    let needs_smtputf8 = !submission.envelope.sender.address().is_none_or(mail::Address::is_ascii)
        || submission.envelope.recipients.iter().any(|r| !r.address.is_ascii());
    let message = NewMessage {
        id,
        organization: submission.sender.organization,
        direction: Direction::Outbound,
        via: submission.via,
        credential: Some(submission.sender.credential),
        domain,
        parent: None,
        header_from: header_from.or(from_added).unwrap_or_default(),
        envelope_sender: sender,
        subject: facts.subject.clone().unwrap_or_default(),
        message_id_header,
        eight_bit: facts.eight_bit,
        smtputf8: needs_smtputf8 || facts.eight_bit_header,
        stream,
        tags: submission.tags,
        metadata: submission.metadata,
        dsn_envid: submission.envelope.envelope_id,
        dsn_headers_only: submission.envelope.headers_only,
        trace_context: submission.trace_context,
        scheduled_at: submission.scheduled_at.filter(|at| *at > now),
        expires_at: submission
            .expires_at
            .unwrap_or_else(|| submission.scheduled_at.map_or(now, |at| at.max(now)) + settings.expire_after),
        raw,
        deliveries,
        idempotency: submission.idempotency.map(|key| NewIdempotency {
            route: key.route,
            key: key.key,
            request_hash: key.request_hash.to_vec(),
        }),
        inbound: InboundFacts::default(),
    };
    Prepared { message, lanes }
}

fn delivery(submission: &Submission, route: &Route) -> NewDelivery {
    let recipient = &submission.envelope.recipients[route.recipient];
    NewDelivery {
        recipient: recipient.address.to_string(),
        recipient_folded: recipient.address.folded(),
        kind: submission.kinds.get(route.recipient).copied().unwrap_or(RecipientKind::Envelope),
        destination: route.ordinal,
        lane: 0, // set when the lanes are resolved
        dsn_notify: recipient.notify.map(|notify| i16::from(notify.to_bits())),
        dsn_orcpt: recipient.original_recipient.clone(),
        forward_to: None,
        decided: None,
    }
}

/// Our Received field, then what a submission server adds when it is missing (RFC 6409 §8), then the message as it came.
fn assemble(
    submission: &Submission,
    facts: &ContentFacts,
    id: &MessageId,
    message_id_header: &str,
    from: Option<&str>,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Vec<u8> {
    let only = match submission.envelope.recipients.as_slice() {
        [one] => Some(&one.address),
        _ => None,
    };
    let mut fields = trace::received(&ReceivedClause {
        from_helo: &submission.received.helo,
        from_address: submission.received.peer.filter(|_| submission.via != Via::Smtp),
        by: &settings.hostname,
        with: &submission.received.with,
        tls: submission.received.tls.as_deref(),
        id: &id.to_string(),
        for_recipient: only,
        at: now,
    });
    if !facts.has_date {
        fields.push_str(&format!("Date: {}\r\n", trace::date(now)));
    }
    if facts.message_id.is_none() {
        fields.push_str(&format!("Message-ID: {message_id_header}\r\n"));
    }
    if let Some(from) = from {
        fields.push_str(&format!("From: <{from}>\r\n"));
    }
    let body = header::remove(&submission.raw, NOT_FOR_THE_RECIPIENT);
    // A body without any header, however its lines look, needs the empty line that ends ours.
    let separator: &[u8] = if facts.field_count == facts.malformed_fields && !body.starts_with(b"\r\n") {
        b"\r\n"
    } else {
        b""
    };
    let mut raw = Vec::with_capacity(fields.len() + separator.len() + body.len());
    raw.extend_from_slice(fields.as_bytes());
    raw.extend_from_slice(separator);
    raw.extend_from_slice(&body);
    raw
}
