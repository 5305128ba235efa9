//! Mail addresses: RFC 5321 `Mailbox`, extended by RFC 6531 to UTF-8.
//!
//! Strict on purpose: no comments, no blanks, no obsolete forms, no control characters. A source route is recognised and
//! refused as such, because it is a question that only open relays answer. `victim%other@here` and `other!victim@here` are plain
//! local parts: what a `%` or `!` means is for the caller, and the only safe meaning is none.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::domain::{Domain, DomainError};

/// Octets a local part may have, as rendered (RFC 5321 §4.5.3.1.1).
pub const MAX_LOCAL_PART_OCTETS: usize = 64;
/// Octets an address may have so that the path `<address>` has 256 (RFC 5321 §4.5.3.1.3, which counts the punctuation).
pub const MAX_ADDRESS_OCTETS: usize = 254;

/// Why a text is not an address that can be mailed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing there.
    #[error("the address is empty")]
    Empty,
    /// No `@` after the local part.
    #[error("the address has no @ after its local part")]
    MissingAt,
    /// The local part has no characters, as in `@example.org` or `""@example.org`.
    #[error("the local part is empty")]
    LocalPartEmpty,
    /// The local part is longer than 64 octets.
    #[error("the local part is longer than 64 octets")]
    LocalPartTooLong,
    /// The local part holds a character it may not hold, or a dot in the wrong place.
    #[error("the local part contains a character or dot that is not allowed there")]
    LocalPart,
    /// A quotation mark that is not closed, or is followed by something other than `@`.
    #[error("the quoted local part is not well formed")]
    Quoting,
    /// CR, LF, NUL or another control character anywhere.
    #[error("the address contains a control character")]
    ControlCharacter,
    /// The right side is not a domain.
    #[error("{0}")]
    Domain(#[from] DomainError),
    /// The right side begins with `[` and is not `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    #[error("the address literal is not well formed")]
    Literal,
    /// The path would exceed 256 octets.
    #[error("the address is longer than 254 octets")]
    TooLong,
    /// `@a,@b:user@c`: well formed, obsolete, and refused (RFC 5321 Appendix C allows that).
    #[error("source routes are not accepted")]
    SourceRoute,
}

/// The right side of an address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Host {
    /// A name.
    Domain(Domain),
    /// An address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3).
    Literal(IpAddr),
}

impl Host {
    /// Reads a domain or an address literal, as it stands after the `@` of an address or as the argument of EHLO.
    ///
    /// # Errors
    /// [`AddressError::Literal`] or [`AddressError::Domain`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let Some(rest) = text.strip_prefix('[') else {
            return Ok(Self::Domain(Domain::parse(text)?));
        };
        let inner = rest.strip_suffix(']').ok_or(AddressError::Literal)?;
        let address = match inner.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inner[5..].parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
            _ => inner.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
        };
        address.map(Self::Literal).ok_or(AddressError::Literal)
    }

    /// The name, when it is one.
    #[must_use]
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Self::Domain(domain) => Some(domain),
            Self::Literal(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => formatter.write_str(domain.as_str()),
            Self::Literal(IpAddr::V4(address)) => write!(formatter, "[{address}]"),
            Self::Literal(IpAddr::V6(address)) => write!(formatter, "[IPv6:{address}]"),
        }
    }
}

/// A mail address. The local part is kept unquoted and in its own case, so `"abc"@d` equals `abc@d`, and `Abc@d` does not:
/// look-ups that fold case use [`Address::folded`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local_part: Box<str>,
    host: Host,
}

