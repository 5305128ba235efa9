//! Texts as they stand in a message: out of their transfer encoding and charset, and back again.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::replace::Replacements;
use crate::content::MAX_LINE_OCTETS;
use crate::header::{FORGIVING_BASE64, known_charset};
use crate::mime::unquote_printable;
use crate::quote::quoted_printable;

/// How a body travels (RFC 2045 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// 7bit, 8bit, binary, something unknown, or nothing said.
    Plain,
    Base64,
    QuotedPrintable,
}

impl Encoding {
    /// Reads the field's value, with whatever follows its first word.
    pub(super) fn of(value: &str) -> Self {
        let word = value
            .trim_start()
            .split(|character: char| !(character.is_ascii_alphanumeric() || character == '-'))
            .next();
        match word.unwrap_or_default().to_ascii_lowercase().as_str() {
            "base64" => Self::Base64,
            "quoted-printable" => Self::QuotedPrintable,
            _ => Self::Plain,
        }
    }

    pub(super) fn undo(self, body: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Plain => Cow::Borrowed(body),
            Self::Base64 => Cow::Owned(unbase64(body)),
            Self::QuotedPrintable => Cow::Owned(unquote_printable(body)),
        }
    }

    pub(super) fn encode(self, octets: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Plain => octets,
            Self::Base64 => {
                let encoded = STANDARD.encode(octets);
                let lines: Vec<&[u8]> = encoded.as_bytes().chunks(76).collect();
                let mut body = lines.join(&b"\r\n"[..]);
                body.extend_from_slice(b"\r\n");
                body
            }
            Self::QuotedPrintable => quoted_printable(&octets).into_bytes(),
        }
    }
}

/// Decodes piece by piece: padding may stand in the middle where two texts were joined, and a damaged end spoils no more than itself.
fn unbase64(body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(body.len() / 4 * 3);
    for piece in body.split(|byte| *byte == b'=') {
        let mut digits: Vec<u8> = piece
            .iter()
            .copied()
            .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
            .collect();
        if digits.len() % 4 == 1 {
            digits.pop();
        }
        octets.extend(FORGIVING_BASE64.decode(&digits).unwrap_or_default());
    }
    octets
}

/// A text body that had to change, and what its fields must say now.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) body: Vec<u8>,
    /// It is UTF-8 now.
    pub(super) to_utf8: bool,
    /// It is quoted-printable now.
    pub(super) to_quoted_printable: bool,
}

/// The body with everything replaced; `None` when there was nothing. `folded`: lines go on where the next begins with a blank, as in
/// calendars and contacts (RFC 5545 §3.1).
pub(super) fn clean(body: &[u8], encoding: Encoding, charset: Option<&str>, folded: bool, replacements: &Replacements) -> Option<Changed> {
    let octets = encoding.undo(body);
    let (octets, to_utf8) = match clean_octets(&octets, charset, folded, replacements) {
        Some(changed) => changed,
        // What is called base64 and is none may be shown as it stands.
        None if encoding == Encoding::Base64 => {
            let octets = clean_lossless(body, folded, replacements)?;
            return Some(Changed {
                body: octets,
                to_utf8: false,
                to_quoted_printable: false,
            });
        }
        None => return None,
    };
    let unfit = encoding == Encoding::Plain
        && ((body.is_ascii() && !octets.is_ascii()) || (longest_line(&octets) > MAX_LINE_OCTETS && longest_line(body) <= MAX_LINE_OCTETS));
    let encoding = if unfit { Encoding::QuotedPrintable } else { encoding };
    Some(Changed {
        to_utf8: to_utf8 || !octets.is_ascii() && charset.is_none_or(|charset| charset.eq_ignore_ascii_case("us-ascii")),
        body: encoding.encode(octets),
        to_quoted_printable: unfit,
    })
}

/// The octets with everything replaced, and whether they are UTF-8 now though they were not.
fn clean_octets(octets: &[u8], charset: Option<&str>, folded: bool, replacements: &Replacements) -> Option<(Vec<u8>, bool)> {
    let unicode = ["utf-8", "utf8", "us-ascii"];
    let other = charset.filter(|charset| !unicode.iter().any(|name| charset.eq_ignore_ascii_case(name)));
    if let Some(text) = other.and_then(|charset| known_charset(charset, octets))
        && let Some(cleaned) = clean_text(&text, folded, replacements)
    {
        return Some((cleaned.into_bytes(), true));
    }
    // The charset may be wrong, and readers guess.
    clean_lossless(octets, folded, replacements).map(|cleaned| (cleaned, false))
}

fn clean_lossless(octets: &[u8], folded: bool, replacements: &Replacements) -> Option<Vec<u8>> {
    match std::str::from_utf8(octets) {
        Ok(text) => clean_text(text, folded, replacements).map(String::into_bytes),
        Err(_) => clean_text(&read_lossless(octets), folded, replacements).map(|text| write_lossless(&text)),
    }
}

fn clean_text(text: &str, folded: bool, replacements: &Replacements) -> Option<String> {
    if !folded {
        return match replacements.text(text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(cleaned) => Some(cleaned),
        };
    }
    match replacements.text(&unfolded(text)) {
        Cow::Borrowed(_) => None,
        Cow::Owned(cleaned) => Some(fold(&cleaned)),
    }
}

fn unfolded(text: &str) -> String {
    ["\r\n ", "\r\n\t", "\n ", "\n\t"]
        .iter()
        .fold(text.to_owned(), |text, fold| text.replace(fold, ""))
}

/// Lines of at most 75 octets, cut between characters.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len() + text.len() / 32);
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while rest.trim_ascii_end().len() > 74 {
            let (head, tail) = rest.split_at(rest.floor_char_boundary(74));
            folded.push_str(head);
            folded.push_str("\r\n ");
            rest = tail;
        }
        folded.push_str(rest);
    }
    folded
}

/// Octets that are no UTF-8 stand as characters of the last private plane, which no text uses, so that they can be written back.
const LAST_PLANE: u32 = 0x10_ff00;

fn read_lossless(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() * 2);
    for chunk in octets.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(
            chunk
                .invalid()
                .iter()
                .filter_map(|octet| char::from_u32(LAST_PLANE + u32::from(*octet))),
        );
    }
    text
}

fn write_lossless(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u32::from(character).checked_sub(LAST_PLANE) {
            // The invalid octets are all above 127; at most 255 by the constant.
            Some(octet @ 0x80..=0xff) => octets.push(octet as u8),
            _ => octets.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    octets
}

fn longest_line(octets: &[u8]) -> usize {
    octets
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line).len())
        .max()
        .unwrap_or(0)
}
