//! What an author may be told of mail that was forwarded: that it did not arrive and why, but not where.
//!
//! The author wrote to the alias, so the alias is the recipient that the report names, once, to however many mailboxes it leads. Class and
//! code are kept. Of what the other side said only words are kept: whoever runs the mailbox, its names and its addresses
//! are taken out, and so is every other name and address, for nobody knows which of them give it away.

use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, Utc};

use super::{Action, ReportRecipient, ReportedRecipient};
use crate::address::Address;
use crate::header::{Field, Headers, hops, unfold};
use crate::status::EnhancedCode;

/// What stands where something was taken out.
const REMOVED: &str = "[removed]";
/// What is looked at of a diagnostic.
const MAX_DIAGNOSTIC: usize = 1000;

/// Between whom a report passes.
#[derive(Debug, Clone, Copy)]
pub struct Privacy<'a> {
    /// What the author wrote to.
    pub alias: &'a Address,
    /// The addresses it leads to.
    pub addresses: &'a [&'a Address],
    /// Hosts of theirs that are known by name, such as the MX that was spoken to.
    pub hosts: &'a [&'a str],
}

/// What happened to mail for an alias, fit to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateRecipient {
    /// The alias.
    pub final_recipient: Address,
    /// ORCPT as the author gave it, decoded, with its type. Not known from a report; for the caller to add.
    pub original_recipient: Option<String>,
    /// What happened.
    pub action: Action,
    /// Its code.
    pub status: EnhancedCode,
    /// What was said, scrubbed.
    pub diagnostic: Option<String>,
    /// When it was last tried.
    pub last_attempt: Option<DateTime<Utc>>,
    /// Until when a delayed delivery is tried.
    pub will_retry_until: Option<DateTime<Utc>>,
}

impl PrivateRecipient {
    /// The entry of a report ([`super::write()`]). It names no Remote-MTA.
    #[must_use]
    pub fn reported(&self) -> ReportedRecipient<'_> {
        ReportedRecipient {
            final_recipient: &self.final_recipient,
            original_recipient: self.original_recipient.as_deref(),
            action: self.action,
            status: self.status,
            remote_mta: None,
            diagnostic: self.diagnostic.as_deref(),
            last_attempt: self.last_attempt,
            will_retry_until: self.will_retry_until,
        }
    }
}

/// What a report that came back says, as the author may know it: the worst of its entries. `None` when it has none.
#[must_use]
pub fn private_view(recipients: &[ReportRecipient], privacy: &Privacy<'_>) -> Option<PrivateRecipient> {
    let worst = recipients.iter().min_by_key(|recipient| severity(recipient.action))?;
    // The addresses that the other side knows may be others than ours: a mailbox may forward, too.
    let named = recipients
        .iter()
        .flat_map(|recipient| [&recipient.final_recipient, &recipient.original_recipient]);
    let addresses: Vec<&Address> = privacy.addresses.iter().copied().chain(named.flatten()).collect();
    let said = recipients.iter().filter_map(|recipient| recipient.remote_mta.as_deref());
    let hosts: Vec<&str> = privacy.hosts.iter().copied().chain(said).collect();
    Some(PrivateRecipient {
        final_recipient: privacy.alias.clone(),
        original_recipient: None,
        action: worst.action,
        status: worst.status.unwrap_or(match worst.action {
            Action::Failed => EnhancedCode(5, 0, 0),
            Action::Delayed => EnhancedCode(4, 0, 0),
            Action::Delivered | Action::Relayed | Action::Expanded => EnhancedCode(2, 0, 0),
        }),
        diagnostic: worst.diagnostic.as_deref().map(|text| scrub_diagnostic(text, &addresses, &hosts)),
        last_attempt: None,
        will_retry_until: None,
    })
}

/// What we ourselves know of a delivery to a destination, as the author may know it.
#[must_use]
pub fn private_outcome(outcome: &ReportedRecipient<'_>, privacy: &Privacy<'_>) -> PrivateRecipient {
    let addresses: Vec<&Address> = privacy.addresses.iter().copied().chain([outcome.final_recipient]).collect();
    let hosts: Vec<&str> = privacy.hosts.iter().copied().chain(outcome.remote_mta).collect();
    PrivateRecipient {
        final_recipient: privacy.alias.clone(),
        original_recipient: outcome.original_recipient.map(str::to_owned),
        action: outcome.action,
        status: outcome.status,
        diagnostic: outcome.diagnostic.map(|text| scrub_diagnostic(text, &addresses, &hosts)),
        last_attempt: outcome.last_attempt,
        will_retry_until: outcome.will_retry_until,
    }
}

