//! Domain specifications and their macros (RFC 7208 §7).

use std::net::IpAddr;

/// A domain with macros in it, as a record names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DomainSpec(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Expand {
        letter: Letter,
        /// How many of the last parts are kept; all when absent.
        keep: Option<usize>,
        reverse: bool,
        delimiters: String,
        /// Written with a capital: URL-escaped.
        escape: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    Sender,
    LocalPart,
    SenderDomain,
    Domain,
    Address,
    ValidatedName,
    AddressFamily,
    Helo,
}

/// What the letters stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) address: IpAddr,
    pub(super) local_part: &'a str,
    pub(super) sender_domain: &'a str,
    pub(super) helo: &'a str,
    /// The domain whose record is being read.
    pub(super) domain: &'a str,
    /// `%{p}`.
    pub(super) validated_name: &'a str,
}

impl DomainSpec {
    /// Reads a `domain-spec`: macros, and at the end a top-level label or a macro. `None` when it is malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let spec = Self::parse_macros(text)?;
        let ends_well = match spec.0.last()? {
            // `%%`, `%_` and `%-` are literals here, and macros to the grammar.
            Piece::Literal(_) if text.ends_with("%%") || text.ends_with("%_") || text.ends_with("%-") => true,
            Piece::Literal(literal) => {
                let literal = literal.strip_suffix('.').unwrap_or(literal);
                literal.rsplit_once('.').is_some_and(|(_, label)| is_top_label(label))
            }
            Piece::Expand { .. } => true,
        };
        ends_well.then_some(spec)
    }

    /// Reads a `macro-string`, which may be empty: what unknown modifiers hold.
    pub(super) fn parse_macros(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '%' => match characters.next()? {
                    '%' => literal.push('%'),
                    '_' => literal.push(' '),
                    '-' => literal.push_str("%20"),
                    '{' => {
                        if !literal.is_empty() {
                            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                        }
                        let rest = characters.as_str();
                        let (inside, after) = rest.split_once('}')?;
                        pieces.push(expansion(inside)?);
                        characters = after.chars();
                    }
                    _ => return None,
                },
                '!'..='~' => literal.push(character),
                _ => return None,
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Some(Self(pieces))
    }

    /// Whether `%{p}` is in it, which costs look-ups.
    pub(super) fn needs_validated_name(&self) -> bool {
        self.0.iter().any(|piece| {
            matches!(
                piece,
                Piece::Expand {
                    letter: Letter::ValidatedName,
                    ..
                }
            )
        })
    }

    /// The name it stands for, cut from the left to 253 octets at a dot, without a final dot.
    pub(super) fn expand(&self, values: &Values<'_>) -> String {
        let mut name = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => name.push_str(literal),
                Piece::Expand {
                    letter,
                    keep,
                    reverse,
                    delimiters,
                    escape,
                } => {
                    let value = letter.value(values);
                    let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
                    if *reverse {
                        parts.reverse();
                    }
                    let skip = keep.map_or(0, |keep| parts.len().saturating_sub(keep));
                    let joined = parts[skip..].join(".");
                    if *escape {
                        url_escape(&joined, &mut name);
                    } else {
                        name.push_str(&joined);
                    }
                }
            }
        }
        let mut name = name.strip_suffix('.').unwrap_or(&name);
        while name.len() > 253 {
            match name.split_once('.') {
                Some((_, rest)) => name = rest,
                None => break,
            }
        }
        name.to_owned()
    }
}

impl Letter {
    fn read(letter: char) -> Option<Self> {
        Some(match letter.to_ascii_lowercase() {
            's' => Self::Sender,
            'l' => Self::LocalPart,
            'o' => Self::SenderDomain,
            'd' => Self::Domain,
            'i' => Self::Address,
            'p' => Self::ValidatedName,
            'v' => Self::AddressFamily,
            'h' => Self::Helo,
            _ => return None, // c, r and t belong to explanations
        })
    }

    fn value(self, values: &Values<'_>) -> String {
        match self {
            Self::Sender => format!("{}@{}", values.local_part, values.sender_domain),
            Self::LocalPart => values.local_part.to_owned(),
            Self::SenderDomain => values.sender_domain.to_owned(),
            Self::Domain => values.domain.to_owned(),
            Self::ValidatedName => values.validated_name.to_owned(),
            Self::Helo => values.helo.to_owned(),
            Self::AddressFamily => if values.address.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            Self::Address => match values.address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => {
                    let nibbles = address.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
                    nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
                }
            },
        }
    }
}

/// What stands between the braces: letter, digits, `r`, delimiters.
fn expansion(inside: &str) -> Option<Piece> {
    let mut characters = inside.chars();
    let written = characters.next()?;
    let rest = characters.as_str();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (digits, rest) = rest.split_at(digits);
    let keep = match digits {
        "" => None,
        // A number too big to read keeps everything, as any number beyond the parts does.
        digits => match digits.parse().unwrap_or(usize::MAX) {
            0 => return None,
            keep => Some(keep),
        },
    };
    let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(delimiters) => (true, delimiters),
        None => (false, rest),
    };
    if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
        return None;
    }
    Some(Piece::Expand {
        letter: Letter::read(written)?,
        keep,
        reverse,
        delimiters: if delimiters.is_empty() { "." } else { delimiters }.to_owned(),
        escape: written.is_ascii_uppercase(),
    })
}

fn url_escape(text: &str, to: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            to.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn is_top_label(label: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !label.is_empty()
        && label.chars().all(fine)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, address: &str) -> String {
        DomainSpec::parse_macros(text).unwrap().expand(&Values {
            address: address.parse().unwrap(),
            local_part: "strong-bad",
            sender_domain: "email.example.com",
            helo: "mail.example.net",
            domain: "email.example.com",
            validated_name: "mx.example.org",
        })
    }

    #[test]
    fn the_examples_of_rfc_7208_expand_as_printed_there() {
        for (text, expanded) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            (
                "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}",
                "bad.strong.lp.3.2.0.192.in-addr._spf.example.com",
            ),
            ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
            ("%{S}", "strong-bad%40email.example.com"),
            ("%{p}.%{h}", "mx.example.org.mail.example.net"),
            ("a%%b%_c%-d", "a%b c%20d"),
        ] {
            assert_eq!(expand(text, "192.0.2.3"), expanded, "{text}");
        }
        assert_eq!(
            expand("%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01"),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
        );
    }

    #[test]
    fn what_is_no_domain_specification_is_refused() {
        for text in [
            "", "nodot", "a.b.123", "a.-b", "a.b-", "%{d", "%{x}.a", "%{d0}.a", "%{c}.a", "%{d!}.a", "%", "%a.b", "a b.c", "é.fr", "a..",
            "%{d}x",
        ] {
            assert_eq!(DomainSpec::parse(text), None, "{text}");
        }
        for text in ["a.b", "a.b.", "%{d}", "_spf.%{d2}", "%{l}.a-b.museum", "x.%%"] {
            assert!(DomainSpec::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn a_name_too_long_loses_labels_on_the_left() {
        let label = "a".repeat(63);
        let name = expand(&format!("{label}.{label}.{label}.{label}.example.com"), "192.0.2.3");
        assert_eq!(name, format!("{label}.{label}.{label}.example.com"));
    }
}
