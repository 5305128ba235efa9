//! The addresses in an address field (RFC 5322 §3.4), read tolerantly: display names, comments, groups, encoded words, obsolete
//! routes. What is not an address is skipped, never guessed at.

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
    let text = unfold(value);
    let mut found = Vec::new();
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
            '>' if mailbox.angle.is_some() => mailbox.closed = true,
            ',' if mailbox.is_open_angle() => mailbox.push(','),
            ',' | ';' => found.extend(std::mem::take(&mut mailbox).address()),
            // The name of a group; inside angle brackets or a literal a colon belongs to the address.
            ':' if mailbox.angle.is_none() && !mailbox.bare.contains('[') => mailbox = Mailbox::default(),
            other => mailbox.push(other),
        }
    }
    found.extend(mailbox.address());
    found
}

/// What has been seen of one mailbox: everything outside angle brackets, and what is inside them.
#[derive(Default)]
struct Mailbox {
    bare: String,
    angle: Option<String>,
    closed: bool,
}

impl Mailbox {
    fn is_open_angle(&self) -> bool {
        self.angle.is_some() && !self.closed
    }

    fn push(&mut self, character: char) {
        match &mut self.angle {
            Some(inside) if !self.closed => inside.push(character),
            Some(_) => {}
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
    fn the_author_is_the_first_mailbox() {
        assert_eq!(author(b" A <a@b.example>, c@d.example").unwrap().to_string(), "a@b.example");
    }
}
