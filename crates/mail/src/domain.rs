//! Domain names as mail uses them.
//!
//! A [`Domain`] is always lower case and in A-label (ASCII) form, so that two spellings of one name compare equal and the
//! value can be handed to DNS as it is. It says nothing of whether the name exists.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Octets a domain may have (RFC 5321 §4.5.3.1.2).
pub const MAX_DOMAIN_OCTETS: usize = 255;
/// Octets one label may have (RFC 1035 §2.3.4).
pub const MAX_LABEL_OCTETS: usize = 63;

/// Why a text is not a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Nothing there, or only a dot.
    #[error("the domain is empty")]
    Empty,
    /// More than 255 octets as A-labels.
    #[error("the domain is longer than 255 octets")]
    TooLong,
    /// A label is empty, longer than 63 octets, or begins or ends with a hyphen.
    #[error("a label of the domain is empty, too long, or begins or ends with a hyphen")]
    Label,
    /// A character that no host name has: a space, a control, a bracket, an `@`…
    #[error("the domain contains a character that is not allowed")]
    Character,
    /// The last label is a number: this is an IP address without its brackets, which RFC 5321 §4.1.3 requires.
    #[error("an IP address must be written in brackets")]
    BareIpAddress,
    /// Not a valid internationalized name (UTS 46).
    #[error("the domain is not a valid internationalized name")]
    Internationalized,
}

/// A domain name: lower-case A-labels without a trailing dot, at most 255 octets.
///
/// A single label such as `localhost` is a domain. One trailing dot is removed, underscores are let through because hosts
/// that carry them exist and send mail; U-labels are converted by UTS 46.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Box<str>);

impl Domain {
    /// Reads a name, whatever its case, as A-labels or U-labels, with or without the root's dot.
    ///
    /// # Errors
    /// [`DomainError`] names the first thing wrong with it.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(DomainError::Empty);
        }
        // A U-label takes at most four octets a character and never shrinks below one octet each, so this bounds the work.
        if text.len() > MAX_DOMAIN_OCTETS * 4 {
            return Err(DomainError::TooLong);
        }
        let ascii: Cow<'_, str> = if text.is_ascii() && !has_encoded_label(text) {
            if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                Cow::Owned(text.to_ascii_lowercase())
            } else {
                Cow::Borrowed(text)
            }
        } else {
            if text.chars().any(|character| character.is_ascii() && !is_name_character(character)) {
                return Err(DomainError::Character);
            }
            Uts46::new()
                .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
                .map_err(|_| DomainError::Internationalized)?
        };
        check(&ascii)?;
        Ok(Self(ascii.into()))
    }

    /// The name in A-labels, lower case, no trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a person reads it: U-labels where they decode, A-labels otherwise.
    #[must_use]
    pub fn to_unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }

    /// The labels from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// The name without its first label; `None` for a single label.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.split_once('.').map(|(_, rest)| Self(rest.into()))
    }

    /// Is this the same name as `other` or one below it?
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0
            .strip_suffix(&*other.0)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

fn has_encoded_label(text: &str) -> bool {
    text.split('.')
        .any(|label| label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--")))
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

fn check(ascii: &str) -> Result<(), DomainError> {
    if !ascii.chars().all(is_name_character) {
        return Err(DomainError::Character);
    }
    if ascii.is_empty() {
        return Err(DomainError::Empty);
    }
    if ascii.len() > MAX_DOMAIN_OCTETS {
        return Err(DomainError::TooLong);
    }
    let mut last = "";
    for label in ascii.split('.') {
        if label.is_empty() || label.len() > MAX_LABEL_OCTETS || label.starts_with('-') || label.ends_with('-') {
            return Err(DomainError::Label);
        }
        last = label;
    }
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DomainError::BareIpAddress);
    }
    Ok(())
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Domain({})", self.0)
    }
}

impl AsRef<str> for Domain {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_spelling_becomes_the_one_lower_case_ascii_form() {
        for (written, kept) in [
            ("example.org", "example.org"),
            ("EXAMPLE.Org", "example.org"),
            ("example.org.", "example.org"),
            ("localhost", "localhost"),
            ("under_score.example", "under_score.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("1.example", "1.example"),
        ] {
            assert_eq!(
                Domain::parse(written).map(|domain| domain.to_string()),
                Ok(kept.to_owned()),
                "{written}"
            );
        }
    }

    #[test]
    fn what_is_no_domain_is_refused_with_its_reason() {
        use DomainError::{BareIpAddress, Character, Empty, Internationalized, Label};
        for (written, reason) in [
            ("", Empty),
            (".", Empty),
            ("..", Label),
            ("a..b", Label),
            (".a", Label),
            ("a.example..", Label),
            ("-a.example", Label),
            ("a-.example", Label),
            ("a b.example", Character),
            ("other.example(comment)", Character),
            ("a\0.example", Character),
            ("a\r\n.example", Character),
            ("a@b.example", Character),
            ("bü cher.example", Character),
            ("192.0.2.1", BareIpAddress),
            ("example.7", BareIpAddress),
            ("xn--a.example", Internationalized),
            ("\u{2028}.example", Internationalized),
        ] {
            assert_eq!(Domain::parse(written), Err(reason), "{written:?}");
        }
    }

    #[test]
    fn the_limits_of_labels_and_names_are_exact() {
        let label = "a".repeat(63);
        assert!(Domain::parse(&label).is_ok());
        assert_eq!(Domain::parse(&"a".repeat(64)), Err(DomainError::Label));
        let name = format!("{label}.{label}.{label}.{label}");
        assert_eq!(name.len(), 255);
        assert!(Domain::parse(&name).is_ok());
        assert_eq!(
            Domain::parse(&format!("{label}.{label}.{label}.{}.a.a", "a".repeat(60))),
            Err(DomainError::TooLong)
        );
        assert_eq!(Domain::parse(&"ü".repeat(5000)), Err(DomainError::TooLong));
    }

    #[test]
    fn a_subdomain_is_within_its_parent_and_a_lookalike_is_not() {
        let parent = Domain::parse("example.org").unwrap();
        assert!(Domain::parse("example.org").unwrap().is_within(&parent));
        assert!(Domain::parse("a.b.example.org").unwrap().is_within(&parent));
        assert!(!Domain::parse("notexample.org").unwrap().is_within(&parent));
        assert!(!Domain::parse("org").unwrap().is_within(&parent));
        assert_eq!(parent.parent().unwrap().as_str(), "org");
        assert_eq!(Domain::parse("org").unwrap().parent(), None);
        assert_eq!(Domain::parse("xn--bcher-kva.example").unwrap().to_unicode(), "bücher.example");
    }
}
