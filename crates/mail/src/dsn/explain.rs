//! The part of a report that a person reads: what happened, what it means, what to do, in plain words.

use super::Action;
use super::write::{Dsn, ReportedRecipient, printable, word};
use crate::status::EnhancedCode;
use crate::trace::date;

/// The subject. It quotes nothing of the message, so nothing of it needs to be made harmless here.
pub(super) fn title(dsn: &Dsn<'_>) -> &'static str {
    match worst(dsn) {
        Action::Failed => "Undelivered mail: your message could not be delivered",
        Action::Delayed => "Delayed mail: your message has not been delivered yet",
        Action::Delivered | Action::Relayed | Action::Expanded => "Delivered mail: your message has arrived",
    }
}

/// The text, with LF line ends.
pub(super) fn explanation(dsn: &Dsn<'_>) -> String {
    let mut text = format!("This is the mail system at {}.\n\n", word(dsn.reporting_mta));
    for (wanted, opening) in [
        (
            &[Action::Failed][..],
            "Your message could not be delivered to the recipients below, and it will not be tried again:",
        ),
        (
            &[Action::Delayed],
            "Your message has not been delivered to the recipients below yet. You need not send it again, it is still being tried:",
        ),
        (
            &[Action::Delivered, Action::Relayed, Action::Expanded],
            "Your message was delivered to the recipients below, or to a system that does not report delivery:",
        ),
    ] {
        let mut opened = false;
        for recipient in dsn.recipients.iter().filter(|recipient| wanted.contains(&recipient.action)) {
            if !std::mem::replace(&mut opened, true) {
                paragraph(&mut text, "", opening);
                text.push('\n');
            }
            describe(&mut text, recipient);
        }
    }
    if worst(dsn) == Action::Failed {
        let parts = "What mail systems need to know is in the second part of this report; your message, or its header, is in the third.";
        paragraph(&mut text, "", parts);
    }
    text
}

fn worst(dsn: &Dsn<'_>) -> Action {
    let any = |wanted: Action| dsn.recipients.iter().any(|recipient| recipient.action == wanted);
    if any(Action::Failed) {
        Action::Failed
    } else if any(Action::Delayed) {
        Action::Delayed
    } else {
        Action::Delivered
    }
}

const INDENTED: &str = "    ";

/// One paragraph, its lines broken between words.
fn paragraph(text: &mut String, indentation: &str, content: &str) {
    let mut column = 0;
    for word in content.split_whitespace() {
        if column > 0 && column + 1 + word.len() > 74 {
            text.push('\n');
            column = 0;
        }
        let gap = if column == 0 { indentation } else { " " };
        text.push_str(gap);
        text.push_str(word);
        column += gap.len() + word.len();
    }
    text.push('\n');
}

fn describe(text: &mut String, recipient: &ReportedRecipient<'_>) {
    text.push_str(&format!("  <{}>\n", recipient.final_recipient));
    if let Some(meaning) = meaning(recipient.status) {
        paragraph(text, INDENTED, meaning);
    }
    if let Some(diagnostic) = recipient.diagnostic {
        let diagnostic = printable(diagnostic);
        match recipient.remote_mta {
            Some(host) => paragraph(text, INDENTED, &format!("The server {} said: {diagnostic}", word(host))),
            None => paragraph(text, INDENTED, &format!("Reason: {diagnostic}")),
        }
    }
    match recipient.action {
        Action::Delayed => {
            if let Some(until) = recipient.will_retry_until {
                paragraph(text, INDENTED, &format!("It is tried until {}.", date(until)));
            }
        }
        Action::Relayed => paragraph(text, INDENTED, "It was handed on to a system that sends no reports of delivery."),
        Action::Expanded => paragraph(text, INDENTED, "It was handed on to the members of a list."),
        Action::Failed | Action::Delivered => {}
    }
    text.push('\n');
}

/// The subjects of RFC 3463 and its register, as one would say them.
fn meaning(code: EnhancedCode) -> Option<&'static str> {
    if code.is_success() {
        return None;
    }
    Some(match (code.1, code.2) {
        (1, 0 | 1 | 3 | 6) => "The address does not exist there. Please check its spelling.",
        (1, 2) => "The domain of the address does not exist. Please check its spelling.",
        (1, 10) => "The domain of the address accepts no mail.",
        (1, 7 | 8) => "The recipient's server did not accept the address of the sender.",
        (2, 1) => "The mailbox is disabled.",
        (2, 2) => "The mailbox is full.",
        (2, 3) | (3, 4) => "The message is too large for the recipient's server.",
        (3, 1) => "The recipient's server has no room for mail.",
        (4, 1 | 2) => "The recipient's server could not be reached.",
        (4, 3 | 4) => "The recipient's server could not be found in the DNS.",
        (4, 6) => "The message went round in a circle.",
        (4, 7) => "The recipient's server did not accept the message within the time for which delivery is tried.",
        (6, 7) => "The address or the message needs internationalized mail, which the recipient's server does not support.",
        (6, _) => "The form of the message is not supported by the recipient's server.",
        (7, 20..=27) => "The recipient's server could not authenticate the message and refused it.",
        (7, _) => "The recipient's server refused the message as a matter of policy.",
        _ => return None,
    })
}
