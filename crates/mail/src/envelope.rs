//! The envelope: who gets a message and who hears of its failure, as SMTP carries it (RFC 5321 §2.3.1, DSN: RFC 3461).

use std::fmt;

use crate::address::{Address, AddressError};
use crate::domain::Domain;

/// What MAIL FROM carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: a notification, which must itself never be answered.
    Null,
    /// Where failures are reported.
    Address(Address),
}

impl ReversePath {
    /// Reads what stands between the angle brackets; nothing is [`ReversePath::Null`].
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            Ok(Self::Null)
        } else {
            Address::parse(text).map(Self::Address)
        }
    }

    /// The address, unless this is the null path.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }

    /// Is this `<>`?
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// Without angle brackets; the null path is an empty text.
impl fmt::Display for ReversePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

impl From<Address> for ReversePath {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

/// What RCPT TO carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain, any case (RFC 5321 §4.1.1.3): whoever runs this host.
    Postmaster,
    /// A recipient.
    Address(Address),
}

impl ForwardPath {
    /// Reads what stands between the angle brackets.
    ///
    /// # Errors
    /// As [`Address::parse`]; an empty path is [`AddressError::Empty`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.eq_ignore_ascii_case("postmaster") {
            Ok(Self::Postmaster)
        } else {
            Address::parse(text).map(Self::Address)
        }
    }

    /// The recipient, with `Postmaster` meaning the one of `here`.
    #[must_use]
    pub fn or_postmaster_of(self, here: &Domain) -> Option<Address> {
        match self {
            Self::Address(address) => Some(address),
            Self::Postmaster => Address::new("postmaster", crate::Host::Domain(here.clone())).ok(),
        }
    }
}

/// Without angle brackets.
impl fmt::Display for ForwardPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => formatter.write_str("Postmaster"),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

/// Which reports a sender wants for a recipient (RFC 3461 §4.1). `never` excludes the others; the parser sees to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Notify {
    /// No report at all.
    pub never: bool,
    /// Report delivery.
    pub success: bool,
    /// Report failure.
    pub failure: bool,
    /// Report delay.
    pub delay: bool,
}

/// The value of a NOTIFY parameter is not `NEVER` or a list of `SUCCESS`, `FAILURE`, `DELAY` without repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("NOTIFY takes NEVER alone, or SUCCESS, FAILURE and DELAY each once")]
pub struct NotifyError;

impl Notify {
    /// Reads the value of a NOTIFY parameter.
    ///
    /// # Errors
    /// [`NotifyError`].
    pub fn parse(text: &str) -> Result<Self, NotifyError> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(Self {
                never: true,
                ..Self::default()
            });
        }
        let mut notify = Self::default();
        for word in text.split(',') {
            let wanted = if word.eq_ignore_ascii_case("SUCCESS") {
                &mut notify.success
            } else if word.eq_ignore_ascii_case("FAILURE") {
                &mut notify.failure
            } else if word.eq_ignore_ascii_case("DELAY") {
                &mut notify.delay
            } else {
                return Err(NotifyError);
            };
            if std::mem::replace(wanted, true) {
                return Err(NotifyError);
            }
        }
        Ok(notify)
    }

    /// The form in which it is stored: never 1, success 2, failure 4, delay 8.
    #[must_use]
    pub fn to_bits(self) -> u8 {
        u8::from(self.never) | u8::from(self.success) << 1 | u8::from(self.failure) << 2 | u8::from(self.delay) << 3
    }

    /// Reverses [`Notify::to_bits`]. `None` for no bits, unknown bits, or `never` with company.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        if bits == 0 || bits > 15 || (bits & 1 != 0 && bits != 1) {
            return None;
        }
        Some(Self {
            never: bits & 1 != 0,
            success: bits & 2 != 0,
            failure: bits & 4 != 0,
            delay: bits & 8 != 0,
        })
    }
}

/// The value of a NOTIFY parameter.
impl fmt::Display for Notify {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.never {
            return formatter.write_str("NEVER");
        }
        let mut separator = "";
        for (wanted, word) in [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")] {
            if wanted {
                write!(formatter, "{separator}{word}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

/// One recipient and the sender's wishes about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Where to deliver.
    pub address: Address,
    /// NOTIFY; `None`: not said, which means failure and perhaps delay.
    pub notify: Option<Notify>,
    /// ORCPT, decoded, with its type: `rfc822;someone@example.org`.
    pub original_recipient: Option<String>,
}

impl Recipient {
    /// A recipient about whom the sender said nothing more.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            notify: None,
            original_recipient: None,
        }
    }
}

/// Everything SMTP says about a message apart from its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// MAIL FROM.
    pub sender: ReversePath,
    /// RCPT TO, in order.
    pub recipients: Vec<Recipient>,
    /// ENVID, decoded.
    pub envelope_id: Option<String>,
    /// RET=HDRS: reports carry the header alone.
    pub headers_only: bool,
    /// SMTPUTF8 was declared.
    pub smtputf8: bool,
    /// BODY=8BITMIME was declared.
    pub eight_bit_declared: bool,
}

impl Envelope {
    /// An envelope without any of the extensions' wishes.
    #[must_use]
    pub fn new(sender: ReversePath, recipients: Vec<Recipient>) -> Self {
        Self {
            sender,
            recipients,
            envelope_id: None,
            headers_only: false,
            smtputf8: false,
            eight_bit_declared: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_know_their_two_special_cases() {
        assert_eq!(ReversePath::parse(""), Ok(ReversePath::Null));
        assert_eq!(ReversePath::Null.to_string(), "");
        assert_eq!(ForwardPath::parse("postMASTER"), Ok(ForwardPath::Postmaster));
        assert_eq!(ForwardPath::parse(""), Err(AddressError::Empty));
        let here = Domain::parse("example.org").unwrap();
        assert_eq!(
            ForwardPath::Postmaster.or_postmaster_of(&here).unwrap().to_string(),
            "postmaster@example.org"
        );
    }

    #[test]
    fn never_stands_alone_and_no_word_comes_twice() {
        assert_eq!(Notify::parse("success,DELAY").unwrap().to_string(), "SUCCESS,DELAY");
        assert_eq!(Notify::parse("never").unwrap().to_string(), "NEVER");
        for wrong in [
            "",
            "NEVER,SUCCESS",
            "SUCCESS,NEVER",
            "SUCCESS,SUCCESS",
            "SUCCESS,",
            ",",
            "ALWAYS",
            "SUCCESS, DELAY",
        ] {
            assert_eq!(Notify::parse(wrong), Err(NotifyError), "{wrong}");
        }
    }

    #[test]
    fn bits_and_words_say_the_same() {
        let valid: Vec<u8> = (0..=255).filter(|bits| Notify::from_bits(*bits).is_some()).collect();
        assert_eq!(valid, [1, 2, 4, 6, 8, 10, 12, 14]);
        for bits in valid {
            let notify = Notify::from_bits(bits).unwrap();
            assert_eq!(notify.to_bits(), bits);
            assert_eq!(Notify::parse(&notify.to_string()), Ok(notify));
        }
    }
}
