//! The addresses in an address field (RFC 5322 §3.4), read tolerantly: display names, comments, groups, encoded words, obsolete
//! routes. What is not an address is skipped, never guessed at; who must be sure of all of them asks [`read_authors`].

use super::decode::unfold;
use crate::address::Address;

/// The address of the first mailbox in a From field.
#[must_use]
pub fn author(value: &[u8]) -> Option<Address> {
    authors(value).into_iter().next()
}

/// The addresses of all mailboxes in an address field, groups' members included, in order.
#[must_use]
pub fn authors(value: &[u8]) -> Vec<Address> {
    read_authors(value).addresses
}

/// What an address field says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authors {
    /// The addresses of its mailboxes, groups' members included, in order.
    pub addresses: Vec<Address>,
    /// Something in it has an `@` and cannot be read: another reader might take another address out of it.
    pub unreadable: bool,
}

impl Authors {
    fn add(&mut self, mailbox: Mailbox) {
        self.unreadable |= mailbox.trailing;
        let meant = mailbox.looks_like_an_address();
        match mailbox.address() {
            Some(address) => self.addresses.push(address),
            None => self.unreadable |= meant,
        }
    }
}

/// Reads an address field, and says whether all of it was understood.
#[must_use]
pub fn read_authors(value: &[u8]) -> Authors {
    let text = unfold(value);
    let mut found = Authors::default();
    let mut mailbox = Mailbox::default();
    let mut characters = text.chars();
    let mut depth = 0_usize;
    while let Some(character) = characters.next() {
        if depth > 0 {
            match character {
                '(' => depth += 1,
                ')' => depth -= 1,
                '\\' => {
                    characters.next();
                }
                _ => {}
            }
            continue;
        }
        match character {
            '(' => depth = 1,
            '"' => mailbox.take_quoted(&mut characters),
            '<' if mailbox.angle.is_none() => mailbox.angle = Some(String::new()),
            // Two addresses without a comma: whichever a reader believes, both are named here.
            '<' if mailbox.closed => {
                found.add(std::mem::take(&mut mailbox));
                mailbox.angle = Some(String::new());
            }
            '>' if mailbox.angle.is_some() => mailbox.closed = true,
            ',' if mailbox.is_open_angle() => mailbox.push(','),
            ',' | ';' => found.add(std::mem::take(&mut mailbox)),
            // The name of a group; inside angle brackets or a literal a colon belongs to the address.
            ':' if mailbox.angle.is_none() && !mailbox.bare.contains('[') => mailbox = Mailbox::default(),
            other => mailbox.push(other),
        }
    }
    found.add(mailbox);
    found
}

/// What has been seen of one mailbox: everything outside angle brackets, and what is inside them.
#[derive(Default)]
struct Mailbox {
    bare: String,
    angle: Option<String>,
    closed: bool,
    /// An `@` came after the angle brackets.
    trailing: bool,
}

impl Mailbox {
    fn is_open_angle(&self) -> bool {
        self.angle.is_some() && !self.closed
    }

    /// With angle brackets only what is inside them counts: a display name may hold anything.
    fn looks_like_an_address(&self) -> bool {
        self.angle.as_ref().unwrap_or(&self.bare).contains('@')
    }

    fn push(&mut self, character: char) {
        match &mut self.angle {
            Some(inside) if !self.closed => inside.push(character),
            Some(_) => self.trailing |= character == '@',
            None => self.bare.push(character),
        }
    }

    /// A quoted string is kept with its quoting: it may be a local part.
    fn take_quoted(&mut self, characters: &mut std::str::Chars<'_>) {
        self.push('"');
        while let Some(character) = characters.next() {
            self.push(character);
            match character {
                '"' => return,
                '\\' => {
                    if let Some(quoted) = characters.next() {
                        self.push(quoted);
                    }
                }
                _ => {}
            }
        }
    }