fn severity(action: Action) -> u8 {
    match action {
        Action::Failed => 0,
        Action::Delayed => 1,
        Action::Expanded | Action::Relayed | Action::Delivered => 2,
    }
}

/// A remote host's text without any address, link, host name or IP address, and without the local parts and hosts given, wherever they stand
/// as words. Reply and enhanced codes stay.
#[must_use]
pub fn scrub_diagnostic(text: &str, private_addresses: &[&Address], private_hosts: &[&str]) -> String {
    let text = &text[..text.floor_char_boundary(MAX_DIAGNOSTIC)];
    let mut scrubbed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = |inside: bool| rest.find(|character| in_word(character) != inside).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end(in_word(first)));
        if in_word(first) {
            push_word(word, &mut scrubbed);
        } else {
            scrubbed.push_str(word);
        }
        rest = after;
    }
    for address in private_addresses {
        // Three digits are a reply code before they are a name.
        let local_part = address.local_part();
        if !(local_part.len() == 3 && local_part.bytes().all(|byte| byte.is_ascii_digit())) {
            scrubbed = without(&scrubbed, local_part);
        }
        scrubbed = without(&scrubbed, &address.host().to_string());
    }
    for host in private_hosts {
        scrubbed = without(&scrubbed, host.trim_end_matches('.'));
    }
    scrubbed
}

/// Characters that can stand within an address, a link or a host name.
fn in_word(character: char) -> bool {
    character.is_alphanumeric() || ".-_+@%=:/?&#~!*'$|^".contains(character)
}

fn push_word(word: &str, scrubbed: &mut String) {
    let sentence = word.trim_end_matches(['.', ':', '?', '!', '\'', '/']);
    let (core, tail) = word.split_at(sentence.len());
    let lower = core.to_ascii_lowercase();
    if lower.contains("://") || lower.contains('@') || lower.contains("%40") {
        scrubbed.push_str(REMOVED);
    } else if is_address(word) || is_address(core) {
        scrubbed.push_str(REMOVED);
        return;
    } else {
        for piece in core.split_inclusive(|character: char| !(character.is_alphanumeric() || matches!(character, '.' | '-' | '_'))) {
            let name = piece.trim_end_matches(|character: char| !character.is_alphanumeric());
            if is_host(name) || name.split(['-', '_']).any(|part| part.parse::<Ipv4Addr>().is_ok()) {
                scrubbed.push_str(REMOVED);
                scrubbed.push_str(&piece[name.len()..]);
            } else {
                scrubbed.push_str(piece);
            }
        }
    }
    scrubbed.push_str(tail);
}

fn is_address(text: &str) -> bool {
    let text = match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => &text[5..],
        _ => text,
    };
    text.parse::<IpAddr>().is_ok()
}

/// At least two labels, the last of which begins with a letter and has another: `5.2.2`, `e.g.` and `v2.0` are none.
fn is_host(name: &str) -> bool {
    let mut labels = name.trim_matches(['.', '-', '_']).rsplit('.');
    let top = labels.next().unwrap_or_default();
    labels.next().is_some() && top.chars().count() >= 2 && top.chars().next().is_some_and(char::is_alphabetic)
}

/// The text without a word, whatever its case in ASCII.
fn without(text: &str, word: &str) -> String {
    let (lower, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    if word.is_empty() {
        return text.to_owned();
    }
    let mut left = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, found) in lower.match_indices(&word) {
        let continued = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
        if continued(lower[..at].chars().next_back()) || continued(lower[at + found.len()..].chars().next()) {
            continue;
        }
        left.push_str(&text[copied..at]);
        left.push_str(REMOVED);
        copied = at + found.len();
    }
    left.push_str(&text[copied..]);
    left
}

/// The stored message as its author sent it to us: without the trace fields at its top that we (`hostname`) added. To be returned
/// ([`super::Original`]), never what was sent on: that bears the destination's return path.
#[must_use]
pub fn as_sent<'a>(stored: &'a [u8], hostname: &str) -> &'a [u8] {
    let headers = Headers::scan(stored);
    let ours: usize = headers
        .iter()
        .take_while(|field| is_ours(field, hostname))
        .map(|field| field.raw.len())
        .sum();
    &stored[ours..]
}

