//! What a private mailbox sends to a reverse address, made fit to leave as the alias.
//!
//! [`scrub`] writes a new header from a short list of fields that may pass, and goes through the parts of the body: the reverse
//! address becomes the correspondent's, an address of the private mailbox becomes the alias, and any other word with a name
//! of the private mailbox's domain in it becomes `[removed]` (content ids get the alias's domain, so that a page still finds its
//! pictures). That holds in every text part, calendar, contact and attached message, whatever its transfer encoding and charset,
//! and for the disguises of links and pages (`%40`, `&#64;`, soft hyphens). Where nothing is to be replaced the text keeps its octets.
//!
//! Choices:
//! - The only recipient shown is the correspondent. Whom else the author addressed got a copy of their own, and their reverse
//!   addresses are nobody else's business.
//! - Names of a domain under which the alias or the correspondent have their own address are no secret between the two; there
//!   only the private addresses themselves are replaced.
//! - References to messages whose ids were made at the private domain are dropped: the correspondent never saw those ids.
//! - Text before the first and after the last boundary of a multipart is dropped, as are part fields other than `Content-*`.
//!
//! Not here: attachments that are no text (they pass octet for octet, whatever an office document says of its author), signed and
//! encrypted parts (`multipart/signed`, `multipart/encrypted`: to touch them is to break them; only the fields around them are cleaned), and what
//! the author says of himself in words.

mod fields;
mod parameters;
mod parts;
mod plain;
mod replace;
mod text;

use chrono::{DateTime, Utc};

use crate::address::Address;
use crate::header::{Headers, mailbox};
use crate::trace::date;
use replace::Replacements;

/// Between whom a message passes, and what must not show.
#[derive(Debug, Clone, Copy)]
pub struct Scrub<'a> {
    /// As whom it leaves.
    pub alias: &'a Address,
    /// The name shown with the alias, if one is configured. The author's own is private.
    pub alias_name: Option<&'a str>,
    /// To whom it goes.
    pub correspondent: &'a Address,
    /// What the author wrote to.
    pub reverse: &'a Address,
    /// The addresses of the destination; their domains are private, too.
    pub private: &'a [&'a Address],
    /// The Message-ID it gets, with angle brackets.
    pub message_id: &'a str,
    /// Its date where it has none that can be read.
    pub date: DateTime<Utc>,
}

/// Fields that pass, cleaned, the first of each name. `Content-*`, Date, References, In-Reply-To and MIME-Version are treated apart, all
/// others are dropped.
const KEPT: [&str; 6] = ["Subject", "Importance", "Priority", "Sensitivity", "Auto-Submitted", "Precedence"];

/// The message as it may leave. Never fails; the time it takes is proportional to the message's size.
#[must_use]
pub fn scrub(raw: &[u8], scrub: &Scrub<'_>) -> Vec<u8> {
    let replacements = Replacements::new(scrub);
    let headers = Headers::scan(raw);
    let mut cleaned = Vec::with_capacity(raw.len() + 512);
    let mut push = |name: &str, value: &str| cleaned.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    let sent = headers
        .first("Date")
        .and_then(|field| fields::moment(field.value))
        .unwrap_or(scrub.date);
    push("Date", &date(sent));
    push("From", &mailbox(scrub.alias_name.unwrap_or_default(), scrub.alias));
    push("To", &format!("<{}>", scrub.correspondent));
    let id: String = scrub.message_id.chars().filter(|character| !character.is_control()).collect();
    push("Message-ID", &id);
    for name in ["In-Reply-To", "References"] {
        if let Some(ids) = headers.first(name).and_then(|field| fields::ids(field.value, &replacements)) {
            push(name, &ids);
        }
    }
    for name in KEPT {
        if let Some(field) = headers.first(name) {
            cleaned.extend_from_slice(&fields::unstructured(&field, &replacements));
        }
    }
    let content = parts::Walk::new(&replacements).content(raw, "text/plain", 0);
    if !content.fields.is_empty() || headers.first("MIME-Version").is_some() {
        cleaned.extend_from_slice(b"MIME-Version: 1.0\r\n");
    }
    cleaned.extend_from_slice(&content.fields);
    cleaned.extend_from_slice(b"\r\n");
    cleaned.extend_from_slice(&content.body);
    cleaned
}
