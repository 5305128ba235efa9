//! Edits that leave every other byte alone, so that signatures over the rest stay valid.

use std::borrow::Cow;

use super::scan::Headers;

/// The message without the fields of those names, whatever their case. Borrowed when none is there.
#[must_use]
pub fn remove<'a>(raw: &'a [u8], names: &[&str]) -> Cow<'a, [u8]> {
    let headers = Headers::scan(raw);
    let doomed = |field: &super::Field<'_>| names.iter().any(|name| field.is(name));
    if !headers.iter().any(|field| doomed(&field)) {
        return Cow::Borrowed(raw);
    }
    let mut kept = Vec::with_capacity(raw.len());
    for field in headers.iter().filter(|field| !doomed(field)) {
        kept.extend_from_slice(field.raw);
    }
    kept.extend_from_slice(&raw[headers.as_bytes().len()..]);
    Cow::Owned(kept)
}

/// The message with finished fields (each ending in CRLF) before its own.
#[must_use]
pub fn prepend(fields: &[u8], raw: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(fields.len() + raw.len());
    message.extend_from_slice(fields);
    message.extend_from_slice(raw);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_takes_whole_folded_fields_and_nothing_else() {
        let raw = b"Bcc: x@y,\r\n z@y\r\nFrom: a@b\r\nBCC: q@y\r\n\r\nBcc: body\r\n";
        assert_eq!(&*remove(raw, &["bcc"]), b"From: a@b\r\n\r\nBcc: body\r\n");
        assert!(matches!(remove(raw, &["subject"]), Cow::Borrowed(_)));
        assert_eq!(&*remove(b"Bcc: x", &["bcc"]), b"");
    }

    #[test]
    fn prepending_puts_the_fields_first() {
        assert_eq!(prepend(b"Received: x\r\n", b"A: 1\r\n\r\n"), b"Received: x\r\nA: 1\r\n\r\n");
    }
}
