//! Reading reports in the standard forms, with the deviations that are seen in the wild: no per-message group, no blank line
//! between recipients or several within one, missing types, missing actions, encoded status parts.

use super::informal;
use super::{Action, Complaint, Kind, Report, ReportRecipient};
use crate::address::Address;
use crate::header::{Field, Headers, decode, unfold};
use crate::mime::{Part, leaves};
use crate::quote::xtext_decode;
use crate::status::EnhancedCode;

/// What is kept of a diagnostic.
const MAX_DIAGNOSTIC: usize = 1000;
/// What is kept of the original's header.
const MAX_ORIGINAL_HEADER: usize = 64 * 1024;
/// Recipients read from one report; more than any transaction of ours has.
const MAX_RECIPIENTS: usize = 1000;

/// Reads a report. `None`: this is no report that can be understood: an automatic reply, a read receipt, a letter.
#[must_use]
pub fn parse(raw: &[u8]) -> Option<Report> {
    let parts = leaves(raw);
    let original_header = parts.iter().find_map(original_header);
    let of_type = |wanted: &[&str]| parts.iter().find(|part| wanted.contains(&part.content_type.as_str()));
    if let Some(part) = of_type(&["message/feedback-report"]) {
        return Some(complaint(&part.octets(), original_header));
    }
    if let Some(part) = of_type(&["message/delivery-status", "message/global-delivery-status"]) {
        let mut report = delivery_status(&part.octets());
        if !report.recipients.is_empty() {
            report.original_header = original_header;
            return Some(report);
        }
    }
    // A read receipt (RFC 8098) looks like a report and says nothing of delivery.
    if of_type(&["message/disposition-notification"]).is_some() {
        return None;
    }
    let text = parts
        .iter()
        .find(|part| part.content_type == "text/plain")
        .map(Part::text)
        .unwrap_or_default();
    let mut report = informal::read(&Headers::scan(raw), &text)?;
    report.original_header = report.original_header.or(original_header);
    Some(report)
}

fn original_header(part: &Part<'_>) -> Option<Vec<u8>> {
    if !matches!(
        part.content_type.as_str(),
        "message/rfc822" | "message/global" | "text/rfc822-headers" | "message/rfc822-headers" | "message/global-headers"
    ) {
        return None;
    }
    let octets = part.octets();
    Some(bounded_header(octets.trim_ascii_start()))
}

pub(super) fn bounded_header(original: &[u8]) -> Vec<u8> {
    let header = Headers::scan(original).as_bytes();
    header[..header.len().min(MAX_ORIGINAL_HEADER)].to_vec()
}

/// A recipient whose fields are still being collected.
#[derive(Default)]
struct Collected {
    final_recipient: Option<String>,
    original_recipient: Option<String>,
    action: Option<String>,
    status: Option<String>,
    diagnostic: Option<String>,
    remote_mta: Option<String>,
}

impl Collected {
    fn is_named(&self) -> bool {
        self.final_recipient.is_some() || self.original_recipient.is_some()
    }

    fn is_judged(&self) -> bool {
        self.action.is_some() || self.status.is_some()
    }

    fn finish(self) -> Option<ReportRecipient> {
        if !self.is_named() || !(self.is_judged() || self.diagnostic.is_some()) {
            return None;
        }
        let diagnostic = self.diagnostic.map(|text| diagnostic(after_type(&text)));
        let said = diagnostic.as_deref().and_then(informal::code_in);
        let reply_code = diagnostic.as_deref().and_then(informal::reply_code_in);
        let stated = self.status.as_deref().and_then(EnhancedCode::find);
        // `5.0.0` says no more than the class; the diagnostic often knows better.
        let status = match (stated, said) {
            (Some(stated), Some(said)) if stated.1 == 0 && stated.2 == 0 && stated.0 == said.0 => Some(said),
            (stated, said) => stated.or(said),
        };
        let action = self.action.as_deref().and_then(action).or_else(|| {
            Some(match status?.0 {
                2 => Action::Delivered,
                4 => Action::Delayed,
                _ => Action::Failed,
            })
        });
        Some(ReportRecipient {
            final_recipient: self.final_recipient.as_deref().and_then(typed_address),
            original_recipient: self.original_recipient.as_deref().and_then(typed_address),
            action: action.unwrap_or(Action::Failed),
            status,
            reply_code,
            diagnostic,
            remote_mta: self
                .remote_mta
                .map(|name| after_type(&name).to_owned())
                .filter(|name| !name.is_empty()),
        })
    }
}

