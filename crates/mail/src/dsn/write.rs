//! Writing delivery status notifications (RFC 3464, RFC 6522, RFC 6533).
//!
//! What the report repeats of others (diagnostics, host names, the original) is made harmless first: no text of theirs can end a
//! line, a field or a part. The envelope sender of a report is `<>`; that is the caller's to see to.

use chrono::{DateTime, Utc};
use memchr::memmem;

use super::Action;
use super::explain::explanation;
use crate::address::Address;
use crate::header::{Headers, unfold};
use crate::quote::quoted_printable;
use crate::status::EnhancedCode;
use crate::trace::date;

/// How much of the original is returned; what is beyond is cut at a line end.
pub const MAX_ORIGINAL_OCTETS: usize = 50 * 1024;
/// How much of a remote host's text is repeated.
const MAX_DIAGNOSTIC: usize = 900;

/// Everything one report says.
#[derive(Debug, Clone)]
pub struct Dsn<'a> {
    /// Our host name.
    pub reporting_mta: &'a str,
    /// The ENVID of the message, decoded.
    pub envelope_id: Option<&'a str>,
    /// When we received the message.
    pub arrival: Option<DateTime<Utc>>,
    /// Whom the report goes to: the message's envelope sender.
    pub to: &'a Address,
    /// What happened to whom; at least one.
    pub recipients: &'a [ReportedRecipient<'a>],
    /// What to return of the message.
    pub original: Original<'a>,
    /// The report's own Message-ID, with angle brackets.
    pub message_id: &'a str,
    /// A text of letters and digits that is likely to occur nowhere else; it is extended where it does.
    pub boundary: &'a str,
    /// The report's date.
    pub now: DateTime<Utc>,
}

/// What happened to one recipient.
#[derive(Debug, Clone)]
pub struct ReportedRecipient<'a> {
    /// The address that was delivered to.
    pub final_recipient: &'a Address,
    /// ORCPT, decoded, with its type.
    pub original_recipient: Option<&'a str>,
    /// What happened.
    pub action: Action,
    /// Its code.
    pub status: EnhancedCode,
    /// The host that said so.
    pub remote_mta: Option<&'a str>,
    /// Its reply (`550 5.1.1 …`), or our own words when no host was reached.
    pub diagnostic: Option<&'a str>,
    /// When it was last tried.
    pub last_attempt: Option<DateTime<Utc>>,
    /// Until when a delayed delivery is tried.
    pub will_retry_until: Option<DateTime<Utc>>,
}

