//! One look at a message's bytes before it is accepted: is it well formed, and the few facts that acceptance decides by.
//!
//! This is the hot path of intake. The line checks are three vectorised searches without an allocation per line; only the
//! fields that are reported are copied. MIME is not looked into, but for how deep its parts lie inside each other.

use memchr::{memchr, memchr_iter};

use crate::address::Address;
use crate::header::{Headers, decode, read_authors, unfold};
use crate::nesting;

/// Octets a line may have without its CRLF (RFC 5321 §4.5.3.1.6 and RFC 5322 §2.1.1).
pub const MAX_LINE_OCTETS: usize = 998;
/// Octets a header section may have. Large ones come from long chains of trace and signature fields, not from a megabyte.
pub const MAX_HEADER_OCTETS: usize = 256 * 1024;
/// Fields a header section may have.
pub const MAX_HEADER_FIELDS: usize = 1000;

/// Why a message is not accepted as it is. Each is a fact about the content, so each refusal is permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// A CR that no LF follows.
    #[error("the message contains a bare CR")]
    BareCr,
    /// An LF that no CR precedes.
    #[error("the message contains a bare LF")]
    BareLf,
    /// A NUL octet.
    #[error("the message contains a NUL octet")]
    Nul,
    /// A line of more than 998 octets.
    #[error("the message contains a line of more than 998 octets")]
    LineTooLong,
    /// More than [`MAX_HEADER_OCTETS`] before the first empty line.
    #[error("the header section is too large")]
    HeaderTooLarge,
    /// More than [`MAX_HEADER_FIELDS`].
    #[error("the header section has too many fields")]
    TooManyFields,
    /// Parts inside parts, more than 100 deep.
    #[error("the MIME parts lie more than {} deep in each other", nesting::MOST_LEVELS)]
    TooDeep,
}

/// What a message says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContentFacts {
    /// Some octet is above 127: the message needs 8BITMIME.
    pub eight_bit: bool,
    /// Such an octet stands in the header: the message needs SMTPUTF8.
    pub eight_bit_header: bool,
    /// Octets of the longest line, without its CRLF.
    pub longest_line: usize,
    /// The last line is ended by CRLF (also true of an empty message).
    pub ends_with_line_end: bool,
    /// Octets of the header section, without the empty line.
    pub header_bytes: usize,
    /// Where the body begins.
    pub body_offset: usize,
    /// Fields in the header section.
    pub field_count: usize,
    /// Lines in the header section that are no fields (no colon, or a name with a blank or control in it).
    pub malformed_fields: usize,
    /// Received fields: hosts passed so far.
    pub received_count: usize,
    /// Is there a Date field?
    pub has_date: bool,
    /// Is there a Message-ID field?
    pub has_message_id: bool,
    /// From fields; exactly one is right (RFC 5322 §3.6).
    pub from_count: usize,
    /// The addresses in all From fields.
    pub from: Vec<Address>,
    /// Some From field also holds what looks like an address and cannot be read as one.
    pub from_unreadable: bool,
    /// Is there a Sender field?
    pub has_sender: bool,
    /// Is there a Bcc field, which must not be delivered?
    pub has_bcc: bool,
    /// The subject, decoded, on one line.
    pub subject: Option<String>,
    /// The Message-ID field's value, unfolded, angle brackets included.
    pub message_id: Option<String>,
    /// The message was made or sent by a machine and must not be answered automatically (RFC 3834): `Auto-Submitted` other than
    /// `no`, `Precedence` of bulk, junk or list, or a `List-Id`.
    pub automatic: bool,
}

/// Checks a message whose lines should end in CRLF and reports what it says of itself.
///
/// # Errors
/// The first [`ContentError`] in the order NUL, bare CR, bare LF, line too long, header, depth.
pub fn inspect(raw: &[u8]) -> Result<ContentFacts, ContentError> {
    let longest_line = check_lines(raw)?;
    if longest_line > MAX_LINE_OCTETS {
        return Err(ContentError::LineTooLong);
    }
    facts(raw, longest_line)
}