fn delivery_status(octets: &[u8]) -> Report {
    let mut report = Report {
        kind: Kind::Success,
        recipients: Vec::new(),
        reporting_mta: None,
        envelope_id: None,
        complaint: None,
        original_header: None,
    };
    let mut current = Collected::default();
    for group in groups(octets) {
        let naming = |field: &Field<'_>| field.is("Final-Recipient") || field.is("Original-Recipient");
        // A group that names nobody goes on about the recipient before it: some hosts put blank lines between the fields.
        if current.is_judged() && group.clone().any(|field| naming(&field)) {
            report.recipients.extend(std::mem::take(&mut current).finish());
        }
        // Others leave out the blank lines between recipients.
        let crowded = group.clone().filter(|field| field.is("Final-Recipient")).count() > 1;
        for field in group {
            if report.recipients.len() >= MAX_RECIPIENTS {
                break;
            }
            let repeated = (field.is("Final-Recipient") && current.final_recipient.is_some())
                || (field.is("Original-Recipient") && (current.original_recipient.is_some() || (crowded && current.is_judged())));
            if repeated {
                report.recipients.extend(std::mem::take(&mut current).finish());
            }
            collect(&field, &mut current, &mut report);
        }
    }
    report.recipients.extend(current.finish());
    report.kind = kind_of(&report.recipients);
    report
}

pub(super) fn kind_of(recipients: &[ReportRecipient]) -> Kind {
    let any = |wanted: Action| recipients.iter().any(|recipient| recipient.action == wanted);
    if any(Action::Failed) {
        Kind::Failure
    } else if any(Action::Delayed) {
        Kind::Delay
    } else {
        Kind::Success
    }
}

fn collect(field: &Field<'_>, current: &mut Collected, report: &mut Report) {
    let value = || Some(unfold(field.value)).filter(|value| !value.is_empty());
    if field.is("Final-Recipient") {
        current.final_recipient = value();
    } else if field.is("Original-Recipient") {
        current.original_recipient = value();
    } else if field.is("Action") {
        current.action = value();
    } else if field.is("Status") {
        current.status = value();
    } else if field.is("Diagnostic-Code") {
        // The SMTP diagnostic is the one worth having when there are several.
        if current.diagnostic.is_none()
            || field
                .value
                .trim_ascii()
                .get(..4)
                .is_some_and(|kind| kind.eq_ignore_ascii_case(b"smtp"))
        {
            current.diagnostic = value();
        }
    } else if field.is("Remote-MTA") {
        current.remote_mta = value();
    } else if field.is("Reporting-MTA") {
        report.reporting_mta = value().map(|name| after_type(&name).to_owned());
    } else if field.is("Original-Envelope-Id") {
        report.envelope_id = value();
    }
}

/// The groups of fields between blank lines.
fn groups(octets: &[u8]) -> impl Iterator<Item = crate::header::Fields<'_>> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        while let [b'\r' | b'\n', after @ ..] = rest {
            rest = after;
        }
        if rest.is_empty() {
            return None;
        }
        let headers = Headers::scan(rest);
        rest = &rest[headers.body_offset()..];
        Some(headers.iter())
    })
}

