//! Names that may be sent to a DNS server.

use std::{fmt, net::IpAddr};

/// The text is not a name that DNS could hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a domain name")]
pub struct InvalidName;

/// A fully qualified name: lower-case A-labels of letters, digits, `-` and `_`, no final dot, at most 253 octets.
///
/// Underscores are allowed because service names (`_dmarc`) use them. No control characters, no NUL, no escapes (ASSURANCE N12).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

impl Name {
    /// Reads a name; capitals, one final dot and U-labels are accepted.
    ///
    /// # Errors
    /// [`InvalidName`], also for the root and for an IP address.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > 1024 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(InvalidName);
        }
        let ascii = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(text).map_err(|_| InvalidName)?
        };
        let fine = ascii.len() <= 253 && ascii.split('.').all(is_label) && ascii.parse::<IpAddr>().is_err();
        if fine { Ok(Self(ascii.into())) } else { Err(InvalidName) }
    }

    /// The text, without the final dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name under which an address's own name is published (RFC 1035 §3.5, RFC 3596 §2.5).
#[must_use]
pub fn reverse(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_dns_could_hold_are_names() {
        for (text, name) in [
            ("Example.ORG.", Some("example.org")),
            ("_dmarc.example.org", Some("_dmarc.example.org")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("localhost", Some("localhost")),
            ("", None),
            (".", None),
            ("a..b", None),
            (".a", None),
            ("a..", None),
            ("a b.test", None),
            ("a\0.test", None),
            ("a\r\n.test", None),
            ("a\\000.test", None),
            ("a/b.test", None),
            ("127.0.0.1", None),
            ("[127.0.0.1]", None),
            ("::1", None),
        ] {
            assert_eq!(Name::parse(text).ok().as_ref().map(Name::as_str), name, "{text:?}");
        }
        let label = "a".repeat(63);
        assert!(Name::parse(&label).is_ok() && Name::parse(&format!("{label}a")).is_err());
        let long = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert!(Name::parse(&long).is_ok() && Name::parse(&format!("{long}a")).is_err());
    }

    #[test]
    fn addresses_have_reverse_names() {
        assert_eq!(reverse("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa");
        let v6 = reverse("2001:db8::1".parse().unwrap());
        assert!(v6.starts_with("1.0.0.0.") && v6.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"), "{v6}");
        assert!(Name::parse(&v6).is_ok());
    }
}
