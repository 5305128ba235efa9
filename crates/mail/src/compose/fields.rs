//! The header of a composed message.

use mail_builder::headers::Header;
use mail_builder::headers::address::{Address as Addresses, EmailAddress};
use mail_builder::headers::text::Text;

use super::{Draft, Mailbox};
use crate::content::MAX_LINE_OCTETS;
use crate::trace::date;

/// Fields whose value has a grammar of its own, in which encoded words have no place.
const STRUCTURED: [&str; 7] = [
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "auto-submitted",
];

/// Writes every field but those of MIME.
pub(super) fn write(draft: &Draft, message: &mut Vec<u8>) {
    mailboxes("From", std::slice::from_ref(&draft.from), message);
    if draft.to.is_empty() && draft.cc.is_empty() {
        // Some hosts refuse a message that names nobody.
        message.extend_from_slice(b"To: undisclosed-recipients:;\r\n");
    }
    mailboxes("To", &draft.to, message);
    mailboxes("Cc", &draft.cc, message);
    mailboxes("Reply-To", &draft.reply_to, message);
    if let Some(subject) = &draft.subject {
        text("Subject", subject, message);
    }
    let given = |wanted: &str| draft.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    if !given("Date") {
        text("Date", &date(draft.date), message);
    }
    if !given("Message-ID") {
        text("Message-ID", &draft.message_id, message);
    }
    for (name, value) in &draft.headers {
        text(name, value, message);
    }
    message.extend_from_slice(b"MIME-Version: 1.0\r\n");
}

/// Can this field be written in ASCII and within the length of a line?
pub(super) fn fits(name: &str, value: &str) -> bool {
    let mut written = Vec::with_capacity(name.len() + value.len() + 64);
    text(name, value, &mut written);
    // Each line still has its CR here.
    written.is_ascii() && written.split(|byte| *byte == b'\n').all(|line| line.len() <= MAX_LINE_OCTETS + 1)
}

fn text(name: &str, value: &str, message: &mut Vec<u8>) {
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(b": ");
    let value = value.trim();
    if STRUCTURED.iter().any(|structured| name.eq_ignore_ascii_case(structured)) {
        folded(value, name.len() + 2, message);
    } else {
        Text::new(value).write_header(message, name.len() + 2);
    }
}

/// Folds before blanks and otherwise leaves the value alone.
fn folded(value: &str, column: usize, message: &mut Vec<u8>) {
    let mut column = column;
    for (at, word) in value.split_ascii_whitespace().enumerate() {
        if at > 0 && column + 1 + word.len() > 78 {
            message.extend_from_slice(b"\r\n ");
            column = 1;
        } else if at > 0 {
            message.push(b' ');
            column += 1;
        }
        message.extend_from_slice(word.as_bytes());
        column += word.len();
    }
    message.extend_from_slice(b"\r\n");
}

fn mailboxes(name: &str, mailboxes: &[Mailbox], message: &mut Vec<u8>) {
    if mailboxes.is_empty() {
        return;
    }
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(b": ");
    let list = mailboxes
        .iter()
        .map(|mailbox| {
            Addresses::Address(EmailAddress {
                name: mailbox
                    .name
                    .as_deref()
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .map(Into::into),
                email: mailbox.address.to_string().into(),
            })
        })
        .collect();
    Addresses::new_list(list).write_header(message, name.len() + 2);
}