fn action(text: &str) -> Option<Action> {
    // Comments and reasons follow the word: `expanded (to multi-recipient alias)`.
    let word = text
        .split(|character: char| !character.is_ascii_alphabetic())
        .find(|word| !word.is_empty())?
        .to_ascii_lowercase();
    Some(match word.as_str() {
        "failed" | "failure" | "fail" | "error" => Action::Failed,
        "delayed" | "delay" | "deferred" => Action::Delayed,
        "delivered" | "deliverable" => Action::Delivered,
        "relayed" => Action::Relayed,
        "expanded" => Action::Expanded,
        _ => return None,
    })
}

/// What follows `rfc822;`, `dns;` or `smtp;`.
fn after_type(value: &str) -> &str {
    match value.split_once(';') {
        Some((kind, rest)) if kind.trim().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => rest.trim(),
        _ => value.trim(),
    }
}

/// `rfc822; <a@b>`, also without type or brackets, with a comment, in xtext, or in the form of RFC 6533.
fn typed_address(value: &str) -> Option<Address> {
    let text = after_type(value);
    let text = text
        .strip_prefix('<')
        .and_then(|inside| inside.split('>').next())
        .unwrap_or(text)
        .trim();
    if let Ok(address) = Address::parse(text) {
        return Some(address).filter(|_| !text.contains("\\x{"));
    }
    if text.contains("\\x{") {
        return Address::parse(&unescape_utf8(text)?).ok();
    }
    if let Some(address) = xtext_decode(text).ok().and_then(|decoded| Address::parse(&decoded).ok()) {
        return Some(address);
    }
    // `a@b (Anna)`, `Anna <a@b>`: whatever else an address field may hold.
    crate::header::author(text.as_bytes())
}

/// `\x{FC}` of utf-8-addr-xtext (RFC 6533 §3).
fn unescape_utf8(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        let (digits, after) = after.split_once('}')?;
        decoded.push_str(before);
        decoded.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = after;
    }
    decoded.push_str(rest);
    Some(decoded)
}

/// A reason on one line and within bounds.
pub(super) fn diagnostic(text: &str) -> String {
    let text = decode(text.replace(['\r', '\n'], " ").as_bytes());
    let mut short = String::with_capacity(text.len().min(MAX_DIAGNOSTIC));
    for word in text.split_whitespace() {
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
        if short.len() > MAX_DIAGNOSTIC {
            break;
        }
    }
    short.chars().take(MAX_DIAGNOSTIC).collect()
}

fn complaint(octets: &[u8], original_header: Option<Vec<u8>>) -> Report {
    let mut complaint = Complaint::default();
    let mut recipients: Vec<ReportRecipient> = Vec::new();
    let mut reporting_mta = None;
    let mut envelope_id = None;
    for field in groups(octets).flatten() {
        let value = unfold(field.value);
        if field.is("Feedback-Type") {
            complaint.feedback_type = value.to_ascii_lowercase();
        } else if field.is("User-Agent") {
            complaint.user_agent = Some(decode(field.value));
        } else if field.is("Original-Mail-From") {
            complaint.original_mail_from = typed_address(&value);
        } else if field.is("Source-IP") {
            complaint.source_ip = value.trim_matches(['[', ']']).parse().ok();
        } else if field.is("Reporting-MTA") {
            reporting_mta = Some(after_type(&value).to_owned());
        } else if field.is("Original-Envelope-Id") {
            envelope_id = Some(value);
        } else if field.is("Original-Rcpt-To")
            && recipients.len() < MAX_RECIPIENTS
            && let Some(address) = typed_address(&value)
        {
            recipients.push(ReportRecipient {
                final_recipient: Some(address),
                original_recipient: None,
                action: Action::Delivered,
                status: None,
                reply_code: None,
                diagnostic: None,
                remote_mta: None,
            });
        }
    }
    Report {
        kind: Kind::Complaint,
        recipients,
        reporting_mta,
        envelope_id,
        complaint: Some(complaint),
        original_header,
    }
}
