//! Is anything attached to a message? One pass over its lines, nothing decoded, stopping at the first attachment.
//!
//! What counts is what a mail program offers to save (compare `hasAttachment`, RFC 8621 §4.1.4): every part that is said to be an
//! attachment or has a file's name, and every part that is not text. Not: pictures that the text shows, the signature of a signed
//! message, the machine's parts of a report. What is nested beyond all measure is taken for an attachment, because whoever asks
//! wants to be careful; a multipart whose boundary cannot be read is a text, as mail programs show it.

use mail::header::{Field, Headers};
use mail_parser::parsers::MessageStream;
use mail_parser::{ContentType, HeaderValue};
use memchr::memchr;

/// Multiparts inside one another that are followed.
const MAX_DEPTH: usize = 16;
/// Octets of a Content-Type or Content-Disposition value that are read.
const MAX_VALUE_OCTETS: usize = 4096;

/// A multipart whose end has not been seen.
struct Container {
    boundary: Vec<u8>,
    subtype: String,
}

/// A line that separates parts: of which container, and is it the last?
struct Delimiter {
    container: usize,
    closing: bool,
}

pub(crate) fn has_attachments(raw: &[u8]) -> bool {
    let mut open: Vec<Container> = Vec::new();
    let mut header_start = Some(0);
    let mut position = 0;
    while position < raw.len() {
        let end = memchr(b'\n', &raw[position..]).map_or(raw.len(), |length| position + length + 1);
        let line = raw[position..end].trim_ascii_end();
        if let Some(found) = delimiter(&open, line) {
            // A header that a boundary cuts off is the header of a part all the same.
            if header_start
                .take()
                .is_some_and(|start| is_attachment(&raw[start..position], &mut open))
            {
                return true;
            }
            open.truncate(found.container + usize::from(!found.closing));
            header_start = (!found.closing).then_some(end);
        } else if line.is_empty()
            && let Some(start) = header_start.take()
            && is_attachment(&raw[start..position], &mut open)
        {
            return true;
        }
        if header_start.is_none() && open.is_empty() {
            return false;
        }
        position = end;
    }
    header_start.is_some_and(|start| is_attachment(&raw[start..], &mut open))
}

fn delimiter(open: &[Container], line: &[u8]) -> Option<Delimiter> {
    let text = line.strip_prefix(b"--")?;
    // Innermost first: that an inner boundary begins as an outer one is not unusual, the reverse is an attack at most.
    open.iter().enumerate().rev().find_map(|(container, candidate)| {
        let rest = text.strip_prefix(candidate.boundary.as_slice())?;
        matches!(rest, b"" | b"--").then(|| Delimiter {
            container,
            closing: !rest.is_empty(),
        })
    })
}

/// Judges the header of a part; that of a multipart opens it.
fn is_attachment(header: &[u8], open: &mut Vec<Container>) -> bool {
    let headers = Headers::scan(header);
    let content_type = headers.first("Content-Type").and_then(|field| parameters(&field));
    let disposition = headers.first("Content-Disposition").and_then(|field| parameters(&field));
    if disposition.as_ref().is_some_and(ContentType::is_attachment) {
        return true;
    }
    let named = disposition
        .as_ref()
        .is_some_and(|disposition| disposition.has_attribute("filename"))
        || content_type.as_ref().is_some_and(|content_type| content_type.has_attribute("name"));
    let (kind, subtype) = content_type.as_ref().map_or_else(
        || ("text".to_owned(), "plain".to_owned()),
        |declared| {
            (
                declared.ctype().to_ascii_lowercase(),
                declared.subtype().unwrap_or_default().to_ascii_lowercase(),
            )
        },
    );
    let parent = open.last().map_or("", |container| container.subtype.as_str());
    match (kind.as_str(), subtype.as_str()) {
        // Not `type/subtype` at all: read as text (RFC 2045 §5.2).
        ("text", _) | (_, "") => named,
        ("multipart", _) => {
            let boundary = content_type.as_ref().and_then(|declared| declared.attribute("boundary"));
            let Some(boundary) = boundary
                .map(|boundary| boundary.trim_end().as_bytes().to_vec())
                .filter(|boundary| !boundary.is_empty())
            else {
                return false;
            };
            if open.len() >= MAX_DEPTH {
                return true;
            }
            open.push(Container { boundary, subtype });
            false
        }
        ("image", _) => !(parent == "related" || headers.first("Content-ID").is_some()),
        ("application", "pgp-signature" | "pkcs7-signature" | "x-pkcs7-signature") => parent != "signed",
        ("message", _) => parent != "report",
        _ => true,
    }
}

/// The value with its parameters, also those in the forms of RFC 2231.
fn parameters(field: &Field<'_>) -> Option<ContentType<'static>> {
    let mut value = field.value[..field.value.len().min(MAX_VALUE_OCTETS)].to_vec();
    value.extend_from_slice(b"\r\n");
    match MessageStream::new(&value).parse_content_type().into_owned() {
        HeaderValue::ContentType(parsed) => Some(parsed),
        _ => None,
    }
}
