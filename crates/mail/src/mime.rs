//! As much of MIME as reading reports needs: the leaf parts of a message and their decoded text.
//!
//! Bounded in depth and number of parts. A part of type `message/*` is a leaf: what is attached does not speak for the
//! message that carries it.

use std::borrow::Cow;

use base64::Engine as _;
use memchr::memmem;

use crate::header::{FORGIVING_BASE64, Headers, to_text, unfold};

const MAX_DEPTH: usize = 8;
const MAX_PARTS: usize = 64;

/// One part that is not a multipart.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// `type/subtype` in lower case; `text/plain` when not said.
    pub(crate) content_type: String,
    charset: Option<String>,
    encoding: String,
    /// The body as it stands, still encoded.
    pub(crate) body: &'a [u8],
}

impl<'a> Part<'a> {
    /// The body's octets, base64 and quoted-printable undone.
    pub(crate) fn octets(&self) -> Cow<'a, [u8]> {
        match self.encoding.as_str() {
            "base64" => {
                let compact: Vec<u8> = self
                    .body
                    .iter()
                    .copied()
                    .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
                    .collect();
                FORGIVING_BASE64.decode(&compact).map_or(Cow::Borrowed(self.body), Cow::Owned)
            }
            "quoted-printable" => Cow::Owned(unquote_printable(self.body)),
            _ => Cow::Borrowed(self.body),
        }
    }

    /// The body as text with LF line ends.
    pub(crate) fn text(&self) -> String {
        to_text(self.charset.as_deref().unwrap_or("utf-8"), &self.octets()).replace("\r\n", "\n")
    }
}

/// The leaf parts of a message, in order.
pub(crate) fn leaves(raw: &[u8]) -> Vec<Part<'_>> {
    let mut found = Vec::new();
    walk(raw, 0, &mut found);
    found
}

fn walk<'a>(raw: &'a [u8], depth: usize, found: &mut Vec<Part<'a>>) {
    if found.len() >= MAX_PARTS {
        return;
    }
    let headers = Headers::scan(raw);
    let body = &raw[headers.body_offset()..];
    let declared = headers.first("Content-Type").map(|field| unfold(field.value)).unwrap_or_default();
    let (content_type, parameters) = declared.split_once(';').unwrap_or((&declared, ""));
    let content_type = content_type.trim().to_ascii_lowercase();
    if depth < MAX_DEPTH
        && content_type.starts_with("multipart/")
        && let Some(boundary) = parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty())
    {
        for part in split(body, &boundary) {
            walk(part, depth + 1, found);
        }
        return;
    }
    let encoding = headers
        .first("Content-Transfer-Encoding")
        .map(|field| unfold(field.value).to_ascii_lowercase())
        .unwrap_or_default();
    found.push(Part {
        content_type: if content_type.contains('/') {
            content_type
        } else {
            "text/plain".to_owned()
        },
        charset: parameter(parameters, "charset"),
        encoding,
        body,
    });
}

/// The value of a parameter, unquoted.
pub(crate) fn parameter(text: &str, wanted: &str) -> Option<String> {
    parameters(text)
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value)
}

/// All parameters as they are written: names with their RFC 2231 marks, values unquoted.
pub(crate) fn parameters(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut value = String::new();
                let mut characters = quoted.char_indices();
                let mut end = quoted.len();
                while let Some((at, character)) = characters.next() {
                    match character {
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        '\\' => value.extend(characters.next().map(|(_, quoted)| quoted)),
                        other => value.push(other),
                    }
                }
                (value, &quoted[end..])
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        rest = next;
        let name = name
            .trim_start_matches(|character: char| character == ';' || character.is_whitespace())
            .trim_end();
        Some((name, value))
    })
}

/// The parts between boundary lines. A missing closing boundary ends the last part at the end of the body.
fn split<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
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
        // A longer boundary that begins with this one is not this one.
        if !(rest.is_empty() || rest == b"--") {
            continue;
        }
        if let Some(start) = start.take() {
            parts.push(without_line_end(&body[start..at]));
        }
        if rest == b"--" || parts.len() >= MAX_PARTS {
            return parts;
        }
        start = Some(at + delimiter.len() + line_end);
    }
    if let Some(start) = start {
        parts.push(&body[start.min(body.len())..]);
    }
    parts
}

/// The line end before a boundary belongs to the boundary (RFC 2046 §5.1.1).
pub(crate) fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

pub(crate) fn unquote_printable(body: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut octets = Vec::with_capacity(body.len());
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        at += 1;
        if byte != b'=' {
            octets.push(byte);
        } else if let (Some(high), Some(low)) = (digit(body.get(at)), digit(body.get(at + 1))) {
            // Two hexadecimal digits make at most 255.
            octets.push((high * 16 + low) as u8);
            at += 2;
        } else if body[at..].starts_with(b"\r\n") {
            at += 2;
        } else if body[at..].starts_with(b"\n") {
            at += 1;
        } else {
            octets.push(b'=');
        }
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_come_in_order_from_nested_multiparts_and_attached_messages_stay_whole() {
        let raw = b"Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"a\"\r\n\r\npreamble\r\n--a\r\n\
            Content-Type: multipart/alternative; boundary=ab\r\n\r\n--ab\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\n=FCber =\r\nalles\r\n--ab--\r\n--a\r\nContent-Type: message/rfc822\r\n\r\n\
            Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--a\r\nContent-Transfer-Encoding: base64\r\n\r\naGVs\r\nbG8\r\n";
        let parts = leaves(raw);
        assert_eq!(
            parts.iter().map(|part| part.content_type.as_str()).collect::<Vec<_>>(),
            ["text/plain", "message/rfc822", "text/plain"]
        );
        assert_eq!(parts[0].text(), "über alles");
        assert_eq!(parts[2].text(), "hello");
    }

    #[test]
    fn nesting_is_followed_only_so_far() {
        let mut raw = String::new();
        for level in 0..1000 {
            raw.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}x\r\n\r\n--b{level}x\r\n"));
        }
        assert_eq!(leaves(raw.as_bytes()).len(), 1);
        let many = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\n".repeat(5000));
        assert!(leaves(many.as_bytes()).len() <= MAX_PARTS + 1);
    }
}