/// As [`inspect`], for mail that comes in for somebody here: lines of any length pass. Others wrote and may have signed them, and
/// to break a line is to break the signature.
///
/// # Errors
/// As [`inspect`], without [`ContentError::LineTooLong`].
pub fn inspect_inbound(raw: &[u8]) -> Result<ContentFacts, ContentError> {
    facts(raw, check_lines(raw)?)
}

/// What the message says, its lines being known to be well formed.
fn facts(raw: &[u8], longest_line: usize) -> Result<ContentFacts, ContentError> {
    let headers = Headers::scan(raw);
    let section = headers.as_bytes();
    if section.len() > MAX_HEADER_OCTETS {
        return Err(ContentError::HeaderTooLarge);
    }
    let eight_bit_header = !section.is_ascii();
    let mut facts = ContentFacts {
        eight_bit: eight_bit_header || !raw[headers.body_offset()..].is_ascii(),
        eight_bit_header,
        longest_line,
        ends_with_line_end: raw.is_empty() || raw.ends_with(b"\n"),
        header_bytes: section.len(),
        body_offset: headers.body_offset(),
        ..ContentFacts::default()
    };
    for field in headers {
        facts.field_count += 1;
        if facts.field_count > MAX_HEADER_FIELDS {
            return Err(ContentError::TooManyFields);
        }
        // The length is compared first, so that most fields cost one comparison.
        match field.name.len() {
            0 => facts.malformed_fields += 1,
            3 if field.is("Bcc") => facts.has_bcc = true,
            4 if field.is("Date") => facts.has_date = true,
            4 if field.is("From") => {
                facts.from_count += 1;
                let mut authors = read_authors(field.value);
                facts.from.append(&mut authors.addresses);
                facts.from_unreadable |= authors.unreadable;
            }
            6 if field.is("Sender") => facts.has_sender = true,
            7 if field.is("Subject") => {
                facts.subject.get_or_insert_with(|| decode(field.value));
            }
            7 if field.is("List-Id") => facts.automatic = true,
            8 if field.is("Received") => facts.received_count += 1,
            10 if field.is("Message-ID") => {
                facts.has_message_id = true;
                facts.message_id.get_or_insert_with(|| unfold(field.value));
            }
            10 if field.is("Precedence") => {
                let value = field.value.trim_ascii();
                facts.automatic |= [&b"bulk"[..], b"junk", b"list"].iter().any(|word| value.eq_ignore_ascii_case(word));
            }
            14 if field.is("Auto-Submitted") => {
                let value = field.value.trim_ascii();
                facts.automatic |= !value.get(..2).is_some_and(|word| {
                    word.eq_ignore_ascii_case(b"no") && value.get(2).is_none_or(|next| matches!(next, b';' | b' ' | b'('))
                });
            }
            _ if !field.name.iter().all(|byte| byte.is_ascii_graphic()) => facts.malformed_fields += 1,
            _ => {}
        }
    }
    if nesting::is_too_deep(raw) {
        return Err(ContentError::TooDeep);
    }
    Ok(facts)
}

