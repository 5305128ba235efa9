//! Members that several requests share, read into what they mean; each fault is noted under its field.

use crate::FieldError;
use ipnet::IpNet;

const MOST_ENTRIES: usize = 100;

/// The streams a message may go in.
pub(crate) const STREAMS: [&str; 2] = ["transactional", "bulk"];

/// A name that people give something.
pub(crate) fn name(text: String, faults: &mut Vec<FieldError>) -> String {
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.chars().count() > 200 || trimmed.chars().any(char::is_control) {
        faults.push(FieldError::new(
            "name",
            "must be 1 to 200 characters, none of them a control character",
        ));
    }
    if trimmed.len() == text.len() { text } else { trimmed.to_owned() }
}

/// Networks in CIDR notation.
pub(crate) fn networks(texts: Option<Vec<String>>, faults: &mut Vec<FieldError>) -> Vec<IpNet> {
    entries("networks", texts, faults, auth::networks::parse)
}

/// Domain names.
pub(crate) fn domains(texts: Option<Vec<String>>, faults: &mut Vec<FieldError>) -> Vec<String> {
    entries("domains", texts, faults, |text| {
        mail::Domain::parse(text).map(|domain| domain.to_string())
    })
}

/// Senders: `address@domain` or `@domain`.
pub(crate) fn allowed_from(texts: Option<Vec<String>>, faults: &mut Vec<FieldError>) -> Vec<String> {
    entries("allowed_from", texts, faults, auth::allowed_from::parse)
}

/// A stream's name.
pub(crate) fn stream(text: Option<String>, faults: &mut Vec<FieldError>) -> Option<String> {
    if text.as_deref().is_some_and(|text| !STREAMS.contains(&text)) {
        faults.push(FieldError::new("stream", "must be transactional or bulk"));
    }
    text
}

fn entries<T, E: std::fmt::Display>(
    field: &str,
    texts: Option<Vec<String>>,
    faults: &mut Vec<FieldError>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let texts = texts.unwrap_or_default();
    if texts.len() > MOST_ENTRIES {
        faults.push(FieldError::new(field, format_args!("takes at most {MOST_ENTRIES} entries")));
        return Vec::new();
    }
    let mut values = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match read(text) {
            Ok(value) => values.push(value),
            Err(error) => faults.push(FieldError::new(format!("{field}[{index}]"), error)),
        }
    }
    values
}
