//! A name and an address, as people write them in a `to` field.

use std::fmt;

use crate::address::{Address, AddressError};

/// An address with the name shown beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The name, unquoted and in any characters.
    pub name: Option<String>,
    /// The address.
    pub address: Address,
}

impl Mailbox {
    /// Reads `a@b`, `<a@b>`, `Anna <a@b>` or `"Anna, B." <a@b>`: exactly one mailbox, no comment, no group.
    ///
    /// # Errors
    /// As [`Address::parse`]; a name that cannot be told apart from the address is [`AddressError::LocalPart`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        // Before trimming: a line end at the end is as wrong as one within.
        if text.chars().any(|character| character.is_control() && character != '\t') {
            return Err(AddressError::ControlCharacter);
        }
        let text = text.trim();
        let Some(rest) = text.strip_suffix('>') else {
            return Ok(Self {
                name: None,
                address: Address::parse(text)?,
            });
        };
        let (name, inside) = split_name(rest).ok_or(AddressError::LocalPart)?;
        let address = Address::parse(inside)?;
        let name = match name.strip_prefix('"') {
            Some(quoted) => unquoted(quoted).ok_or(AddressError::Quoting)?,
            None if name.contains(['<', '>', '"', ',', ';']) => return Err(AddressError::LocalPart),
            None => name.to_owned(),
        };
        Ok(Self {
            name: Some(name).filter(|name| !name.is_empty()),
            address,
        })
    }
}

/// The name and what stands after the `<` that opens the address; quotation marks may hide a `<` in either.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => return Some((text[..at].trim(), &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// The content of a quoted string after its opening mark, when nothing follows the closing one.
fn unquoted(text: &str) -> Option<String> {
    let mut content = String::with_capacity(text.len());
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().trim().is_empty().then_some(content),
            '\\' => content.push(characters.next()?),
            other => content.push(other),
        }
    }
}

impl From<Address> for Mailbox {
    fn from(address: Address) -> Self {
        Self { name: None, address }
    }
}

/// For people and logs; messages are written by [`super::compose`].
impl fmt::Display for Mailbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(
                formatter,
                "\"{}\" <{}>",
                name.replace('\\', "\\\\").replace('"', "\\\""),
                self.address
            ),
            None => self.address.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_spellings_are_read() {
        for (written, name, address) in [
            ("a@b.example", None, "a@b.example"),
            (" <a@b.example> ", None, "a@b.example"),
            ("Anna <a@b.example>", Some("Anna"), "a@b.example"),
            ("Jürgen B. <a@b.example>", Some("Jürgen B."), "a@b.example"),
            ("\"Anna, \\\"B\\\" <x>\" <a@b.example>", Some("Anna, \"B\" <x>"), "a@b.example"),
            ("\"\" <a@b.example>", None, "a@b.example"),
            ("Anna <\"a b\"@b.example>", Some("Anna"), "\"a b\"@b.example"),
            ("O'Neil (Sales) <a@b.example>", Some("O'Neil (Sales)"), "a@b.example"),
        ] {
            let mailbox = Mailbox::parse(written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(
                (mailbox.name.as_deref(), mailbox.address.to_string().as_str()),
                (name, address),
                "{written}"
            );
            assert_eq!(Mailbox::parse(&mailbox.to_string()), Ok(mailbox), "{written}");
        }
    }

    #[test]
    fn more_or_less_than_one_mailbox_is_refused() {
        for written in [
            "",
            "Anna",
            "a@b.example> SIZE=1",
            "a@b.example, c@d.example",
            "a@b.example <c@d.example",
            "<a@b.example> <c@d.example>",
            "A <a@b.example>, B <c@d.example>",
            "\"A\" x <a@b.example>",
            "\"A <a@b.example>",
            "Anna\r\nBcc: x@y.example <a@b.example>",
            "a@b.example\r\n",
            "a@b.example\0",
        ] {
            assert!(Mailbox::parse(written).is_err(), "{written:?}");
        }
    }
}