/// The length of the longest line, when every line end is CRLF.
fn check_lines(raw: &[u8]) -> Result<usize, ContentError> {
    if memchr(0, raw).is_some() {
        return Err(ContentError::Nul);
    }
    let mut longest = 0;
    let mut line = 0;
    let mut line_ends = 0;
    for at in memchr_iter(b'\r', raw) {
        if raw.get(at + 1) != Some(&b'\n') {
            return Err(ContentError::BareCr);
        }
        longest = longest.max(at - line);
        line = at + 2;
        line_ends += 1;
    }
    if memchr_iter(b'\n', raw).count() != line_ends {
        return Err(ContentError::BareLf);
    }
    Ok(longest.max(raw.len() - line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_an_ordinary_message_are_found() {
        let raw = b"Received: a\r\nReceived: b\r\nFrom: A <a@b.example>,\r\n c@d.example\r\nSubject: =?utf-8?Q?=C3=BC?=\r\n x\r\n\
            Date: now\r\nMessage-ID: <1@b.example>\r\nbcc: z@z\r\nAuto-Submitted: auto-replied\r\n\r\nHello\r\n";
        let facts = inspect(raw).unwrap();
        assert_eq!((facts.received_count, facts.from_count, facts.field_count), (2, 1, 8));
        assert_eq!(
            facts.from.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["a@b.example", "c@d.example"]
        );
        assert_eq!(facts.subject.as_deref(), Some("ü x"));
        assert_eq!(facts.message_id.as_deref(), Some("<1@b.example>"));
        assert!(facts.has_date && facts.has_message_id && facts.has_bcc && facts.automatic && facts.ends_with_line_end);
        assert!(!facts.eight_bit && !facts.eight_bit_header && !facts.has_sender);
        assert_eq!(&raw[facts.body_offset..], b"Hello\r\n");
        assert_eq!(facts.header_bytes + 2, facts.body_offset);
    }

    #[test]
    fn only_crlf_ends_a_line_and_998_octets_are_the_limit() {
        for (raw, reason) in [
            (&b"a\rb\r\n"[..], ContentError::BareCr),
            (b"a\r\r\n", ContentError::BareCr),
            (b"a\r", ContentError::BareCr),
            (b"a\nb\r\n", ContentError::BareLf),
            (b"\n", ContentError::BareLf),
            (b"a\n.\r\n", ContentError::BareLf),
            (b"a\0\r\n", ContentError::Nul),
        ] {
            assert_eq!(inspect(raw), Err(reason), "{raw:?}");
        }
        let line = |octets: usize| [b"A: 1\r\n\r\n".to_vec(), vec![b'a'; octets], b"\r\n".to_vec()].concat();
        assert_eq!(inspect(&line(998)).unwrap().longest_line, 998);
        assert_eq!(inspect(&line(999)), Err(ContentError::LineTooLong));
        assert_eq!(inspect(&vec![b'a'; 999]), Err(ContentError::LineTooLong));
    }

    #[test]
    fn lines_of_any_length_come_in_and_nothing_else_is_forgiven() {
        let long = [b"A: 1\r\n\r\n".to_vec(), vec![b'a'; 100_000], b"\r\n".to_vec()].concat();
        assert_eq!(inspect_inbound(&long).unwrap().longest_line, 100_000);
        assert_eq!(inspect_inbound(b"A: 1\r\n\r\nx\n"), Err(ContentError::BareLf));
        assert_eq!(inspect_inbound(b"A: 1\r\n\r\n\0"), Err(ContentError::Nul));
        assert_eq!(
            inspect_inbound("A: 1\r\n".repeat(1001).as_bytes()),
            Err(ContentError::TooManyFields)
        );
        let short = b"From: a@b.test\r\nSubject: x\r\n\r\nHello\r\n";
        assert_eq!(inspect_inbound(short), inspect(short));
    }

    #[test]
    fn odd_messages_are_messages_all_the_same() {
        assert_eq!(
            inspect(b"").unwrap(),
            ContentFacts {
                ends_with_line_end: true,
                ..ContentFacts::default()
            }
        );
        assert_eq!(inspect(b".\r\n").unwrap().malformed_fields, 1);
        let facts = inspect(b"\r\nbody").unwrap();
        assert_eq!((facts.field_count, facts.body_offset, facts.ends_with_line_end), (0, 2, false));
        assert!(inspect(b"A: 1\r\n\r\n\xff\r\n").unwrap().eight_bit);
        assert!(inspect(b"A: \xc3\xbc\r\n\r\n").unwrap().eight_bit_header);
        assert_eq!(inspect(b"From: a@b\r\nFrom: c@d\r\n\r\n").unwrap().from_count, 2);
        for (value, automatic) in [
            ("no", false),
            ("No; x", false),
            ("auto-generated", true),
            ("", true),
            ("none", true),
        ] {
            assert_eq!(
                inspect(format!("Auto-Submitted: {value}\r\n").as_bytes()).unwrap().automatic,
                automatic,
                "{value}"
            );
        }
    }

    #[test]
    fn a_header_beyond_all_measure_is_refused() {
        assert_eq!(inspect("A: 1\r\n".repeat(1001).as_bytes()), Err(ContentError::TooManyFields));
        let folded = format!("A: 1\r\n{}", " fold fold fold fold\r\n".repeat(50_000));
        assert_eq!(inspect(folded.as_bytes()), Err(ContentError::HeaderTooLarge));
    }
}
