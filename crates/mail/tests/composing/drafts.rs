//! A plain draft to vary, and what becomes of it.

use chrono::DateTime;
use mail::compose::{Attachment, Draft, Mailbox, compose};
use mail_parser::{MessageParser, MimeHeaders};

pub(crate) fn mailbox(text: &str) -> Mailbox {
    #[expect(clippy::unwrap_used, reason = "the tests pass mailboxes that parse")]
    Mailbox::parse(text).unwrap()
}

pub(crate) fn draft() -> Draft {
    Draft {
        from: mailbox("Anna <anna@example.org>"),
        to: vec![mailbox("bert@example.net")],
        cc: Vec::new(),
        bcc: Vec::new(),
        reply_to: Vec::new(),
        subject: Some("Hello".to_owned()),
        html: None,
        text: Some("Hello, world".to_owned()),
        headers: Vec::new(),
        attachments: Vec::new(),
        message_id: "<1@example.org>".to_owned(),
        date: DateTime::from_timestamp(1_795_183_509, 0).unwrap_or_default(),
    }
}

pub(crate) fn field(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

pub(crate) fn named(name: &str) -> Attachment {
    Attachment {
        filename: Some(name.to_owned()),
        content: b"content".to_vec(),
        ..Attachment::default()
    }
}

pub(crate) fn faults(draft: &Draft) -> Vec<String> {
    compose(draft)
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|fault| fault.field)
        .collect()
}

pub(crate) fn structure(draft: &Draft) -> Vec<String> {
    #[expect(clippy::unwrap_used, reason = "the tests pass drafts that are right")]
    let raw = compose(draft).unwrap();
    let message = MessageParser::new().parse(&raw);
    message
        .iter()
        .flat_map(|message| &message.parts)
        .filter_map(|part| part.content_type())
        .map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("-")))
        .collect()
}
