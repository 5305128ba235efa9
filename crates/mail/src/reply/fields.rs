//! Header fields, cleaned one by one.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};

use super::replace::Replacements;
use crate::header::{Field, Headers, authors, chunks, decode, unfold};
use crate::trace::date;

/// Ids that are carried on; a thread has fewer, and RFC 5322 lets one cut the list.
const MAX_IDS: usize = 200;
/// Octets of one id, so that it fits into a line.
const MAX_ID: usize = 900;

/// When the message was written, the zone (which tells where) left out.
pub(super) fn moment(value: &[u8]) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(&unfold(value)).ok().map(|at| at.with_timezone(&Utc))
}

/// The ids in References or In-Reply-To that show nothing private, each on its own line. `None` when none is left.
pub(super) fn ids(value: &[u8], replacements: &Replacements) -> Option<String> {
    let text = unfold(value);
    let kept: Vec<&str> = text
        .split('<')
        .skip(1)
        .filter_map(|id| id.split_once('>').map(|(id, _)| id))
        .filter(|id| {
            id.len() <= MAX_ID && !id.is_empty() && !id.contains(|character: char| character.is_whitespace() || character.is_control())
        })
        .filter(|id| matches!(replacements.text(id), Cow::Borrowed(_)))
        .collect();
    // The first is the thread's, the last are the nearest.
    let skipped = kept.len().saturating_sub(MAX_IDS);
    let ids: Vec<String> = kept
        .iter()
        .enumerate()
        .filter(|(at, _)| *at == 0 || *at > skipped)
        .map(|(_, id)| format!("<{id}>"))
        .collect();
    (!ids.is_empty()).then(|| ids.join("\r\n "))
}

/// A field of free text: as it stands where it shows nothing private, otherwise written anew.
pub(super) fn unstructured(field: &Field<'_>, replacements: &Replacements) -> Vec<u8> {
    match cleaned_text(field.value, replacements) {
        None => whole(field),
        Some(text) => {
            let name = String::from_utf8_lossy(field.name);
            format!("{name}: {}\r\n", encoded(&text)).into_bytes()
        }
    }
}

/// The field with its line end.
pub(super) fn whole(field: &Field<'_>) -> Vec<u8> {
    let mut raw = field.raw.to_vec();
    if !raw.ends_with(b"\n") {
        raw.extend_from_slice(b"\r\n");
    }
    raw
}

/// The decoded value with everything replaced; `None` when there was nothing, neither as it is written nor as it is read.
pub(super) fn cleaned_text(value: &[u8], replacements: &Replacements) -> Option<String> {
    let read = decode(value);
    // Something may show only in the encoded form; then what is read is written without that form.
    match (replacements.text(&read), replacements.text(&unfold(value))) {
        (Cow::Borrowed(_), Cow::Borrowed(_)) => None,
        (cleaned, _) => Some(cleaned.into_owned()),
    }
}

/// Free text as a field body: words as they are, folded, or encoded words (RFC 2047).
fn encoded(text: &str) -> String {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !text.contains("=?");
    if !plain || text.split(' ').any(|word| word.len() > 500) {
        let words: Vec<String> = chunks(text)
            .map(|chunk| format!("=?UTF-8?B?{}?=", STANDARD.encode(chunk)))
            .collect();
        return words.join("\r\n ");
    }
    let mut folded = String::with_capacity(text.len() + 16);
    let mut column = 16;
    for word in text.split_ascii_whitespace() {
        if column + 1 + word.len() > 76 && !folded.is_empty() {
            folded.push_str("\r\n ");
            column = 1;
        } else if !folded.is_empty() {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += word.len();
    }
    folded
}

const ADDRESSES: [&str; 5] = ["From", "To", "Cc", "Reply-To", "Sender"];
const TEXTS: [&str; 3] = ["Subject", "Importance", "Priority"];
const IDS: [&str; 3] = ["Message-ID", "In-Reply-To", "References"];

/// The header of a message that is attached or quoted, without its `Content-*` fields: who wrote it to whom, what, when. All that tells
/// through whose hands it went is dropped.
pub(super) fn attached(headers: &Headers<'_>, replacements: &Replacements) -> Vec<u8> {
    let mut kept = Vec::new();
    for field in headers.iter() {
        let named = |names: &[&str]| names.iter().any(|name| field.is(name));
        if named(&ADDRESSES) {
            kept.extend(addresses(&field, replacements));
        } else if named(&TEXTS) {
            kept.extend(unstructured(&field, replacements));
        } else if named(&IDS)
            && let Some(ids) = ids(field.value, replacements)
        {
            kept.extend_from_slice(format!("{}: {ids}\r\n", String::from_utf8_lossy(field.name)).as_bytes());
        } else if field.is("Date")
            && let Some(at) = moment(field.value)
        {
            kept.extend_from_slice(format!("Date: {}\r\n", date(at)).as_bytes());
        } else if field.is("MIME-Version") {
            kept.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
    }
    kept
}

/// An address field; where something is to be replaced, without its display names, one of which is the private one.
fn addresses(field: &Field<'_>, replacements: &Replacements) -> Vec<u8> {
    if cleaned_text(field.value, replacements).is_none() {
        return whole(field);
    }
    let mut shown: Vec<String> = Vec::new();
    for address in authors(field.value).iter().take(MAX_IDS) {
        if let Some(address) = replacements.address(address) {
            let address = format!("<{address}>");
            if !shown.contains(&address) {
                shown.push(address);
            }
        }
    }
    if shown.is_empty() {
        return Vec::new();
    }
    format!("{}: {}\r\n", String::from_utf8_lossy(field.name), shown.join(",\r\n ")).into_bytes()
}