/// What the report returns of the message. Either way the argument is the raw message.
#[derive(Debug, Clone, Copy)]
pub enum Original<'a> {
    /// The header alone, as RET=HDRS asks, or for reports of delay and success.
    Headers(&'a [u8]),
    /// The message, up to [`MAX_ORIGINAL_OCTETS`].
    Full(&'a [u8]),
}

/// The finished report, CRLF line ends, at most 998 octets a line. It is 7-bit unless the returned message is not.
#[must_use]
pub fn write(dsn: &Dsn<'_>) -> Vec<u8> {
    let returned = Returned::of(dsn.original);
    let status = delivery_status(dsn);
    let mut boundary = format!("=_{}", word(dsn.boundary));
    while [returned.octets, status.as_bytes()]
        .iter()
        .any(|part| memmem::find(part, boundary.as_bytes()).is_some())
    {
        boundary.push('x');
    }
    let eight_bit = if returned.octets.is_ascii() {
        ""
    } else {
        "Content-Transfer-Encoding: 8bit\r\n"
    };

    let mut text = header(dsn, &returned, &boundary, eight_bit);
    text.push_str("\r\nThis is a delivery report in MIME format.\r\n");
    begin_part(&mut text, &boundary, "text/plain; charset=utf-8", "Notification");
    text.push_str("Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    text.push_str(&quoted_printable(explanation(dsn)));
    begin_part(&mut text, &boundary, "message/delivery-status", "Delivery report");
    text.push_str("\r\n");
    text.push_str(&status);
    begin_part(&mut text, &boundary, returned.content_type, "Returned message");
    text.push_str(eight_bit);
    text.push_str("\r\n");

    let mut report = text.into_bytes();
    report.extend_from_slice(returned.octets);
    if !report.ends_with(b"\r\n") {
        report.extend_from_slice(b"\r\n");
    }
    report.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    report
}

fn header(dsn: &Dsn<'_>, returned: &Returned<'_>, boundary: &str, eight_bit: &str) -> String {
    let mut text = String::with_capacity(4096);
    push(
        &mut text,
        "From",
        &format!("Mail Delivery System <MAILER-DAEMON@{}>", word(dsn.reporting_mta)),
    );
    push(&mut text, "To", &format!("<{}>", dsn.to));
    push(&mut text, "Subject", super::explain::title(dsn));
    push(&mut text, "Date", &date(dsn.now));
    if let Some(id) = message_id(dsn.message_id) {
        push(&mut text, "Message-ID", id);
    }
    let original_id = Headers::scan(returned.octets).first("Message-ID").map(|field| unfold(field.value));
    if let Some(id) = original_id.as_deref().and_then(message_id) {
        push(&mut text, "In-Reply-To", id);
        push(&mut text, "References", id);
    }
    push(&mut text, "Auto-Submitted", "auto-replied");
    push(&mut text, "MIME-Version", "1.0");
    push(
        &mut text,
        "Content-Type",
        &format!("multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\""),
    );
    text.push_str(eight_bit);
    text
}

fn begin_part(text: &mut String, boundary: &str, content_type: &str, description: &str) {
    text.push_str("\r\n--");
    text.push_str(boundary);
    text.push_str("\r\n");
    push(text, "Content-Type", content_type);
    push(text, "Content-Description", description);
}

/// Every value that comes here is already one harmless line or folded.
fn push(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str(": ");
    text.push_str(value);
    text.push_str("\r\n");
}

/// RFC 3464 §2: a group about the message, then one for each recipient.
fn delivery_status(dsn: &Dsn<'_>) -> String {
    let mut text = String::with_capacity(1024);
    if let Some(id) = dsn.envelope_id {
        // RFC 3461 encodes it for the command only; here it is spelled as the sender spelled it.
        let id: String = id
            .chars()
            .map(|character| if matches!(character, ' '..='~') { character } else { '?' })
            .collect();
        push(&mut text, "Original-Envelope-Id", &folded(&id));
    }
    push(&mut text, "Reporting-MTA", &format!("dns; {}", word(dsn.reporting_mta)));
    if let Some(arrival) = dsn.arrival {
        push(&mut text, "Arrival-Date", &date(arrival));
    }
    for recipient in dsn.recipients {
        text.push_str("\r\n");
        if let Some(original) = recipient.original_recipient {
            push(&mut text, "Original-Recipient", &original_recipient(original));
        }
        push(&mut text, "Final-Recipient", &typed(&recipient.final_recipient.to_string()));
        push(&mut text, "Action", recipient.action.as_str());
        push(&mut text, "Status", &recipient.status.to_string());
        if let Some(host) = recipient.remote_mta {
            push(&mut text, "Remote-MTA", &format!("dns; {}", word(host)));
        }
        if let Some(diagnostic) = recipient.diagnostic {
            // `smtp` is for what a server replied; RFC 3464 §2.3.6 leaves our own words to a type of our own.
            let kind = if is_reply(diagnostic) { "smtp" } else { "x-postroad" };
            push(&mut text, "Diagnostic-Code", &folded(&format!("{kind}; {}", printable(diagnostic))));
        }
        if let Some(at) = recipient.last_attempt {
            push(&mut text, "Last-Attempt-Date", &date(at));
        }
        if let Some(until) = recipient.will_retry_until {
            push(&mut text, "Will-Retry-Until", &date(until));
        }
    }
    text
}

/// An address with its type; UTF-8 in the 7-bit form of RFC 6533 §3, so that every host can carry the report.
fn typed(address: &str) -> String {
    if address.is_ascii() {
        format!("rfc822; {}", printable(address))
    } else {
        format!("utf-8; {}", escape_utf8(address))
    }
}

/// ORCPT has its own type; what follows it is repeated as it was given.
fn original_recipient(value: &str) -> String {
    match value.split_once(';') {
        Some((kind, address)) if address.is_ascii() => format!("{}; {}", word(kind), printable(address)),
        Some((_, address)) => format!("utf-8; {}", escape_utf8(address)),
        None => typed(value),
    }
}

fn escape_utf8(address: &str) -> String {
    address
        .chars()
        .map(|character| {
            if character.is_ascii_graphic() && character != '\\' {
                character.to_string()
            } else {
                format!("\\x{{{:X}}}", u32::from(character))
            }
        })
        .collect()
}

fn is_reply(diagnostic: &str) -> bool {
    let bytes = diagnostic.as_bytes();
    matches!(bytes, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', b' ' | b'-', ..])
}

/// A remote host's text as printable ASCII on one line.
pub(super) fn printable(text: &str) -> String {
    let text: String = text
        .chars()
        .take(MAX_DIAGNOSTIC)
        .map(|character| match character {
            ' '..='~' => character,
            _ if character.is_whitespace() || character.is_control() => ' ',
            _ => '?',
        })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Folds before words so that lines stay within 76 octets where words allow it.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len() + 16);
    // As long as the longest name that is folded, `Original-Envelope-Id: `.
    let mut column = 22;
    for word in text.split(' ') {
        if folded.is_empty() {
        } else if column + 1 + word.len() > 76 {
            folded.push_str("\r\n ");
            column = 1;
        } else {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += word.len();
    }
    folded
}

/// A host name, type or token from outside with everything else replaced.
pub(super) fn word(text: &str) -> String {
    text.chars()
        .take(255)
        .map(|character| {
            if character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | ':' | '[' | ']') {
                character
            } else {
                '?'
            }
        })
        .collect()
}

/// `<left@right>` in printable ASCII without blanks, or nothing.
fn message_id(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('<')?.strip_suffix('>')?;
    let fits = text.len() <= 900 && inside.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<' && byte != b'>');
    if fits && inside.contains('@') { Some(text) } else { None }
}

/// What the last part holds.
struct Returned<'a> {
    octets: &'a [u8],
    content_type: &'static str,
}

impl<'a> Returned<'a> {
    fn of(original: Original<'a>) -> Self {
        let (raw, whole) = match original {
            Original::Full(raw) => (raw, true),
            Original::Headers(raw) => (raw, false),
        };
        let section = Headers::scan(raw).as_bytes();
        // A header in UTF-8 makes the message an internationalized one (RFC 6533 §4).
        let content_type = match (whole, section.is_ascii()) {
            (true, true) => "message/rfc822",
            (true, false) => "message/global",
            (false, true) => "text/rfc822-headers",
            (false, false) => "message/global-headers",
        };
        Self {
            octets: cut(if whole { raw } else { section }),
            content_type,
        }
    }
}

/// At most [`MAX_ORIGINAL_OCTETS`], ending with a whole line.
fn cut(original: &[u8]) -> &[u8] {
    if original.len() <= MAX_ORIGINAL_OCTETS {
        return original;
    }
    let head = &original[..MAX_ORIGINAL_OCTETS];
    &head[..memchr::memrchr(b'\n', head).map_or(head.len(), |end| end + 1)]
}
