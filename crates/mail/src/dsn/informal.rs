//! Reading reports that follow no standard: Exim's text with `X-Failed-Recipients`, qmail's QSBMF, and text from a mailer
//! daemon. Meaning is taken from fixed marks and codes, never from a sentence, since sentences are translated; Exim's and
//! qmail's own texts are the exception.

use super::read::{bounded_header, diagnostic, kind_of};
use super::{Action, Report, ReportRecipient};
use crate::address::Address;
use crate::header::{Headers, authors, decode};
use crate::status::EnhancedCode;

/// Text that is looked at.
const MAX_TEXT: usize = 64 * 1024;
const MAX_RECIPIENTS: usize = 100;

/// Reads a report from the message's header and its first plain text.
pub(super) fn read(headers: &Headers<'_>, text: &str) -> Option<Report> {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    let (recipients, original) = exim(headers, text).or_else(|| qmail(text)).or_else(|| daemon(headers, text))?;
    Some(Report {
        kind: kind_of(&recipients),
        recipients,
        reporting_mta: None,
        envelope_id: None,
        complaint: None,
        original_header: original.map(|original| bounded_header(original.as_bytes())),
    })
}

type Found<'a> = Option<(Vec<ReportRecipient>, Option<&'a str>)>;

/// Exim: failures are named in `X-Failed-Recipients`, reasons follow each address indented. Warnings of delay have only the text.
fn exim<'a>(headers: &Headers<'_>, text: &'a str) -> Found<'a> {
    let failed: Vec<Address> = headers
        .iter()
        .filter(|field| field.is("X-Failed-Recipients"))
        .flat_map(|field| authors(field.value))
        .take(MAX_RECIPIENTS)
        .collect();
    let (report, original) = split_original(text, "------ This is a copy of");
    if !failed.is_empty() {
        let recipients = failed
            .into_iter()
            .map(|address| {
                let reason = reason_after(report, &address);
                recipient(address, Action::Failed, reason.as_deref())
            })
            .collect();
        return Some((recipients, original));
    }
    if !report.contains("has not yet been delivered") || !automatic(headers) {
        return None;
    }
    let recipients: Vec<_> = report
        .lines()
        .filter(|line| line.starts_with("  ") || line.starts_with('\t'))
        .filter_map(|line| Address::parse(line.trim()).ok())
        .take(MAX_RECIPIENTS)
        .map(|address| {
            let reason = reason_after(report, &address);
            recipient(address, Action::Delayed, reason.as_deref())
        })
        .collect();
    if recipients.is_empty() {
        None
    } else {
        Some((recipients, original))
    }
}

/// qmail (QSBMF): paragraphs that begin with `<address>:`, then `--- Below this line is a copy of the message.`
fn qmail(text: &str) -> Found<'_> {
    let first = text.trim_start();
    let (report, original) = split_original(text, "--- Below this line");
    if !(first.starts_with("Hi. This is the") || first.contains("qmail-send") || original.is_some()) {
        return None;
    }
    let mut recipients = Vec::new();
    for paragraph in report.split("\n\n") {
        let paragraph = paragraph.trim_start();
        let Some((address, reason)) = paragraph.strip_prefix('<').and_then(|rest| rest.split_once(">:")) else {
            continue;
        };
        let Ok(address) = Address::parse(address.trim()) else { continue };
        recipients.push(recipient(address, Action::Failed, Some(reason)));
        if recipients.len() >= MAX_RECIPIENTS {
            break;
        }
    }
    if recipients.is_empty() {
        None
    } else {
        Some((recipients, original))
    }
}

/// Whatever else a mailer daemon writes: an address with a reply or enhanced code in its line or the lines that follow.
fn daemon<'a>(headers: &Headers<'_>, text: &'a str) -> Found<'a> {
    if !automatic(headers) || !from_daemon(headers) {
        return None;
    }
    let text = [
        "-----Original Message",
        "----- Original message",
        "--- Original message",
        "------ This is a copy",
        "\nReceived: ",
    ]
    .iter()
    .filter_map(|mark| text.find(mark))
    .min()
    .map_or(text, |end| &text[..end]);
    // The report's own author and reader are not what it reports on.
    let parties: Vec<Address> = ["From", "To"]
        .iter()
        .filter_map(|name| headers.first(name))
        .flat_map(|field| authors(field.value))
        .take(MAX_RECIPIENTS)
        .collect();
    let mut recipients: Vec<ReportRecipient> = Vec::new();
    for (at, word) in words(text) {
        let Ok(address) = Address::parse(word) else { continue };
        if recipients.iter().any(|known| known.final_recipient.as_ref() == Some(&address)) || parties.contains(&address) {
            continue;
        }
        let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let near = &text[line..text.floor_char_boundary((at + 600).min(text.len()))];
        let Some(code) = code_in(near) else { continue };
        let action = if code.is_transient() { Action::Delayed } else { Action::Failed };
        recipients.push(recipient(address, action, Some(near)));
        if recipients.len() >= MAX_RECIPIENTS {
            break;
        }
    }
    if recipients.is_empty() { None } else { Some((recipients, None)) }
}

