//! A message as JSON, for endpoints: what a program wants to know of it without reading MIME.

use crate::job::Job;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail::header::Headers;
use mail_parser::{MessageParser, MimeHeaders as _};
use serde_json::{Value, json};

/// The body of the call. A message whose MIME cannot be read has its header and no parts; the raw one is at `/messages/{id}/content`.
pub(super) fn of(job: &Job, raw: &[u8]) -> Vec<u8> {
    let head = job.head();
    let parsed = MessageParser::default().parse(raw);
    let (text, html, attachments) = parsed.as_ref().map(parts).unwrap_or_default();
    let fields: Vec<Value> = Headers::scan(raw)
        .iter()
        .map(|field| json!({ "name": String::from_utf8_lossy(field.name), "value": field.text() }))
        .collect();
    let text_of = |name: &str| Headers::scan(raw).first(name).map(|field| field.text());
    let body = json!({
        "type": "message.received",
        "timestamp": head.created_at,
        "data": {
            "message": head.message,
            "recipient": head.original_recipient,
            "envelope_sender": head.envelope_sender,
            "from": text_of("From"),
            "to": text_of("To"),
            "subject": text_of("Subject"),
            "message_id": text_of("Message-ID"),
            "date": text_of("Date"),
            "size_bytes": head.size_bytes,
            "headers": fields,
            "text": text,
            "html": html,
            "attachments": attachments,
        },
    });
    body.to_string().into_bytes()
}

fn parts(message: &mail_parser::Message<'_>) -> (Option<String>, Option<String>, Vec<Value>) {
    let attachments = message
        .attachments()
        .map(|part| {
            json!({
                "filename": part.attachment_name(),
                "content_type": part.content_type().map(|kind| match kind.subtype() {
                    Some(subtype) => format!("{}/{subtype}", kind.ctype()),
                    None => kind.ctype().to_owned(),
                }),
                "content_id": part.content_id(),
                "size_bytes": part.contents().len(),
                "content": STANDARD.encode(part.contents()),
            })
        })
        .collect();
    (
        message.body_text(0).map(Into::into),
        message.body_html(0).map(Into::into),
        attachments,
    )
}
