//! Reports about mail: delivery status notifications (RFC 3464, RFC 6533) and complaints (RFC 5965).
//!
//! [`parse`] reads what the world really sends; [`write()`] writes by the book; [`private_view`] is what an author may know of forwarded
//! mail. Whether a report is to be believed is for the
//! caller: only the return path it came to ties it to something we sent.

mod explain;
mod informal;
mod private;
mod read;
mod write;

use std::fmt;

pub use private::{Privacy, PrivateRecipient, as_sent, private_outcome, private_view, scrub_diagnostic};
pub use read::parse;
pub use write::{Dsn, MAX_ORIGINAL_OCTETS, Original, ReportedRecipient, write};

use crate::address::Address;
use crate::status::EnhancedCode;

/// What a report is about, taken as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Delivery to at least one recipient has failed for good.
    Failure,
    /// Nothing has failed yet, at least one delivery takes longer.
    Delay,
    /// Everything the report speaks of was delivered, relayed or expanded.
    Success,
    /// A recipient complained (feedback loop, RFC 5965).
    Complaint,
}

/// What happened to a recipient (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Given up.
    Failed,
    /// Still being tried.
    Delayed,
    /// In the mailbox.
    Delivered,
    /// Handed to a system that sends no reports of success.
    Relayed,
    /// Handed to a list or an alias with several members.
    Expanded,
}

impl Action {
    /// The word of the RFC.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A report that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it is about.
    pub kind: Kind,
    /// One entry for each recipient it speaks of. A complaint may name none; whom it names got the message, so the action is `delivered`.
    pub recipients: Vec<ReportRecipient>,
    /// The host that made the report.
    pub reporting_mta: Option<String>,
    /// The ENVID of the message as the report spells it.
    pub envelope_id: Option<String>,
    /// What a complaint says beyond that.
    pub complaint: Option<Complaint>,
    /// The header of the message that is reported on, when it was returned; at most 64 KiB.
    pub original_header: Option<Vec<u8>>,
}

impl Report {
    /// The Message-ID of the message that is reported on, angle brackets included.
    #[must_use]
    pub fn original_message_id(&self) -> Option<String> {
        let headers = crate::header::Headers::scan(self.original_header.as_deref()?);
        headers.first("Message-ID").map(|field| crate::header::unfold(field.value))
    }
}

/// What a report says of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRecipient {
    /// The recipient as the reporting host knew it. `None` when it is not an Internet address.
    pub final_recipient: Option<Address>,
    /// The recipient as the sender gave it, when the report repeats that.
    pub original_recipient: Option<Address>,
    /// What happened.
    pub action: Action,
    /// The most precise enhanced code the report contains for it.
    pub status: Option<EnhancedCode>,
    /// The SMTP reply code in the diagnostic.
    pub reply_code: Option<u16>,
    /// The diagnostic without its type, on one line, at most 1,000 characters.
    pub diagnostic: Option<String>,
    /// The host that said so.
    pub remote_mta: Option<String>,
}

impl ReportRecipient {
    /// The address that is most likely one the sender used.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        self.original_recipient.as_ref().or(self.final_recipient.as_ref())
    }
}

/// What a feedback report says (RFC 5965 §3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Complaint {
    /// `abuse`, `fraud`, `virus`, `not-spam`, `other`…, in lower case.
    pub feedback_type: String,
    /// The program that made the report.
    pub user_agent: Option<String>,
    /// The MAIL FROM of the message complained of.
    pub original_mail_from: Option<Address>,
    /// The address from which the complaining side got it.
    pub source_ip: Option<std::net::IpAddr>,
}
