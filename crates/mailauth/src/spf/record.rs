//! What a record says (RFC 7208 §4.5, §4.6, §5, §6): a pure reader. A mistake anywhere makes the whole record unusable.

use super::macros::DomainSpec;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(DomainSpec),
    /// The domain is the record's own when absent, here and below.
    A(Option<DomainSpec>, Prefixes),
    Mx(Option<DomainSpec>, Prefixes),
    Ptr(Option<DomainSpec>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(DomainSpec),
}

/// How many leading bits of an address must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

impl Prefixes {
    pub(super) fn agree(self, one: IpAddr, other: IpAddr) -> bool {
        match (one, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => same_v4(one, other, self.v4),
            (IpAddr::V6(one), IpAddr::V6(other)) => same_v6(one, other, self.v6),
            _ => false,
        }
    }
}

pub(super) fn same_v4(one: Ipv4Addr, other: Ipv4Addr, bits: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    (one.to_bits() ^ other.to_bits()) & mask == 0
}

pub(super) fn same_v6(one: Ipv6Addr, other: Ipv6Addr, bits: u8) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    (one.to_bits() ^ other.to_bits()) & mask == 0
}

/// A record without mistakes. Explanations (`exp=`) are checked and forgotten: we never repeat a stranger's words in a reply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Record {
    pub(super) directives: Vec<(Qualifier, Mechanism)>,
    pub(super) redirect: Option<DomainSpec>,
}

/// Whether a text is an SPF record at all: another version is none.
pub(super) fn is_record(text: &str) -> bool {
    let version = text.as_bytes().get(..6);
    version.is_some_and(|version| version.eq_ignore_ascii_case(b"v=spf1")) && matches!(text.as_bytes().get(6), None | Some(b' '))
}

impl Record {
    /// Reads a text for which [`is_record`] holds; `None` when it has a mistake.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut record = Self::default();
        let mut explained = false;
        for term in text.get(6..)?.split(' ').filter(|term| !term.is_empty()) {
            if let Some((name, value)) = modifier(term) {
                match name.to_ascii_lowercase().as_str() {
                    "redirect" if record.redirect.is_none() => record.redirect = Some(DomainSpec::parse(value)?),
                    "exp" if !explained => {
                        DomainSpec::parse(value)?;
                        explained = true;
                    }
                    "redirect" | "exp" => return None,
                    _ => {
                        DomainSpec::parse_macros(value)?;
                    }
                }
            } else {
                record.directives.push(directive(term)?);
            }
        }
        Some(record)
    }
}

fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let fine = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    fine.then_some((name, value))
}

fn directive(term: &str) -> Option<(Qualifier, Mechanism)> {
    let (qualifier, term) = match term.as_bytes().first()? {
        b'+' => (Qualifier::Pass, &term[1..]),
        b'-' => (Qualifier::Fail, &term[1..]),
        b'~' => (Qualifier::SoftFail, &term[1..]),
        b'?' => (Qualifier::Neutral, &term[1..]),
        _ => (Qualifier::Pass, term),
    };
    let (name, rest) = term.split_at(term.find([':', '/']).unwrap_or(term.len()));
    let argument = rest.strip_prefix(':');
    let mechanism = match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(DomainSpec::parse(argument?)?),
        "exists" => Mechanism::Exists(DomainSpec::parse(argument?)?),
        "ptr" if rest.is_empty() => Mechanism::Ptr(None),
        "ptr" => Mechanism::Ptr(Some(DomainSpec::parse(argument?)?)),
        "a" => {
            let (domain, prefixes) = domain_and_prefixes(rest)?;
            Mechanism::A(domain, prefixes)
        }
        "mx" => {
            let (domain, prefixes) = domain_and_prefixes(rest)?;
            Mechanism::Mx(domain, prefixes)
        }
        "ip4" => {
            let (address, bits) = network(argument?, 32)?;
            Mechanism::Ip4(address.parse().ok()?, bits)
        }
        "ip6" => {
            let (address, bits) = network(argument?, 128)?;
            Mechanism::Ip6(address.parse().ok()?, bits)
        }
        _ => return None,
    };
    Some((qualifier, mechanism))
}

