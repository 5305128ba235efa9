//! MAIL and RCPT as a peer with these extensions may be told them.

use std::fmt::Write as _;

use mail::Recipient;
use mail::quote::xtext_encode;

use super::extensions::Extensions;
use super::transaction::Transaction;

/// The command lines of one transaction.
pub(super) struct Commands {
    /// MAIL, with its CRLF.
    pub(super) mail: String,
    dsn: bool,
}

impl Commands {
    pub(super) fn new(extensions: &Extensions, transaction: &Transaction<'_>, eight_bit: bool, octets: usize) -> Self {
        let mut mail = format!("MAIL FROM:<{}>", transaction.sender);
        // Writing to a String cannot fail.
        if extensions.size.is_some() {
            let _ = write!(mail, " SIZE={octets}");
        }
        if eight_bit {
            mail.push_str(" BODY=8BITMIME");
        }
        let beyond_ascii = transaction.smtputf8
            || transaction.sender.address().is_some_and(|address| !address.is_ascii())
            || transaction.recipients.iter().any(|recipient| !recipient.address.is_ascii());
        if extensions.smtputf8 && beyond_ascii {
            mail.push_str(" SMTPUTF8");
        }
        if extensions.dsn {
            if transaction.headers_only {
                mail.push_str(" RET=HDRS");
            }
            if let Some(id) = transaction.envelope_id {
                let _ = write!(mail, " ENVID={}", xtext_encode(id));
            }
        }
        mail.push_str("\r\n");
        Self { mail, dsn: extensions.dsn }
    }

    /// Adds RCPT for one recipient.
    pub(super) fn rcpt(&self, recipient: &Recipient, lines: &mut String) {
        let _ = write!(lines, "RCPT TO:<{}>", recipient.address);
        if self.dsn {
            if let Some(notify) = recipient.notify {
                let _ = write!(lines, " NOTIFY={notify}");
            }
            if let Some((kind, address)) = recipient
                .original_recipient
                .as_deref()
                .and_then(|original| original.split_once(';'))
            {
                let _ = write!(lines, " ORCPT={kind};{}", xtext_encode(address));
            }
        }
        lines.push_str("\r\n");
    }
}
