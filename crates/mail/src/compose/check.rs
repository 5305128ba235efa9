//! What a draft may not contain.

use chrono::DateTime;

use super::{
    Attachment, Draft, FieldError, MAX_ATTACHMENTS, MAX_HEADER_VALUE_OCTETS, MAX_HEADERS, MAX_TEXT_OCTETS, Mailbox, fields, parts,
};
use crate::header::decode_raw;

/// Fields that are ours to write or that only hosts on the way may write. Lower case.
const RESERVED: [&str; 20] = [
    "from",
    "sender",
    "to",
    "cc",
    "bcc",
    "reply-to",
    "subject",
    "received",
    "return-path",
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "mime-version",
    "dkim-signature",
    "domainkey-signature",
    "authentication-results",
    "received-spf",
    "errors-to",
    "apparently-to",
    "x-failed-recipients",
];
const RESERVED_PREFIXES: [&str; 5] = ["content-", "resent-", "arc-", "postroad-", "x-postroad-"];
/// Fields that occur at most once (RFC 5322 §3.6, RFC 8058).
const ONCE: [&str; 6] = [
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "list-unsubscribe",
    "list-unsubscribe-post",
];

/// Everything that is wrong with a draft.
pub(super) fn faults(draft: &Draft) -> Vec<FieldError> {
    let mut faults = Faults(Vec::new());
    faults.mailbox("from", &draft.from);
    for (field, mailboxes) in [
        ("to", &draft.to),
        ("cc", &draft.cc),
        ("bcc", &draft.bcc),
        ("reply_to", &draft.reply_to),
    ] {
        for (at, mailbox) in mailboxes.iter().enumerate() {
            faults.mailbox(&format!("{field}[{at}]"), mailbox);
        }
    }
    if let Some(subject) = &draft.subject {
        faults.text("subject", subject, MAX_TEXT_OCTETS);
    }
    for (field, body) in [("text", &draft.text), ("html", &draft.html)] {
        if body.as_ref().is_some_and(|body| body.contains('\0')) {
            faults.add(field, "must not contain NUL");
        }
    }
    faults.headers(&draft.headers);
    if draft.attachments.len() > MAX_ATTACHMENTS {
        faults.add("attachments", &format!("at most {MAX_ATTACHMENTS} files can be attached"));
    }
    for (at, attachment) in draft.attachments.iter().enumerate().take(MAX_ATTACHMENTS) {
        faults.attachment(at, attachment);
    }
    if !is_message_id(&draft.message_id) {
        faults.add("message_id", "must be <left@right> in ASCII without blanks");
    }
    faults.0
}

struct Faults(Vec<FieldError>);

impl Faults {
    fn add(&mut self, field: &str, message: &str) {
        // A name from the draft may be part of the field's name.
        let field = field
            .chars()
            .map(|character| if character.is_control() { '?' } else { character })
            .take(200)
            .collect();
        self.0.push(FieldError {
            field,
            message: message.to_owned(),
        });
    }

    /// A text that ends up in one field. True: nothing is wrong with it.
    fn text(&mut self, field: &str, text: &str, limit: usize) -> bool {
        let fault = if text.len() > limit {
            format!("must not be longer than {limit} octets")
        } else if text.chars().any(ends_a_line) {
            "must not contain CR, LF, NUL or other control characters".to_owned()
        } else if has_hidden_line_end(text) {
            "must not contain encoded CR, LF or NUL".to_owned()
        } else {
            return true;
        };
        self.add(field, &fault);
        false
    }

    fn mailbox(&mut self, field: &str, mailbox: &Mailbox) {
        if let Some(name) = &mailbox.name {
            self.text(field, name, MAX_TEXT_OCTETS);
        }
    }

    fn headers(&mut self, headers: &[(String, String)]) {
        if headers.len() > MAX_HEADERS {
            self.add("headers", &format!("at most {MAX_HEADERS} fields are accepted"));
            return;
        }
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in headers {
            let field = format!("headers.{name}");
            let folded = name.to_ascii_lowercase();
            if !is_field_name(name) {
                self.add(
                    &field,
                    "is not a field name: only visible ASCII characters other than the colon are allowed, at most 76",
                );
            } else if RESERVED.contains(&folded.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| folded.starts_with(prefix)) {
                self.add(&field, "is reserved and cannot be set here");
            } else if ONCE.contains(&folded.as_str()) && seen.contains(&folded) {
                self.add(&field, "can be given only once");
            } else if self.text(&field, value, MAX_HEADER_VALUE_OCTETS) {
                self.value(&field, name, &folded, value);
            }
            seen.push(folded);
        }
    }

    fn value(&mut self, field: &str, name: &str, folded: &str, value: &str) {
        match folded {
            "date" if DateTime::parse_from_rfc2822(value.trim()).is_err() => self.add(field, "is not a date as RFC 5322 writes it"),
            "message-id" if !is_message_id(value.trim()) => self.add(field, "must be <left@right> in ASCII without blanks"),
            _ if !fields::fits(name, value) => {
                self.add(
                    field,
                    "contains characters that this field cannot carry, or a word too long for a line of 998 octets",
                );
            }
            _ => {}
        }
    }

    fn attachment(&mut self, at: usize, attachment: &Attachment) {
        if let Some(name) = &attachment.filename {
            self.text(&format!("attachments[{at}].filename"), name, MAX_TEXT_OCTETS);
        }
        if let Some(content_type) = &attachment.content_type {
            let field = format!("attachments[{at}].content_type");
            match parts::content_type(content_type) {
                None => self.add(&field, "must be type/subtype, with parameters or without"),
                Some(parsed) if parsed.c_type.starts_with("multipart/") || parsed.c_type.starts_with("message/") => {
                    self.add(
                        &field,
                        "multipart and message types cannot be attached; use application/octet-stream",
                    );
                }
                Some(_) => {}
            }
        }
        if let Some(id) = &attachment.content_id
            && !is_content_id(parts::bare_content_id(id))
        {
            self.add(
                &format!("attachments[{at}].content_id"),
                "must be 1 to 250 visible ASCII characters without angle brackets",
            );
        }
    }
}

fn ends_a_line(character: char) -> bool {
    (character.is_control() && character != '\t') || matches!(character, '\u{2028}' | '\u{2029}')
}

/// A line end or NUL that appears once a reader undoes percent-encoding or encoded words. Nobody has a use for one in a field, and
/// not every reader copes.
fn has_hidden_line_end(text: &str) -> bool {
    let percent = text
        .as_bytes()
        .windows(3)
        .any(|window| matches!(window, [b'%', b'0', b'0' | b'a' | b'A' | b'd' | b'D']));
    percent || (text.contains("=?") && decode_raw(text.as_bytes()).chars().any(ends_a_line))
}

/// RFC 5322 §3.6.8 `ftext`, and short enough to leave room on its line.
fn is_field_name(name: &str) -> bool {
    (1..=76).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

fn is_message_id(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) else {
        return false;
    };
    inside.len() <= 250
        && inside.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'))
        && inside
            .split_once('@')
            .is_some_and(|(left, right)| !left.is_empty() && !right.is_empty())
}

fn is_content_id(text: &str) -> bool {
    (1..=250).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'))
}