fn network(text: &str, whole: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((address, bits)) => Some((address, prefix(bits, whole)?)),
        None => Some((text, whole)),
    }
}

/// `[":" domain-spec] ["/" bits] ["//" bits]`.
fn domain_and_prefixes(rest: &str) -> Option<(Option<DomainSpec>, Prefixes)> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut prefixes = Prefixes { v4: 32, v6: 128 };
    let mut rest = rest;
    if let Some((before, bits)) = rest.rsplit_once("//").filter(|(_, bits)| is_number(bits)) {
        prefixes.v6 = prefix(bits, 128)?;
        rest = before;
    }
    if let Some((before, bits)) = rest.rsplit_once('/').filter(|(_, bits)| is_number(bits)) {
        prefixes.v4 = prefix(bits, 32)?;
        rest = before;
    }
    let domain = match rest {
        "" => None,
        rest => Some(DomainSpec::parse(rest.strip_prefix(':')?)?),
    };
    Some((domain, prefixes))
}

fn prefix(text: &str, most: u8) -> Option<u8> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|bits| plain && *bits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_makes_the_record_unusable() {
        for text in [
            "v=spf1 ipv4:192.0.2.1",
            "v=spf1 ip4:192.0.2.1/33",
            "v=spf1 ip4:192.0.2.1/08",
            "v=spf1 ip4:192.0.2",
            "v=spf1 ip4:192.0.2.1/",
            "v=spf1 ip4",
            "v=spf1 ip6:2001:db8::/129",
            "v=spf1 a:",
            "v=spf1 a:/24",
            "v=spf1 a/33",
            "v=spf1 a//129",
            "v=spf1 a:example.com:8080",
            "v=spf1 mx:foo..com/24/",
            "v=spf1 all.",
            "v=spf1 all:x.test",
            "v=spf1 include",
            "v=spf1 include:",
            "v=spf1 exists",
            "v=spf1 redirect=a.test redirect=b.test",
            "v=spf1 exp=a.test exp=b.test",
            "v=spf1 redirect=",
            "v=spf1 moo=%{x}",
            "v=spf1 -all\u{fffd}",
            "v=spf1 !all",
        ] {
            assert!(is_record(text), "{text}");
            assert_eq!(Record::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_grammar_allows_is_read() {
        let record =
            Record::parse("V=SPF1  A/24//64 mx:mail.test/16 ~ip4:192.0.2.0/24 ?IP6:2001:db8::/32 ptr:x.test -all a.b-c=%{d} ").unwrap();
        assert_eq!(record.directives.len(), 6);
        assert_eq!(record.directives[0].1, Mechanism::A(None, Prefixes { v4: 24, v6: 64 }));
        assert_eq!(
            record.directives[2],
            (Qualifier::SoftFail, Mechanism::Ip4("192.0.2.0".parse().unwrap(), 24))
        );
        assert_eq!(record.directives[5], (Qualifier::Fail, Mechanism::All));
        assert!(!is_record("v=spf10 -all") && !is_record("v=spf") && !is_record("spf2.0/pra"));
    }

    #[test]
    fn prefixes_count_bits() {
        let [one, other] = ["192.0.2.1", "192.0.3.1"].map(|text| text.parse().unwrap());
        assert!(same_v4(one, other, 23) && !same_v4(one, other, 24) && same_v4(one, other, 0) && !same_v4(one, other, 32));
        let [one, other] = ["2001:db8::1", "2001:db9::1"].map(|text| text.parse().unwrap());
        assert!(same_v6(one, other, 31) && !same_v6(one, other, 32) && same_v6(one, other, 0) && same_v6(one, one, 128));
    }
}
