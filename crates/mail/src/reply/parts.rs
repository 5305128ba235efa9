//! The content of a message, part by part.
//!
//! Bounded in depth and number of parts; what lies beyond is left out rather than let through unseen. Each level looks at its octets
//! once.

use std::borrow::Cow;

use memchr::memmem;

use super::fields::{attached, cleaned_text, whole};
use super::parameters::Parameters;
use super::replace::{REMOVED, Replacements};
use super::text::{Encoding, clean};
use crate::header::{Field, Headers, unfold};
use crate::mime::without_line_end;

const MAX_DEPTH: usize = 20;
const MAX_PARTS: usize = 2000;
/// Types that are text though they are not called so: calendars carry the addresses of all who take part.
const TEXTUAL: [&str; 3] = ["application/ics", "application/vcard", "application/x-vcard"];
/// Types whose lines are folded.
const FOLDED: [&str; 4] = ["text/calendar", "text/vcard", "text/x-vcard", "text/directory"];
const HEADERS_ONLY: [&str; 3] = ["text/rfc822-headers", "message/rfc822-headers", "message/global-headers"];
const MESSAGES: [&str; 3] = ["message/rfc822", "message/global", "message/news"];

/// The `Content-*` fields of a message or part, and its body.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) fields: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// One way through a message.
pub(super) struct Walk<'a> {
    replacements: &'a Replacements,
    parts: usize,
}

/// What the fields must say other than they said.
#[derive(Default)]
struct Amended {
    boundary: Option<String>,
    to_utf8: bool,
    to_quoted_printable: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(replacements: &'a Replacements) -> Self {
        Self { replacements, parts: 0 }
    }

    /// The content of a message or part. `default`: its type when it does not say.
    pub(super) fn content(&mut self, raw: &[u8], default: &str, depth: usize) -> Content {
        self.parts += 1;
        if depth > MAX_DEPTH || self.parts > MAX_PARTS {
            return Content {
                fields: b"Content-Type: text/plain\r\n".to_vec(),
                body: format!("{REMOVED}\r\n").into_bytes(),
            };
        }
        let headers = Headers::scan(raw);
        let body = &raw[headers.body_offset()..];
        let declared = headers.first("Content-Type").map(|field| Parameters::read(field.value));
        let content_type = declared
            .as_ref()
            .map_or("", |declared| declared.value.as_str())
            .to_ascii_lowercase();
        let content_type = if content_type.contains('/') {
            content_type.as_str()
        } else {
            default
        };
        let encoding = headers
            .first("Content-Transfer-Encoding")
            .map_or(Encoding::Plain, |field| Encoding::of(&unfold(field.value)));
        let parameter = |name: &str| declared.as_ref().and_then(|declared| declared.get(name));

        let mut amended = Amended::default();
        let body = match content_type {
            "multipart/signed" | "multipart/encrypted" => Cow::Borrowed(body),
            _ if content_type.starts_with("multipart/") => {
                let boundary = parameter("boundary").unwrap_or_default();
                match split(body, boundary) {
                    Some(parts) => {
                        let default = if content_type == "multipart/digest" {
                            MESSAGES[0]
                        } else {
                            "text/plain"
                        };
                        Cow::Owned(self.multipart(&parts, boundary, default, depth, &mut amended))
                    }
                    None => self.text(body, encoding, None, false, &mut amended),
                }
            }
            _ if MESSAGES.contains(&content_type) => {
                let message = self.message(encoding.undo(body).as_ref(), depth);
                Cow::Owned(encoding.encode(message))
            }
            _ if HEADERS_ONLY.contains(&content_type) => {
                let quoted = encoding.undo(body);
                Cow::Owned(encoding.encode(attached(&Headers::scan(&quoted), self.replacements)))
            }
            _ if content_type.starts_with("text/") || content_type.starts_with("message/") || TEXTUAL.contains(&content_type) => {
                let folded = FOLDED.contains(&content_type) || TEXTUAL.contains(&content_type);
                self.text(body, encoding, parameter("charset"), folded, &mut amended)
            }
            _ => Cow::Borrowed(body),
        };
        Content {
            fields: self.fields(&headers, declared, content_type, &amended),
            body: body.into_owned(),
        }
    }