fn is_ours(field: &Field<'_>, hostname: &str) -> bool {
    if field.is("Return-Path") || field.is(hops::NAME) {
        return true;
    }
    let value = unfold(field.value);
    let is_hostname = |word: &str| word.trim_end_matches(';').eq_ignore_ascii_case(hostname);
    let mut words = value.split_ascii_whitespace();
    if field.is("Received") {
        words.any(|word| word.eq_ignore_ascii_case("by")) && words.next().is_some_and(is_hostname)
    } else {
        field.is("Authentication-Results") && words.next().is_some_and(is_hostname)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn codes_and_words_are_kept_and_names_are_not() {
        let private = address("me@home.test");
        for (said, told) in [
            ("552 5.2.2 <me@home.test> over quota", "552 5.2.2 <[removed]> over quota"),
            (
                "550-5.1.1 The user 'Me' does not exist at mx1.home.test (192.0.2.7).",
                "550-5.1.1 The user '[removed]' does not exist at [removed] ([removed]).",
            ),
            (
                "452 4.2.2 full, see https://support.example/mail?p=x a1b2.5 - gsmtp",
                "452 4.2.2 full, see [removed] a1b2.5 - [removed]",
            ),
            (
                "host mx.home.test[IPv6:2001:db8::1]:25 said: no",
                "host [removed][[removed]]:25 said: no",
            ),
            (
                "550 rcpt=me%40home.test ip=192.0.2.7:25 port 25",
                "550 [removed] ip=[removed]:25 port 25",
            ),
            (
                "421 ip-192.0.2.7-x 2001:db8:: e.g. v2.0 3.1",
                "421 [removed] [removed] e.g. v2.0 3.1",
            ),
            ("Mailbox full.Sorry büro.example", "Mailbox [removed] [removed]"),
            ("", ""),
        ] {
            assert_eq!(scrub_diagnostic(said, &[&private], &["gsmtp", "mx1.home.test."]), told, "{said}");
        }
    }

    #[test]
    fn a_report_names_the_alias_once_and_the_worst_of_what_happened() {
        let (alias, one, two) = (address("shop@mine.test"), address("me@home.test"), address("me@work.test"));
        let recipient = |address: &Address, action, status, diagnostic: &str| ReportRecipient {
            final_recipient: Some(address.clone()),
            original_recipient: Some(address.clone()),
            action,
            status,
            reply_code: None,
            diagnostic: Some(diagnostic.to_owned()),
            remote_mta: Some("mx.home.test".to_owned()),
        };
        let reported = [
            recipient(&two, Action::Delayed, Some(EnhancedCode(4, 4, 1)), "later"),
            recipient(
                &one,
                Action::Failed,
                Some(EnhancedCode(5, 2, 2)),
                "552 5.2.2 <me@home.test> over quota",
            ),
        ];
        let privacy = Privacy {
            alias: &alias,
            addresses: &[&one, &two],
            hosts: &[],
        };
        let told = private_view(&reported, &privacy).unwrap();
        let entry = told.reported();
        assert_eq!(
            (entry.final_recipient, entry.action, entry.status),
            (&alias, Action::Failed, EnhancedCode(5, 2, 2))
        );
        assert_eq!(
            (entry.diagnostic, entry.remote_mta),
            (Some("552 5.2.2 <[removed]> over quota"), None)
        );
        assert_eq!(private_view(&[], &privacy), None);
        let ours = ReportedRecipient {
            final_recipient: &one,
            remote_mta: Some("mx.home.test"),
            original_recipient: Some("rfc822;shop@mine.test"),
            ..told.reported()
        };
        let told = private_outcome(&ours, &privacy);
        assert_eq!(told.reported().final_recipient, &alias);
        assert_eq!(told.reported().remote_mta, None);
        assert_eq!(told.original_recipient.as_deref(), Some("rfc822;shop@mine.test"));
    }

    #[test]
    fn what_is_returned_begins_where_the_author_s_message_began() {
        let sent = "Received: from a by other.test; x\r\nReceived: by mx.mine.test; x\r\nFrom: bob@stranger.test\r\n\r\nbody\r\n";
        let stored = format!(
            "Return-Path: <bob@stranger.test>\r\nAuthentication-Results: mx.mine.test;\r\n\tspf=pass\r\nPostroad-Forwarded: by mx.mine.test;\r\n\tfor <shop@mine.test>\r\n\
             Received: from bob.stranger.test ([192.0.2.1])\r\n\tby MX.mine.test with ESMTP id x; y\r\n{sent}"
        );
        assert_eq!(as_sent(stored.as_bytes(), "mx.mine.test"), sent.as_bytes());
        assert_eq!(as_sent(sent.as_bytes(), "mx.mine.test"), sent.as_bytes());
        assert_eq!(as_sent(b"", "mx.mine.test"), b"");
    }
}
