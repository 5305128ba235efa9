//! Why a message was not accepted. Each protocol words it in its own way.

use std::time::Duration;

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The sender's domain is not a verified one of the organization.
    #[error("the domain {domain} is not verified for this organization: add it and publish its DNS records")]
    DomainNotVerified {
        /// The domain, or the address literal.
        domain: String,
    },
    /// The credential may not send as this address.
    #[error("this credential may not send as {address}")]
    SenderNotAllowed {
        /// The address.
        address: String,
    },
    /// The message does not say whom it is from, and the envelope does not either.
    #[error("the message has no From field")]
    NoFrom,
    /// The bytes are not a message that other servers would take.
    #[error("{0}")]
    Malformed(String),
    /// Longer than the limit.
    #[error("the message is larger than {limit} bytes")]
    TooLarge {
        /// The limit in octets.
        limit: usize,
    },
    /// No recipient, or too many.
    #[error("a message takes between 1 and {limit} recipients")]
    RecipientCount {
        /// The limit.
        limit: usize,
    },
    /// It has been through too many hosts.
    #[error("the message has passed {hops} hosts: it is going round in circles")]
    Loop {
        /// Received fields found.
        hops: usize,
    },
    /// A quota is used up.
    #[error("the sending quota is used up")]
    QuotaExceeded {
        /// When it will be worth trying again.
        retry_after: Duration,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for a different message")]
    KeyReused,
    /// The first request with this idempotency key is still running.
    #[error("a request with this idempotency key is still running")]
    KeyInProgress,
    /// A fault of ours: try again later.
    #[error("the message could not be stored just now")]
    Unavailable,
    /// Nobody can say whether it was stored: trying again may send it twice.
    #[error("the message may or may not have been stored")]
    InDoubt,
    /// The domain is nobody's here, and the client may not relay.
    #[error("{domain} is not hosted here")]
    NotHosted {
        /// The domain, or the address literal.
        domain: String,
    },
    /// The domain is hosted here, the address is nobody's.
    #[error("no such address here")]
    NoSuchAddress,
    /// The alias takes no mail: paused, expired, or used up.
    #[error("{}", .reply.as_deref().unwrap_or("this address takes no mail"))]
    AliasClosed {
        /// What its owner wants said.
        reply: Option<String>,
    },
    /// None of the alias's destinations has been confirmed yet.
    #[error("this address is not ready to take mail yet")]
    NoDestination,
    /// A rule or a sender list refuses the message.
    #[error("{}", .reply.as_deref().unwrap_or("the recipient does not want this message"))]
    Blocked {
        /// What its owner wants said.
        reply: Option<String>,
    },
    /// The message fails the check that its author's domain asks for.
    #[error("the message does not pass the DMARC check of {domain}")]
    DmarcFailed {
        /// The author's domain.
        domain: String,
    },
    /// A reverse address takes mail only from its alias's destination, shown by SPF or DKIM.
    #[error(
        "only the alias's own mailbox may write here, and neither SPF nor DKIM shows that this is it; send with an SMTP credential instead"
    )]
    ReplyNotProven,
    /// A return path that we did not make, that is too old, or that anything but a bounce writes to.
    #[error("this return path is not valid")]
    InvalidReturnPath,
}

impl Refusal {
    /// A short stable word for metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::DomainNotVerified { .. } => "domain_not_verified",
            Self::SenderNotAllowed { .. } => "sender_not_allowed",
            Self::NoFrom => "no_from",
            Self::Malformed(_) => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::RecipientCount { .. } => "recipient_count",
            Self::Loop { .. } => "loop",
            Self::QuotaExceeded { .. } => "quota_exceeded",
            Self::KeyReused => "idempotency_key_reused",
            Self::KeyInProgress => "idempotency_in_progress",
            Self::Unavailable => "unavailable",
            Self::InDoubt => "in_doubt",
            Self::NotHosted { .. } => "not_hosted",
            Self::NoSuchAddress => "no_such_address",
            Self::AliasClosed { .. } => "alias_closed",
            Self::NoDestination => "no_destination",
            Self::Blocked { .. } => "blocked",
            Self::DmarcFailed { .. } => "dmarc_failed",
            Self::ReplyNotProven => "reply_not_proven",
            Self::InvalidReturnPath => "invalid_return_path",
        }
    }

    /// Whether the same message may be accepted later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::QuotaExceeded { .. } | Self::KeyInProgress | Self::Unavailable | Self::InDoubt | Self::NoDestination
        )
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        tracing::error!(%error, source = std::error::Error::source(&error).map(tracing::field::display), "the store failed at the door");
        Self::Unavailable
    }
}
