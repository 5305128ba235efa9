//! Our own trace field of forwarded mail, by which a message that comes round again is recognised:
//! `Postroad-Forwarded: by <host>; for <the alias's address>`.
//!
//! Anybody can write such a field; all that is to be gained is that one's own mail is taken for a loop. The field names the
//! alias, never where its mail goes.

use super::{Headers, unfold};
use crate::address::Address;

/// The field's name.
pub const NAME: &str = "Postroad-Forwarded";
/// Fields whose alias is read. More are counted and nothing else: such a message is refused for their number.
const MAX_READ: usize = 64;

/// How often a message was forwarded by installations of this software, and for which aliases.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hops {
    /// All trace fields.
    pub total: usize,
    aliases: Vec<String>,
}

impl Hops {
    /// How often the message already passed this alias, whatever the case of its address.
    #[must_use]
    pub fn seen(&self, alias: &Address) -> usize {
        let wanted = key(alias);
        self.aliases.iter().filter(|known| **known == wanted).count()
    }
}

/// The finished field: ASCII, folded, ending in CRLF. Characters of the host name that no name has are replaced.
#[must_use]
pub fn write(hostname: &str, alias: &Address) -> String {
    let host: String = hostname
        .chars()
        .take(255)
        .map(|character| {
            if character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | ':' | '[' | ']') {
                character
            } else {
                '?'
            }
        })
        .collect();
    format!("{NAME}: by {host};\r\n\tfor <{}>\r\n", key(alias))
}

/// Counts the trace fields in a message's header.
#[must_use]
pub fn count(raw: &[u8]) -> Hops {
    let mut hops = Hops::default();
    for field in Headers::scan(raw).iter().filter(|field| field.is(NAME)) {
        hops.total += 1;
        if hops.total > MAX_READ {
            continue;
        }
        let value = unfold(field.value);
        let alias = value
            .split_once(';')
            .and_then(|(_, rest)| rest.trim().strip_prefix("for"))
            .and_then(|rest| rest.trim().strip_prefix('<'))
            .and_then(|rest| rest.strip_suffix('>'));
        hops.aliases.extend(alias.map(str::to_lowercase));
    }
    hops
}

/// The address in lower case, other than ASCII as in RFC 6533 §3: the field must not be what makes a message need SMTPUTF8.
fn key(alias: &Address) -> String {
    let folded = alias.folded();
    if folded.is_ascii() {
        return folded;
    }
    folded
        .chars()
        .map(|character| {
            if character.is_ascii() {
                character.to_string()
            } else {
                format!("\\x{{{:x}}}", u32::from(character))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn each_pass_is_counted_and_known_by_its_alias() {
        let (ping, pong) = (address("Ping@mine.test"), address("pong@mine.test"));
        let raw = [
            write("mx.mine.test", &ping),
            write("mx.mine.test", &pong),
            write("mx.mine.test", &address("ping@MINE.test")),
            "From: a@b.test\r\n\r\nPostroad-Forwarded: by body; for <ping@mine.test>\r\n".to_owned(),
        ]
        .concat();
        let hops = count(raw.as_bytes());
        assert_eq!((hops.total, hops.seen(&ping), hops.seen(&pong)), (3, 2, 1));
        assert_eq!(hops.seen(&address("other@mine.test")), 0);
        assert_eq!(
            write("mx.mine.test", &pong),
            "Postroad-Forwarded: by mx.mine.test;\r\n\tfor <pong@mine.test>\r\n"
        );
    }

    #[test]
    fn what_is_refolded_or_odd_on_the_way_still_counts() {
        let raw = b"POSTROAD-FORWARDED: by x;  for\r\n <PING@mine.test>\r\nPostroad-Forwarded: nonsense\r\nPostroad-Forwarded:\r\n\r\n";
        let hops = count(raw);
        assert_eq!((hops.total, hops.seen(&address("ping@mine.test"))), (3, 1));
        assert_eq!(count(b""), Hops::default());
        assert_eq!(
            count("Postroad-Forwarded: by x; for <a@b.test>\r\n".repeat(5000).as_bytes()).total,
            5000
        );
    }

    #[test]
    fn the_field_is_one_ascii_field_whatever_the_names() {
        for alias in ["jürgen@mine.test", "\"a; b\\\\<c>\"@mine.test"] {
            let alias = address(alias);
            let field = write("a\r\nX-Evil: 1; for <b@c.test>", &alias);
            assert!(field.is_ascii() && Headers::scan(field.as_bytes()).iter().count() == 1, "{field}");
            assert_eq!(count(field.as_bytes()).seen(&alias), 1, "{field}");
        }
    }
}
