//! Building a message from the parts an API gives.
//!
//! Every text is checked before anything is written: no text can end its line, become a field of its own, or say who else
//! got the message. All faults are reported at once, each under the name of its field. The result has CRLF line ends, no line
//! beyond 998 octets, and is 7-bit apart from UTF-8 local parts in addresses (which need SMTPUTF8 anyway).

mod check;
mod fields;
mod mailbox;
mod parts;

pub use mailbox::Mailbox;

use chrono::{DateTime, Utc};

/// Fields of its own that a draft may have.
pub const MAX_HEADERS: usize = 100;
/// Files that may be attached.
pub const MAX_ATTACHMENTS: usize = 100;
/// Octets of a subject, a name or a file's name.
pub const MAX_TEXT_OCTETS: usize = 998;
/// Octets of the value of one field of its own.
pub const MAX_HEADER_VALUE_OCTETS: usize = 8000;

/// A message to be built.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The author.
    pub from: Mailbox,
    /// Recipients who are shown.
    pub to: Vec<Mailbox>,
    /// Recipients of copies who are shown.
    pub cc: Vec<Mailbox>,
    /// Recipients who are not shown: checked, never written.
    pub bcc: Vec<Mailbox>,
    /// Where replies go.
    pub reply_to: Vec<Mailbox>,
    /// The subject.
    pub subject: Option<String>,
    /// The body as HTML.
    pub html: Option<String>,
    /// The body as plain text.
    pub text: Option<String>,
    /// Fields of its own, in order. `Date` and `Message-ID` may be among them once each and replace ours.
    pub headers: Vec<(String, String)>,
    /// Files; one with a `content_id` belongs to the HTML and is shown within it.
    pub attachments: Vec<Attachment>,
    /// The Message-ID, with angle brackets; also the seed of the boundaries, so it should be unique.
    pub message_id: String,
    /// The date.
    pub date: DateTime<Utc>,
}

/// A file.
#[derive(Debug, Clone, Default)]
pub struct Attachment {
    /// Its name, in any characters.
    pub filename: Option<String>,
    /// Its octets.
    pub content: Vec<u8>,
    /// `type/subtype`, with parameters or without; `application/octet-stream` when not given.
    pub content_type: Option<String>,
    /// The id by which the HTML refers to it (`cid:`), with angle brackets or without.
    pub content_id: Option<String>,
}

/// What is wrong with one field of a draft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// Where: `subject`, `to[1]`, `headers.X-A`, `attachments[0].filename`. Never contains a control character.
    pub field: String,
    /// What, in words for the API's user.
    pub message: String,
}

/// Builds the message.
///
/// # Errors
/// Every fault found in the draft, at least one.
pub fn compose(draft: &Draft) -> Result<Vec<u8>, Vec<FieldError>> {
    let faults = check::faults(draft);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut message = Vec::with_capacity(2048 + parts::estimated_octets(draft));
    fields::write(draft, &mut message);
    parts::write(draft, &mut message);
    Ok(message)
}
