//! From the JSON of a send to a message ready for the intake. Every fault of the request is found at once.

use crate::{ApiError, FieldError, resources::names};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use mail::{
    Envelope, Host, Recipient,
    compose::{self, Draft, Mailbox},
};
use serde::Deserialize;
use std::collections::BTreeMap;
use store::models::RecipientKind;
use utoipa::ToSchema;
use uuid::Uuid;

/// Recipients of one message at most.
pub(super) const MOST_RECIPIENTS: usize = 1000;
const MOST_TAGS: usize = 20;
const LONGEST_TAG: usize = 64;
const LARGEST_METADATA: usize = 16 * 1024;
/// A slip of the year is caught; a message that shall wait for somebody's word may wait.
const FARTHEST_SCHEDULE: TimeDelta = TimeDelta::days(36_525);
const LONGEST_LIFE: TimeDelta = TimeDelta::days(30);

/// One address or several, each as `ann@example.org` or `Ann <ann@example.org>`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Addresses {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Addresses {
    fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// A message to send.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    /// The author, in a verified domain of yours.
    #[schema(example = "App <app@example.org>")]
    from: String,
    /// Recipients who are shown.
    to: Addresses,
    /// Recipients of copies who are shown.
    cc: Option<Addresses>,
    /// Recipients who are not shown.
    bcc: Option<Addresses>,
    /// Where replies go.
    reply_to: Option<Addresses>,
    /// The subject.
    subject: Option<String>,
    /// The body as HTML.
    html: Option<String>,
    /// The body as plain text.
    text: Option<String>,
    /// Further header fields.
    headers: Option<BTreeMap<String, String>>,
    /// Files.
    attachments: Option<Vec<Attachment>>,
    /// Labels for finding it again, at most 20.
    tags: Option<Vec<String>>,
    /// Your own data, a JSON object of at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// `transactional` (unless given) or `bulk`.
    stream: Option<String>,
    /// Not before then, at most 100 years ahead.
    scheduled_at: Option<DateTime<Utc>>,
    /// Given up after then, at most 30 days later.
    expires_at: Option<DateTime<Utc>>,
}

/// A file.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Attachment {
    /// Its name.
    filename: Option<String>,
    /// Its octets, in base64.
    content: String,
    /// Its media type; `application/octet-stream` unless given.
    content_type: Option<String>,
    /// The id by which the HTML refers to it (`cid:`).
    content_id: Option<String>,
}

/// What a send says besides the message itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) tags: Option<Vec<String>>,
    pub(super) metadata: Option<serde_json::Map<String, serde_json::Value>>,
    pub(super) stream: Option<String>,
    pub(super) scheduled_at: Option<DateTime<Utc>>,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// A message ready for the intake.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) envelope: Envelope,
    pub(super) kinds: Vec<RecipientKind>,
    pub(super) raw: Bytes,
    pub(super) options: Options,
}

impl NewMessage {
    /// Reads and composes it.
    ///
    /// # Errors
    /// 422 with every fault.
    pub(super) fn ready(self, hostname: &str, now: DateTime<Utc>) -> Result<Ready, ApiError> {
        let mut faults = Vec::new();
        let from = Mailbox::parse(&self.from)
            .map_err(|error| faults.push(FieldError::new("from", error)))
            .ok();
        let to = mailboxes("to", Some(&self.to), &mut faults);
        let cc = mailboxes("cc", self.cc.as_ref(), &mut faults);
        let bcc = mailboxes("bcc", self.bcc.as_ref(), &mut faults);
        let reply_to = mailboxes("reply_to", self.reply_to.as_ref(), &mut faults);
        if self.to.texts().is_empty() {
            faults.push(FieldError::new("to", "give at least one recipient"));
        }
        let attachments = attachments(self.attachments.unwrap_or_default(), &mut faults);
        let options = Options {
            tags: self.tags,
            metadata: self.metadata,
            stream: self.stream,
            scheduled_at: self.scheduled_at,
            expires_at: self.expires_at,
        }
        .read(now, &mut faults);
        let Some(from) = from else { return Err(ApiError::invalid(faults)) };
        let named = [(RecipientKind::To, &to), (RecipientKind::Cc, &cc), (RecipientKind::Bcc, &bcc)];
        let (kinds, recipients) = named
            .iter()
            .flat_map(|(kind, mailboxes)| mailboxes.iter().map(|mailbox| (*kind, Recipient::new(mailbox.address.clone()))))
            .unzip();
        let envelope = Envelope::new(from.address.clone().into(), recipients);
        let draft = Draft {
            message_id: message_id(&from, hostname),
            from,
            to,
            cc,
            bcc,
            reply_to,
            subject: self.subject,
            html: self.html,
            text: self.text,
            headers: self.headers.unwrap_or_default().into_iter().collect(),
            attachments,
            date: now,
        };
        let raw = compose::compose(&draft).unwrap_or_else(|errors| {
            faults.extend(errors.into_iter().map(|error| FieldError::new(error.field, error.message)));
            Vec::new()
        });
        if !faults.is_empty() {
            return Err(ApiError::invalid(faults));
        }
        Ok(Ready {
            envelope,
            kinds,
            raw: raw.into(),
            options,
        })
    }
}

