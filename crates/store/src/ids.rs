//! Typed identifiers: a UUIDv7 that the outside sees as `<prefix>_<26 characters>` in Crockford's base 32.
//!
//! UUIDv7 is time-ordered, so ids sort by creation and history partitions by them. An id of one noun cannot be passed
//! where another is wanted. This module does not look anything up.

use std::{fmt, str::FromStr};
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The text is not an id of the wanted noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

fn encode(id: Uuid, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = id.as_u128();
    let mut text = [0u8; 26];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    to.write_str(std::str::from_utf8(&text).unwrap_or_default())
}

fn decode(text: &str) -> Result<Uuid, InvalidId> {
    let digits = text.as_bytes();
    // 26 digits hold 130 bits: the first may use only 3 of its 5.
    if digits.len() != 26 || digits[0] > b'7' {
        return Err(InvalidId);
    }
    let mut value: u128 = 0;
    for digit in digits {
        let place = ALPHABET.iter().position(|a| a == digit).ok_or(InvalidId)?;
        value = value << 5 | place as u128;
    }
    Ok(Uuid::from_u128(value))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, later than every id this process made before.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                encode(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "_")).ok_or(InvalidId).and_then(decode).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )*};
}

ids! {
    /// A tenant.
    OrganizationId "org";
    /// A person.
    UserId "usr";
    /// A dashboard login.
    SessionId "ses";
    /// A program's access to the API.
    ApiKeyId "key";
    /// A program's access to the SMTP listener.
    SmtpCredentialId "cred";
    /// A sending or receiving domain.
    DomainId "dom";
    /// One DKIM key of a domain.
    DkimKeyId "dkim";
    /// A message, whatever its direction.
    MessageId "msg";
    /// One try of one transaction.
    AttemptId "att";
    /// Something that happened.
    EventId "evt";
    /// An address that must not be written to.
    SuppressionId "sup";
    /// An address of a domain that forwards.
    AliasId "als";
    /// Where mail for aliases goes on to.
    DestinationId "dst";
    /// A rule about mail that comes in.
    RuleId "rul";
    /// An entry of a sender list.
    SenderListEntryId "sle";
    /// A correspondent of an alias.
    ContactId "con";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        for value in [0, 1, u128::MAX, Uuid::now_v7().as_u128()] {
            let id = MessageId(Uuid::from_u128(value));
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().len(), "msg_".len() + 26);
        }
    }

    #[test]
    fn ids_sort_as_their_texts() {
        let (first, second) = (MessageId::generate(), MessageId::generate());
        assert!(first < second && first.to_string() < second.to_string());
    }

    #[test]
    fn another_nouns_id_and_garbage_are_refused() {
        for text in [
            "",
            "msg_",
            "msg_doesnotexist",
            "org_00000000000000000000000000",
            "msg_80000000000000000000000000",
            "msg_0000000000000000000000000U",
        ] {
            assert_eq!(text.parse::<MessageId>(), Err(InvalidId), "{text}");
        }
    }
}
