//! What comes in through the door, and what the door answers.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use mail::{Address, Envelope};
use std::net::IpAddr;
use store::{
    ids::{MessageId, OrganizationId},
    models::{DeliveryStatus, RecipientKind, Via},
};
use uuid::Uuid;

/// An authenticated sender, as the service that checked the credential resolved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Whose mail this is.
    pub organization: OrganizationId,
    /// The SMTP credential or API key.
    pub credential: Uuid,
    /// `a@b.example` or `@b.example`; empty: any verified domain of the organization.
    pub allowed_from: Vec<String>,
    /// The stream unless the message names one.
    pub stream: String,
}

/// How the message reached us, for its Received field.
#[derive(Debug, Clone, Default)]
pub struct ReceivedInfo {
    /// The argument of EHLO, empty for HTTP.
    pub helo: String,
    /// The peer. Not written for submissions: they do not tell the world where their author sits.
    pub peer: Option<IpAddr>,
    /// The protocol's name (RFC 3848): `ESMTPSA`, `HTTP`, …
    pub with: String,
    /// TLS version and cipher suite.
    pub tls: Option<String>,
}

/// The caller's protection against sending twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The route it counts for.
    pub route: String,
    /// 1–256 characters.
    pub key: String,
    /// SHA-256 of the request.
    pub request_hash: [u8; 32],
}

/// A message to accept.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Who sends it.
    pub sender: Sender,
    /// By which door.
    pub via: Via,
    /// The envelope; the recipients in order, duplicates allowed.
    pub envelope: Envelope,
    /// How each recipient was named, in the envelope's order; empty: all by the envelope.
    pub kinds: Vec<RecipientKind>,
    /// The message, CRLF lines, without our Received field.
    pub raw: Bytes,
    /// How it reached us.
    pub received: ReceivedInfo,
    /// Labels for finding it again.
    pub tags: Vec<String>,
    /// A JSON object of the caller's.
    pub metadata: serde_json::Value,
    /// Instead of the credential's stream.
    pub stream: Option<String>,
    /// Not before then.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Given up after then; otherwise after the configured time.
    pub expires_at: Option<DateTime<Utc>>,
    /// Send once.
    pub idempotency: Option<Idempotency>,
    /// W3C traceparent of the session.
    pub trace_context: Option<String>,
}

/// The answer to an accepted [`Submission`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The message's id.
    pub message: MessageId,
    /// Its recipients, without duplicates.
    pub recipients: Vec<AcceptedRecipient>,
    /// An earlier request with the same idempotency key made it; this one changed nothing.
    pub replayed: bool,
}

/// One recipient of an accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedRecipient {
    /// The address.
    pub address: String,
    /// `queued`, `scheduled` or `suppressed`.
    pub status: DeliveryStatus,
}

impl Submission {
    /// Every address the message speaks for on the envelope: none for the null reverse-path.
    pub(crate) fn envelope_sender(&self) -> Option<&Address> {
        self.envelope.sender.address()
    }
}