/// In the author's domain: an id in another one looks forged to some filters.
fn message_id(from: &Mailbox, hostname: &str) -> String {
    let right = match from.address.host() {
        Host::Domain(domain) => domain.as_str(),
        Host::Literal(_) => hostname,
    };
    format!("<{}@{right}>", Uuid::now_v7().simple())
}

pub(super) fn mailboxes(field: &str, addresses: Option<&Addresses>, faults: &mut Vec<FieldError>) -> Vec<Mailbox> {
    let Some(addresses) = addresses else { return Vec::new() };
    let texts = addresses.texts();
    if texts.len() > MOST_RECIPIENTS {
        faults.push(FieldError::new(field, format_args!("takes at most {MOST_RECIPIENTS} addresses")));
        return Vec::new();
    }
    let mut mailboxes = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match Mailbox::parse(text) {
            Ok(mailbox) => mailboxes.push(mailbox),
            Err(error) => faults.push(FieldError::new(place(addresses, field, index), error)),
        }
    }
    mailboxes
}

fn place(addresses: &Addresses, field: &str, index: usize) -> String {
    match addresses {
        Addresses::One(_) => field.to_owned(),
        Addresses::Many(_) => format!("{field}[{index}]"),
    }
}

fn attachments(attachments: Vec<Attachment>, faults: &mut Vec<FieldError>) -> Vec<compose::Attachment> {
    let mut read = Vec::with_capacity(attachments.len().min(compose::MAX_ATTACHMENTS));
    for (index, attachment) in attachments.into_iter().enumerate() {
        match decode(&attachment.content) {
            Ok(content) => read.push(compose::Attachment {
                filename: attachment.filename,
                content,
                content_type: attachment.content_type,
                content_id: attachment.content_id,
            }),
            Err(message) => faults.push(FieldError::new(format!("attachments[{index}].content"), message)),
        }
    }
    read
}

/// Strict base64; line breaks, as `base64` and MIME encoders put them in, are let through.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    let message = "is not base64 (RFC 4648 section 4)";
    if !text.contains(['\r', '\n']) {
        return BASE64_STANDARD.decode(text).map_err(|_| message);
    }
    let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    BASE64_STANDARD.decode(joined).map_err(|_| message)
}

impl Options {
    /// Checks them; what is faulty is noted.
    pub(super) fn read(self, now: DateTime<Utc>, faults: &mut Vec<FieldError>) -> Self {
        check_tags(self.tags.as_deref().unwrap_or_default(), faults);
        if let Some(metadata) = &self.metadata
            && serde_json::to_vec(metadata).is_ok_and(|text| text.len() > LARGEST_METADATA)
        {
            faults.push(FieldError::new("metadata", format_args!("takes at most {LARGEST_METADATA} octets")));
        }
        let stream = names::stream(self.stream, faults);
        check_schedule(self.scheduled_at, now, faults);
        let start = self.scheduled_at.map_or(now, |at| at.max(now));
        if let Some(expires_at) = self.expires_at
            && (expires_at <= start || expires_at > start + LONGEST_LIFE)
        {
            faults.push(FieldError::new(
                "expires_at",
                "must be after the message is due, at most 30 days later",
            ));
        }
        Self { stream, ..self }
    }
}

/// Whether a message may be scheduled for then.
pub(super) fn check_schedule(at: Option<DateTime<Utc>>, now: DateTime<Utc>, faults: &mut Vec<FieldError>) {
    if at.is_some_and(|at| at > now + FARTHEST_SCHEDULE) {
        faults.push(FieldError::new("scheduled_at", "must be at most 100 years ahead"));
    }
}

fn check_tags(tags: &[String], faults: &mut Vec<FieldError>) {
    if tags.len() > MOST_TAGS {
        faults.push(FieldError::new("tags", format_args!("takes at most {MOST_TAGS}")));
    }
    for (index, tag) in tags.iter().enumerate().take(MOST_TAGS) {
        if tag.is_empty() || tag.chars().count() > LONGEST_TAG || tag.chars().any(char::is_control) {
            faults.push(FieldError::new(
                format!("tags[{index}]"),
                format_args!("must be 1 to {LONGEST_TAG} characters, none of them a control character"),
            ));
        }
    }
}