/// Was it made by a machine? A report is; a person's reply that quotes one is not.
fn automatic(headers: &Headers<'_>) -> bool {
    headers
        .first("Auto-Submitted")
        .is_some_and(|field| !field.text().eq_ignore_ascii_case("no"))
        || headers.first("Return-Path").is_some_and(|field| field.text() == "<>")
        || from_daemon(headers)
}

fn from_daemon(headers: &Headers<'_>) -> bool {
    let Some(from) = headers.first("From") else { return false };
    let local_part = authors(from.value).first().map(|address| address.local_part().to_ascii_lowercase());
    // Some hosts write the name alone: `From: MAILER-DAEMON`, `From: Mail Delivery Subsystem`.
    let name = decode(from.value).to_ascii_lowercase();
    matches!(
        local_part.as_deref(),
        Some("mailer-daemon" | "postmaster" | "mailerdaemon" | "mail-daemon")
    ) || name.starts_with("mailer-daemon")
        || name.starts_with("mail delivery")
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|character: char| character.is_whitespace() || "<>()[]\"',;".contains(character))
        .filter_map(move |word| {
            let trimmed = word.trim_matches([':', '.']);
            // Both are slices of `text`, so the difference is the word's place in it.
            trimmed
                .contains('@')
                .then(|| (trimmed.as_ptr() as usize - text.as_ptr() as usize, trimmed))
        })
}

fn recipient(address: Address, action: Action, reason: Option<&str>) -> ReportRecipient {
    let text = reason.map(diagnostic).filter(|text| !text.is_empty());
    let reply_code = text.as_deref().and_then(reply_code_in);
    ReportRecipient {
        final_recipient: Some(address),
        original_recipient: None,
        action,
        status: text.as_deref().and_then(code_in),
        reply_code,
        diagnostic: text,
        remote_mta: None,
    }
}

/// The report, and the copy of the message that follows a line with that mark.
fn split_original<'a>(text: &'a str, mark: &str) -> (&'a str, Option<&'a str>) {
    match text.find(mark) {
        Some(at) => {
            let after = text[at..].split_once('\n').map_or("", |(_, after)| after);
            (&text[..at], Some(after.trim_start_matches(['\n', '\r'])))
        }
        None => (text, None),
    }
}

/// The lines after the one that is this address, as long as they are indented more deeply.
fn reason_after(text: &str, address: &Address) -> Option<String> {
    let wanted = address.folded();
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|line| {
        let line = line.trim().trim_matches(['<', '>', ':']).to_lowercase();
        !(line == wanted || line.strip_prefix(&wanted).is_some_and(|rest| rest.starts_with([' ', ':', '('])))
    });
    let named = lines.next()?;
    let depth = indentation(named);
    let mut reason = named
        .trim()
        .get(wanted.len()..)
        .unwrap_or("")
        .trim_start_matches(['>', ':', ' '])
        .to_owned();
    for line in lines
        .take_while(|line| !line.trim().is_empty() && indentation(line) > depth)
        .take(20)
    {
        reason.push(' ');
        reason.push_str(line.trim());
    }
    Some(reason).filter(|reason| !reason.trim().is_empty())
}

/// The enhanced code a text contains, or the one that its SMTP reply code amounts to.
pub(super) fn code_in(text: &str) -> Option<EnhancedCode> {
    EnhancedCode::find(text).or_else(|| {
        let class = reply_code_in(text)? / 100;
        Some(EnhancedCode(if class == 4 { 4 } else { 5 }, 0, 0))
    })
}

/// The first SMTP reply code of failure in a text.
pub(super) fn reply_code_in(text: &str) -> Option<u16> {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || matches!(character, '.' | '@' | '_')))
        .filter(|word| word.len() == 3)
        .filter_map(|word| word.parse().ok())
        .find(|code| matches!(code, 400..=479 | 500..=579))
}
