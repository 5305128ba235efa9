//! What of a message a condition looks at.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Characters the name of a header field may have in a condition.
pub const MAX_HEADER_NAME_CHARACTERS: usize = 100;

/// A property of a message. In JSON its name; a header field is `header:<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Field {
    /// The addresses in From; where it names none, the envelope's sender.
    Sender,
    /// The domains of those.
    SenderDomain,
    /// The envelope's recipient: the address at which the message came in.
    Recipient,
    /// The Subject, decoded.
    Subject,
    /// Octets of the whole message.
    SizeBytes,
    /// Is anything attached?
    HasAttachments,
    /// The header fields of that name, whatever its case, decoded.
    Header(String),
    /// The address in MAIL FROM; empty for a bounce.
    EnvelopeSender,
    /// The result of SPF.
    Spf,
    /// The result of DKIM.
    Dkim,
    /// The result of DMARC.
    Dmarc,
}

/// Why a text is not the name of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldNameError {
    /// Not one of ours.
    #[error(
        "there is no such field; use sender, sender_domain, recipient, subject, size_bytes, has_attachments, header:<name>, \
         envelope_sender, spf, dkim or dmarc"
    )]
    Unknown,
    /// What follows `header:` is not the name of a header field (RFC 5322 §3.6.8).
    #[error(
        "the name after header: must be 1 to {MAX_HEADER_NAME_CHARACTERS} printable ASCII characters without blanks and colons, \
         as in header:X-Mailer"
    )]
    HeaderName,
}

impl FromStr for Field {
    type Err = FieldNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "sender" => Self::Sender,
            "sender_domain" => Self::SenderDomain,
            "recipient" => Self::Recipient,
            "subject" => Self::Subject,
            "size_bytes" => Self::SizeBytes,
            "has_attachments" => Self::HasAttachments,
            "envelope_sender" => Self::EnvelopeSender,
            "spf" => Self::Spf,
            "dkim" => Self::Dkim,
            "dmarc" => Self::Dmarc,
            other => {
                let name = other.strip_prefix("header:").ok_or(FieldNameError::Unknown)?;
                let sound = (1..=MAX_HEADER_NAME_CHARACTERS).contains(&name.len())
                    && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
                if !sound {
                    return Err(FieldNameError::HeaderName);
                }
                Self::Header(name.to_owned())
            }
        })
    }
}

impl TryFrom<String> for Field {
    type Error = FieldNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Field> for String {
    fn from(field: Field) -> Self {
        field.to_string()
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sender => "sender",
            Self::SenderDomain => "sender_domain",
            Self::Recipient => "recipient",
            Self::Subject => "subject",
            Self::SizeBytes => "size_bytes",
            Self::HasAttachments => "has_attachments",
            Self::Header(name) => return write!(formatter, "header:{name}"),
            Self::EnvelopeSender => "envelope_sender",
            Self::Spf => "spf",
            Self::Dkim => "dkim",
            Self::Dmarc => "dmarc",
        })
    }
}