impl Address {
    /// Reads an address without its angle brackets. UTF-8 in the local part is accepted (RFC 6531): a caller whose client did
    /// not say SMTPUTF8 asks [`Address::is_ascii`].
    ///
    /// # Errors
    /// [`AddressError`]; [`AddressError::SourceRoute`] is reported only for a well-formed route.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.chars().any(is_control) {
            return Err(AddressError::ControlCharacter);
        }
        if text.starts_with('@') {
            return Err(match source_route(text) {
                Some(_) => AddressError::SourceRoute,
                None => AddressError::LocalPartEmpty,
            });
        }
        let (local_part, host) = if let Some(quoted) = text.strip_prefix('"') {
            let (content, rest) = unquote(quoted)?;
            let host = match rest.strip_prefix('@') {
                Some(host) => host,
                None if rest.is_empty() => return Err(AddressError::MissingAt),
                None => return Err(AddressError::Quoting),
            };
            (content.into_boxed_str(), host)
        } else {
            let (local_part, host) = text.split_once('@').ok_or(AddressError::MissingAt)?;
            if local_part.len() <= MAX_LOCAL_PART_OCTETS && !is_dot_string(local_part) {
                return Err(AddressError::LocalPart);
            }
            (local_part.into(), host)
        };
        Self {
            local_part,
            host: Host::parse(host)?,
        }
        .within_limits()
    }

    /// Puts together an address from a local part as people think of it (no quoting) and a host.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn new(local_part: &str, host: Host) -> Result<Self, AddressError> {
        if local_part.chars().any(is_control) {
            return Err(AddressError::ControlCharacter);
        }
        Self {
            local_part: local_part.into(),
            host,
        }
        .within_limits()
    }

    fn within_limits(self) -> Result<Self, AddressError> {
        if self.local_part.is_empty() {
            return Err(AddressError::LocalPartEmpty);
        }
        let quoting = if is_dot_string(&self.local_part) {
            0
        } else {
            2 + self.local_part.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
        };
        let local_part = self.local_part.len() + quoting;
        if local_part > MAX_LOCAL_PART_OCTETS {
            return Err(AddressError::LocalPartTooLong);
        }
        let host = match &self.host {
            Host::Domain(domain) => domain.as_str().len(),
            literal @ Host::Literal(_) => literal.to_string().len(),
        };
        if local_part + 1 + host > MAX_ADDRESS_OCTETS {
            return Err(AddressError::TooLong);
        }
        Ok(self)
    }

    /// The local part, without quoting.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// The right side.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The domain, when the right side is one.
    #[must_use]
    pub fn domain(&self) -> Option<&Domain> {
        self.host.domain()
    }

    /// Can this address be used without SMTPUTF8? (The domain always can: it is kept as A-labels.)
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local_part.is_ascii()
    }

    /// The key by which addresses are looked up and kept apart: the rendered form in lower case. Local parts are thus folded in
    /// every look-up of ours, though what is sent keeps the case it came with (RFC 5321 §2.4).
    #[must_use]
    pub fn folded(&self) -> String {
        self.to_string().to_lowercase()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        if is_dot_string(&self.local_part) {
            formatter.write_str(&self.local_part)?;
        } else {
            formatter.write_char('"')?;
            for character in self.local_part.chars() {
                if matches!(character, '"' | '\\') {
                    formatter.write_char('\\')?;
                }
                formatter.write_char(character)?;
            }
            formatter.write_char('"')?;
        }
        write!(formatter, "@{}", self.host)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({self})")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Controls of ASCII and Latin-1, and the two characters that Unicode says break a line.
fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// RFC 5322 `atext`, and RFC 6531's UTF-8.
fn is_atext(character: char) -> bool {
    character.is_ascii_alphanumeric() || !character.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(character)
}

fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// The content of a quoted string whose opening mark is already taken, and what follows the closing one.
fn unquote(text: &str) -> Result<(String, &str), AddressError> {
    let mut content = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((content, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, quoted)) if quoted.is_ascii() => content.push(quoted),
                _ => return Err(AddressError::Quoting),
            },
            other => content.push(other),
        }
    }
    Err(AddressError::Quoting)
}

/// The address at the end of a well-formed source route, `@a,@b:user@c` (RFC 5321 §4.1.2 `A-d-l`).
fn source_route(text: &str) -> Option<Address> {
    let (route, mailbox) = text.split_once(':')?;
    let hops = route
        .split(',')
        .all(|hop| hop.strip_prefix('@').is_some_and(|domain| Domain::parse(domain).is_ok()));
    if hops && !mailbox.starts_with('@') {
        Address::parse(mailbox).ok()
    } else {
        None
    }
}
