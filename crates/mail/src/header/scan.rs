//! The header section as a sequence of borrowed fields.

use memchr::{memchr, memchr_iter};

/// The header section of a message, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    section: &'a [u8],
    body_offset: usize,
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written, without blanks before the colon; empty when the line has no colon.
    pub name: &'a [u8],
    /// The whole field with its folds and its line end.
    pub raw: &'a [u8],
    /// What follows the colon, folds included, the last line end not.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Is this the field's name, whatever the case?
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value as a person reads it: unfolded, RFC 2047 words decoded, controls replaced.
    #[must_use]
    pub fn text(&self) -> String {
        super::decode(self.value)
    }
}

impl<'a> Headers<'a> {
    /// Finds the header section of a raw message. A message without an empty line is all header.
    #[must_use]
    pub fn scan(raw: &'a [u8]) -> Self {
        let mut line = 0;
        for end in memchr_iter(b'\n', raw) {
            if matches!(&raw[line..end], [] | [b'\r']) {
                return Self {
                    section: &raw[..line],
                    body_offset: end + 1,
                };
            }
            line = end + 1;
        }
        Self {
            section: raw,
            body_offset: raw.len(),
        }
    }

    /// The fields in order.
    #[must_use]
    pub fn iter(&self) -> Fields<'a> {
        Fields { rest: self.section }
    }

    /// The first field of that name, whatever its case.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<Field<'a>> {
        self.iter().find(|field| field.is(name))
    }

    /// How many fields have that name.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.iter().filter(|field| field.is(name)).count()
    }

    /// Where the body begins: after the empty line, or at the end when there is none.
    #[must_use]
    pub fn body_offset(&self) -> usize {
        self.body_offset
    }

    /// The section's octets, without the empty line.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.section
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Field<'a>;
    type IntoIter = Fields<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The fields of a header section, in order.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut end = 0;
        loop {
            match memchr(b'\n', &self.rest[end..]) {
                Some(line_end) => end += line_end + 1,
                None => end = self.rest.len(),
            }
            if !matches!(self.rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (raw, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(field(raw))
    }
}

fn field(raw: &[u8]) -> Field<'_> {
    let content = raw.strip_suffix(b"\n").unwrap_or(raw);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    let name_line = &content[..memchr(b'\n', content).unwrap_or(content.len())];
    match memchr(b':', name_line) {
        Some(colon) if !matches!(content[0], b' ' | b'\t') => Field {
            name: content[..colon].trim_ascii_end(),
            raw,
            value: &content[colon + 1..],
        },
        _ => Field {
            name: b"",
            raw,
            value: content,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(raw: &[u8]) -> Vec<String> {
        Headers::scan(raw)
            .iter()
            .map(|field| String::from_utf8_lossy(field.name).into_owned())
            .collect()
    }

    #[test]
    fn fields_keep_their_folds_and_end_at_the_empty_line() {
        let raw = b"From: a@b\r\nSubject: one\r\n two\r\n\tthree\r\nTO : c@d\r\n\r\nBody: no\r\n";
        let headers = Headers::scan(raw);
        assert_eq!(names(raw), ["From", "Subject", "TO"]);
        let subject = headers.first("subject").unwrap();
        assert_eq!(subject.raw, b"Subject: one\r\n two\r\n\tthree\r\n");
        assert_eq!(subject.value, b" one\r\n two\r\n\tthree");
        assert_eq!(subject.text(), "one two\tthree");
        assert_eq!(headers.count("to"), 1);
        assert_eq!(&raw[headers.body_offset()..], b"Body: no\r\n");
    }

    #[test]
    fn garbage_is_fields_without_a_name_and_never_an_error() {
        assert_eq!(names(b""), [""; 0]);
        assert_eq!(names(b"\r\nbody"), [""; 0]);
        assert_eq!(names(b" fold: first\r\nA: 1\r\n\r\n"), ["", "A"]);
        assert_eq!(names(b"no colon\r\nA: 1"), ["", "A"]);
        assert_eq!(names(b"no colon\r\n a: fold\r\nB: 2\r\n"), ["", "B"]);
        assert_eq!(names(b"A: 1\nB: 2\n\nbody"), ["A", "B"]);
        assert_eq!(names(b":\r\n"), [""]);
        assert_eq!(Headers::scan(b"A: 1\r\n").body_offset(), 6);
    }
}