    fn text<'b>(&self, body: &'b [u8], encoding: Encoding, charset: Option<&str>, folded: bool, amended: &mut Amended) -> Cow<'b, [u8]> {
        match clean(body, encoding, charset, folded, self.replacements) {
            None => Cow::Borrowed(body),
            Some(changed) => {
                amended.to_utf8 = changed.to_utf8;
                amended.to_quoted_printable = changed.to_quoted_printable;
                Cow::Owned(changed.body)
            }
        }
    }

    /// An attached message: whatever it says of its way is dropped, the rest is cleaned as ours is.
    fn message(&mut self, raw: &[u8], depth: usize) -> Vec<u8> {
        let mut message = attached(&Headers::scan(raw), self.replacements);
        let content = self.content(raw, "text/plain", depth + 1);
        message.extend_from_slice(&content.fields);
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(&content.body);
        message
    }

    fn multipart(&mut self, parts: &[&[u8]], boundary: &str, default: &str, depth: usize, amended: &mut Amended) -> Vec<u8> {
        let parts: Vec<Content> = parts.iter().map(|part| self.content(part, default, depth + 1)).collect();
        let boundary = match self.replacements.text(boundary) {
            Cow::Borrowed(boundary) => boundary.to_owned(),
            // Some hosts put their name into boundaries.
            Cow::Owned(_) => {
                let own = unused_boundary(&parts);
                amended.boundary = Some(own.clone());
                own
            }
        };
        let mut body = Vec::new();
        for part in parts {
            body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            body.extend_from_slice(&part.fields);
            body.extend_from_slice(b"\r\n");
            body.extend_from_slice(&part.body);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        body
    }

    /// The `Content-*` fields, the first of each name.
    fn fields(&self, headers: &Headers<'_>, mut declared: Option<Parameters>, content_type: &str, amended: &Amended) -> Vec<u8> {
        let mut fields = Vec::new();
        let mut seen: Vec<&[u8]> = Vec::new();
        if amended.to_utf8 && declared.is_none() {
            declared = Some(Parameters::new(content_type));
        }
        if let Some(parameters) = &mut declared {
            if amended.to_utf8 {
                parameters.set("charset", "utf-8");
            }
            if let Some(boundary) = &amended.boundary {
                parameters.set("boundary", boundary);
            }
        }
        for field in headers.iter().filter(|field| is_content(field)) {
            if seen.iter().any(|name| name.eq_ignore_ascii_case(field.name)) || seen.len() >= 20 {
                continue;
            }
            seen.push(field.name);
            if field.is("Content-Type") {
                if let Some(parameters) = declared.take() {
                    fields.extend(parameters.write(&field, self.replacements));
                }
            } else if field.is("Content-Disposition") {
                fields.extend(Parameters::read(field.value).write(&field, self.replacements));
            } else if field.is("Content-ID") {
                fields.extend(self.content_id(&field));
            } else if field.is("Content-Transfer-Encoding") {
                if !amended.to_quoted_printable {
                    fields.extend(self.token(&field));
                }
            } else if cleaned_text(field.value, self.replacements).is_none() {
                fields.extend(whole(&field));
            }
        }
        if let Some(parameters) = declared.filter(|_| amended.to_utf8) {
            fields.extend_from_slice(parameters.rewritten("Content-Type", self.replacements).as_bytes());
        }
        if amended.to_quoted_printable {
            fields.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n");
        }
        fields
    }

    /// A field that is one word, or it is none of ours.
    fn token(&self, field: &Field<'_>) -> Vec<u8> {
        match cleaned_text(field.value, self.replacements) {
            None => whole(field),
            Some(_) => Vec::new(),
        }
    }

    fn content_id(&self, field: &Field<'_>) -> Vec<u8> {
        let written = unfold(field.value);
        let id = written.trim_start_matches('<').trim_end_matches('>');
        match self.replacements.content_id(id) {
            None => whole(field),
            Some(id) => format!("Content-ID: <{id}>\r\n").into_bytes(),
        }
    }
}

fn is_content(field: &Field<'_>) -> bool {
    field.name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"Content-"))
}

/// The parts between the boundary's lines; `None` when there is no such line. A missing last line ends the last part at the end.
fn split<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<&'a [u8]>> {
    if boundary.is_empty() {
        return None;
    }
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut start = None;
    for at in memmem::find_iter(body, delimiter.as_bytes()) {
        if at > 0 && body[at - 1] != b'\n' {
            continue;
        }
        let after = &body[at + delimiter.len()..];
        let line_end = memchr::memchr(b'\n', after).map_or(after.len(), |end| end + 1);
        let rest = after[..line_end].trim_ascii();
        let last = rest == b"--";
        if !(rest.is_empty() || last) {
            continue;
        }
        if let Some(start) = start.take() {
            parts.push(without_line_end(body.get(start..at).unwrap_or_default()));
        }
        start = Some(at + delimiter.len() + line_end);
        if last {
            return Some(parts);
        }
    }
    parts.push(body.get(start?..).unwrap_or_default());
    Some(parts)
}

/// A boundary that stands in none of the parts: longer by one than the longest that does.
fn unused_boundary(parts: &[Content]) -> String {
    const STEM: &[u8] = b"=_part";
    let mut longest = 0;
    for octets in parts.iter().flat_map(|part| [&part.fields, &part.body]) {
        for at in memmem::find_iter(octets, STEM) {
            let tail = octets[at + STEM.len()..].iter().take_while(|byte| **byte == b'_').count();
            longest = longest.max(tail + 1);
        }
    }
    // RFC 2046 §5.1.1 allows 70 characters; whoever fills a letter with more gets a boundary that some programs do not read.
    format!("=_part{}", "_".repeat(longest))
}
