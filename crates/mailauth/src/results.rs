//! `Authentication-Results` (RFC 8601): writing ours, and removing what only pretends to be ours.

use crate::verify::Verdicts;
use mail::{
    Domain, ReversePath,
    header::{Field, Headers},
};
use std::{borrow::Cow, fmt::Write as _};

/// The field that tells the verdicts, folded, with its CRLF. `hostname` is the name under which we vouch for them.
#[must_use]
pub fn authentication_results(hostname: &str, verdicts: &Verdicts, mail_from: &ReversePath, helo: &str) -> String {
    let mut field = format!("Authentication-Results: {};\r\n\t", value(hostname));
    let spf = &verdicts.spf;
    let _ = write!(field, "spf={}", spf.result); // writing to a String does not fail
    match mail_from.address() {
        // A local part beyond ASCII could not travel in every header.
        Some(address) if address.is_ascii() => {
            let _ = write!(field, " smtp.mailfrom={}", value(&address.to_string()));
        }
        Some(address) => {
            let _ = write!(field, " smtp.mailfrom={}", value(&address.host().to_string()));
        }
        None if !helo.is_empty() => {
            let _ = write!(field, " smtp.helo={}", value(helo));
        }
        None => {}
    }
    if verdicts.dkim.is_empty() {
        field.push_str(";\r\n\tdkim=none");
    }
    for signature in &verdicts.dkim {
        let _ = write!(field, ";\r\n\tdkim={}", signature.result);
        if let Some(reason) = &signature.reason {
            let _ = write!(field, " reason={}", quoted(reason));
        }
        for (property, text) in [("d", &signature.domain), ("s", &signature.selector), ("a", &signature.algorithm)] {
            if !text.is_empty() {
                let _ = write!(field, " header.{property}={}", value(text));
            }
        }
    }
    let dmarc = &verdicts.dmarc;
    let _ = write!(field, ";\r\n\tdmarc={} (p={})", dmarc.result, dmarc.policy);
    if !dmarc.domain.is_empty() {
        let _ = write!(field, " header.from={}", value(&dmarc.domain));
    }
    field.push_str("\r\n");
    field
}

/// A `pvalue`: as it is where it is an address or token, quoted otherwise; without what could end the field.
fn value(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-._`{|}~@".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(quoted(text))
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars().take(320) {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

/// The message without the `Authentication-Results` fields that claim to be ours (RFC 8601 §5). Every other octet stays; borrowed when there
/// is nothing to remove.
#[must_use]
pub fn remove_forged<'a>(raw: &'a [u8], hostname: &str) -> Cow<'a, [u8]> {
    let ours = normal(hostname);
    let is_forged =
        |field: &Field<'_>| field.is("Authentication-Results") && service(field.value).is_none_or(|service| normal(&service) == ours);
    let headers = Headers::scan(raw);
    if !headers.iter().any(|field| is_forged(&field)) {
        return Cow::Borrowed(raw);
    }
    let mut kept = Vec::with_capacity(raw.len());
    for field in headers.iter().filter(|field| !is_forged(field)) {
        kept.extend_from_slice(field.raw);
    }
    kept.extend_from_slice(&raw[headers.as_bytes().len()..]);
    Cow::Owned(kept)
}

fn normal(name: &str) -> String {
    let name = name.trim_end_matches('.');
    Domain::parse(name).map_or_else(|_| name.to_lowercase(), |domain| domain.as_str().to_owned())
}

/// The `authserv-id`: the first word after comments and folds, quoted or not; `None` when it cannot be made out.
fn service(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    let mut characters = text.chars().peekable();
    let mut depth = 0_usize;
    let mut word = String::new();
    while let Some(character) = characters.next() {
        match character {
            '\\' if depth > 0 => {
                characters.next();
            }
            '(' => {
                if !word.is_empty() {
                    break;
                }
                depth += 1;
            }
            ')' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            '"' if word.is_empty() => {
                while let Some(character) = characters.next() {
                    match character {
                        '"' => return Some(word),
                        '\\' => word.extend(characters.next()),
                        '\r' | '\n' => {}
                        character => word.push(character),
                    }
                }
                return None;
            }
            ';' => break,
            character if character.is_whitespace() => {
                if !word.is_empty() {
                    break;
                }
            }
            character => word.push(character),
        }
    }
    if depth > 0 || word.is_empty() { None } else { Some(word) }
}