    fn address(self) -> Option<Address> {
        match self.angle {
            Some(inside) => {
                let inside = compact(&inside);
                // An obsolete route (RFC 5322 §4.4) says how to get there, not who wrote this.
                let inside = if inside.starts_with('@') {
                    inside.split_once(':')?.1
                } else {
                    &inside
                };
                Address::parse(inside).ok()
            }
            None => Address::parse(&compact(&self.bare)).ok(),
        }
    }
}

/// Blanks outside quotation marks removed where the obsolete syntax allows them: around dots and `@`, and at the ends.
fn compact(text: &str) -> String {
    let text = text.trim();
    let mut compacted = String::with_capacity(text.len());
    let mut quoted = false;
    let mut escaped = false;
    let mut blanks = String::new();
    for character in text.chars() {
        if !quoted && matches!(character, ' ' | '\t') {
            blanks.push(character);
            continue;
        }
        let joined = matches!(character, '.' | '@') || compacted.ends_with(['.', '@']);
        if !blanks.is_empty() && !joined {
            compacted.push_str(&blanks);
        }
        blanks.clear();
        match character {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && character == '\\' && !escaped;
        compacted.push(character);
    }
    compacted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Vec<String> {
        authors(value.as_bytes()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_usual_form_of_an_address_field_is_understood() {
        for (written, addresses) in [
            (" a@example.org", &["a@example.org"][..]),
            (" <a@example.org>", &["a@example.org"]),
            (" Anna <a@Example.org>", &["a@example.org"]),
            (
                " \"Anna, B\" <a@example.org>, b@example.org (Bert, <x@y.example>)",
                &["a@example.org", "b@example.org"],
            ),
            (" =?utf-8?Q?J=C3=BCrgen?= <j@example.org>", &["j@example.org"]),
            (" \"c@evil.example\" <a@example.org>", &["a@example.org"]),
            (" c@evil.example <a@example.org>", &["a@example.org"]),
            (
                " Team: a@example.org, B <b@example.org>;, c@example.org",
                &["a@example.org", "b@example.org", "c@example.org"],
            ),
            (" undisclosed-recipients:;", &[]),
            (" <@x.example,@y.example:a@example.org>", &["a@example.org"]),
            (" \"a b\"@example.org", &["\"a b\"@example.org"]),
            (" \"abc\"@example.org", &["abc@example.org"]),
            (" a @ example . org", &["a@example.org"]),
            (" a(comment)@example.org", &["a@example.org"]),
            (" Anna\r\n\t<a@example.org>", &["a@example.org"]),
            (" a@[IPv6:2001:db8::1]", &["a@[IPv6:2001:db8::1]"]),
            (" Anna B", &[]),
            (" a b@example.org", &[]),
            ("", &[]),
            (" <>", &[]),
            (" (unclosed a@example.org", &[]),
            (" \"unclosed a@example.org", &[]),
        ] {
            assert_eq!(read(written), addresses, "{written}");
        }
    }

    #[test]
    fn a_field_that_two_readers_could_read_differently_is_not_fully_understood() {
        let both = read_authors(b" <a@b.example> <c@d.example>");
        assert_eq!((both.addresses.len(), both.unreadable), (2, false));
        for (written, unreadable) in [
            (" a@b.example c@d.example, e@f.example", true),
            (" <a@b..example>, e@f.example", true),
            (" <a@b.example> c@d.example", true),
            (" Smith, Anna <a@b.example>", false),
            (" \"x@y.example\" <a@b.example>", false),
            (" a@b.example (c@d.example)", false),
            (" undisclosed-recipients:;", false),
        ] {
            assert_eq!(read_authors(written.as_bytes()).unreadable, unreadable, "{written}");
        }
    }

    #[test]
    fn the_author_is_the_first_mailbox() {
        assert_eq!(author(b" A <a@b.example>, c@d.example").unwrap().to_string(), "a@b.example");
    }
}
