//! The Received field that every host adds on top (RFC 5321 §4.4).
//!
//! Whatever the peer said of itself is reduced to the characters a host name or literal has, so that nothing it says can
//! end the clause, the comment or the line.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use crate::address::Address;

/// The column after which a clause moves to the next line (RFC 5322 §2.1.1).
const FOLD_AT: usize = 78;
/// What we repeat of a text that the peer chose.
const MAX_WORD: usize = 255;

/// What one Received field says.
#[derive(Debug, Clone)]
pub struct ReceivedClause<'a> {
    /// The argument of EHLO or HELO. When it is empty no `from` clause is written.
    pub from_helo: &'a str,
    /// The peer's address. `None` leaves it out: submissions do not tell the world where their author sits.
    pub from_address: Option<IpAddr>,
    /// Our host name.
    pub by: &'a str,
    /// The protocol's name (RFC 3848): `ESMTPSA`, `HTTP`…
    pub with: &'a str,
    /// Version and cipher, shown as a comment: `TLS1.3 TLS_AES_256_GCM_SHA384`.
    pub tls: Option<&'a str>,
    /// Our id of the message.
    pub id: &'a str,
    /// The recipient, when there is exactly one and naming it gives nobody away.
    pub for_recipient: Option<&'a Address>,
    /// When the message was received.
    pub at: DateTime<Utc>,
}

/// The finished field: folded, ending in CRLF.
#[must_use]
pub fn received(clause: &ReceivedClause<'_>) -> String {
    let mut line = Folded {
        text: String::with_capacity(320),
        column: 0,
    };
    line.raw("Received:");
    let helo = word(clause.from_helo);
    if !helo.is_empty() {
        line.clause(&format!("from {helo}"));
        if let Some(address) = clause.from_address {
            // The same spelling as in an address literal, which says which family it is.
            let literal = match address.to_canonical() {
                IpAddr::V4(address) => format!("([{address}])"),
                IpAddr::V6(address) => format!("([IPv6:{address}])"),
            };
            line.clause(&literal);
        }
    }
    line.clause(&format!("by {}", word(clause.by)));
    line.clause(&format!("with {}", word(clause.with)));
    if let Some(tls) = clause.tls {
        line.clause(&format!("({})", tls.split_whitespace().map(word).collect::<Vec<_>>().join(" ")));
    }
    line.clause(&format!("id {}", word(clause.id)));
    if let Some(recipient) = clause.for_recipient {
        line.clause(&format!("for <{recipient}>"));
    }
    line.raw(";");
    line.clause(&date(clause.at));
    line.raw("\r\n");
    line.text
}

/// A moment as RFC 5322 §3.3 writes it: `Fri, 20 Nov 2026 14:05:09 +0000`.
#[must_use]
pub fn date(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

struct Folded {
    text: String,
    column: usize,
}

impl Folded {
    fn raw(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.len();
    }

    fn clause(&mut self, clause: &str) {
        // One column is left for the semicolon that may follow.
        if self.column + 1 + clause.len() >= FOLD_AT {
            self.text.push_str("\r\n\t");
            // A tabulator is one octet, and octets are what the limit counts.
            self.column = 1;
        } else {
            self.raw(" ");
        }
        self.raw(clause);
    }
}

/// A text from outside as one harmless word.
fn word(text: &str) -> String {
    text.chars()
        .take(MAX_WORD)
        .map(|character| {
            if character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | ':' | '[' | ']') {
                character
            } else {
                '?'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clause<'a>() -> ReceivedClause<'a> {
        ReceivedClause {
            from_helo: "client.example",
            from_address: Some(IpAddr::from([192, 0, 2, 1])),
            by: "mail.example.org",
            with: "ESMTPSA",
            tls: Some("TLS1.3 TLS_AES_256_GCM_SHA384"),
            id: "msg_06ezahm1n5v3h8w2q4r7t9y1xc",
            for_recipient: None,
            at: DateTime::from_timestamp(1_795_183_509, 0).unwrap(),
        }
    }

    #[test]
    fn a_full_field_is_folded_and_ends_its_line() {
        let recipient = Address::parse("someone@example.net").unwrap();
        assert_eq!(
            received(&ReceivedClause {
                for_recipient: Some(&recipient),
                ..clause()
            }),
            "Received: from client.example ([192.0.2.1]) by mail.example.org with ESMTPSA\r\n\
             \t(TLS1.3 TLS_AES_256_GCM_SHA384) id msg_06ezahm1n5v3h8w2q4r7t9y1xc\r\n\
             \tfor <someone@example.net>; Fri, 20 Nov 2026 14:05:09 +0000\r\n"
        );
    }

    #[test]
    fn a_submission_names_neither_address_nor_host_when_they_are_not_given() {
        let field = received(&ReceivedClause {
            from_helo: "",
            from_address: Some(IpAddr::from([192, 0, 2, 1])),
            tls: None,
            ..clause()
        });
        assert!(
            field.starts_with("Received: by mail.example.org with ESMTPSA\r\n\tid msg_")
                || field.starts_with("Received: by mail.example.org with ESMTPSA id"),
            "{field}"
        );
        assert!(!field.contains("192.0.2.1"));
    }

    #[test]
    fn a_hostile_greeting_cannot_leave_its_place() {
        let long = "a".repeat(5000);
        for helo in [
            "a\r\nX-Evil: 1\r\n\r\nbody",
            "a) by evil (",
            "a; Fri, 20 Nov",
            "\"a\" <b@c>",
            "ü\0",
            &long,
        ] {
            let field = received(&ReceivedClause {
                from_helo: helo,
                ..clause()
            });
            let headers = crate::header::Headers::scan(field.as_bytes());
            assert_eq!(headers.iter().count(), 1, "{field}");
            assert_eq!(field.matches(';').count(), 1, "{field}");
            assert_eq!(field.matches('(').count(), 2, "{field}");
            assert!(field.is_ascii() && field.lines().all(|line| line.len() < 998), "{field}");
        }
    }

    #[test]
    fn lines_stay_within_78_columns_for_usual_names() {
        let field = received(&ReceivedClause {
            from_helo: "a-rather-long-host-name.department.client.example",
            from_address: Some("2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap()),
            ..clause()
        });
        assert!(field.lines().all(|line| line.len() <= 78), "{field}");
        assert!(field.contains("([IPv6:2001:db8:1234:5678:9abc:def0:1234:5678])"));
    }
}
