//! What a peer's EHLO offers.

use crate::Reply;

/// The extensions a peer offered in its last EHLO. Never kept beyond the connection: peers change (ASSURANCE S14).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// The peer answered EHLO rather than only HELO.
    pub esmtp: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// SIZE (RFC 1870): `Some(None)` when offered without a limit.
    pub size: Option<Option<u64>>,
    /// AUTH PLAIN (RFC 4616).
    pub auth_plain: bool,
    /// AUTH LOGIN.
    pub auth_login: bool,
}

impl Extensions {
    /// Reads the lines of a positive reply to EHLO; the first is the greeting.
    pub(super) fn of(reply: &Reply) -> Self {
        let mut found = Self {
            esmtp: true,
            ..Self::default()
        };
        for line in reply.text.split('\n').skip(1) {
            // `AUTH=PLAIN` is how servers of the last century say it.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            let Some(keyword) = words.next() else { continue };
            match keyword.to_ascii_uppercase().as_str() {
                "PIPELINING" => found.pipelining = true,
                "8BITMIME" => found.eight_bit_mime = true,
                "SMTPUTF8" => found.smtputf8 = true,
                "CHUNKING" => found.chunking = true,
                "DSN" => found.dsn = true,
                "ENHANCEDSTATUSCODES" => found.enhanced_status_codes = true,
                "STARTTLS" => found.starttls = true,
                // RFC 1870 §3: 0 means no fixed limit.
                "SIZE" => found.size = Some(words.next().and_then(|word| word.parse().ok()).filter(|limit| *limit != 0)),
                "AUTH" => {
                    for mechanism in words {
                        found.auth_plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                        found.auth_login |= mechanism.eq_ignore_ascii_case("LOGIN");
                    }
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offer_is_read_whatever_its_case() {
        let reply = Reply::bare(
            250,
            "mx.test hello\nPIPELINING\nsize 1000\n8bitmime\nAUTH=LOGIN\nAUTH plain xoauth\nUNKNOWN x\n",
        );
        let found = Extensions::of(&reply);
        assert!(found.esmtp && found.pipelining && found.eight_bit_mime && found.auth_login && found.auth_plain);
        assert!(!found.chunking && !found.starttls && !found.smtputf8);
        assert_eq!(found.size, Some(Some(1000)));
        assert_eq!(Extensions::of(&Reply::bare(250, "mx\nSIZE\nPIPELINING")).size, Some(None));
        assert!(
            !Extensions::of(&Reply::bare(250, "PIPELINING")).pipelining,
            "the first line is a name"
        );
    }
}
