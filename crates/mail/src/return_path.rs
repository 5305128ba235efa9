//! Return paths: the local part to which failures of one transaction come back.
//!
//! `b+` and 40 characters of base32: the message's id, the number of the destination within it, and a MAC, so that only what
//! we minted is believed and nothing is looked up for a forgery. Case does not matter, because some hosts change it. The age
//! follows from the id (a UUIDv7); expiry is the caller's, who has the clock.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What every local part of this kind begins with.
pub const PREFIX: &str = "b+";
/// Characters after the prefix.
const TOKEN_CHARACTERS: usize = 40;
const MESSAGE: usize = 16;
const DESTINATION: usize = 2;
const MAC: usize = 7;
/// RFC 4648 §6 in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The local part is not one that this key minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a return path of ours")]
pub struct Forged;

/// Mints and recognises return paths under one key.
#[derive(Clone)]
pub struct ReturnPaths {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for ReturnPaths {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ReturnPaths(key not shown)")
    }
}

impl ReturnPaths {
    /// Uses a key of any length, at best 32 octets derived for this purpose alone.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §2)")]
        let mac = Hmac::new_from_slice(key).expect("HMAC takes a key of any length");
        Self { mac }
    }

    /// The local part for one destination of one message, 42 characters.
    #[must_use]
    pub fn encode(&self, message: [u8; 16], destination: u16) -> String {
        let mut octets = [0; MESSAGE + DESTINATION + MAC];
        octets[..MESSAGE].copy_from_slice(&message);
        octets[MESSAGE..MESSAGE + DESTINATION].copy_from_slice(&destination.to_be_bytes());
        let (content, mac) = octets.split_at_mut(MESSAGE + DESTINATION);
        mac.copy_from_slice(&self.mac(content));
        let mut local_part = String::with_capacity(PREFIX.len() + TOKEN_CHARACTERS);
        local_part.push_str(PREFIX);
        // 25 octets are five groups of 40 bits, so base32 comes out even and needs no padding.
        for group in octets.chunks_exact(5) {
            let bits = group.iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
            for shift in (0..8).rev() {
                local_part.push(char::from(ALPHABET[(bits >> (shift * 5) & 31) as usize]));
            }
        }
        local_part
    }

    /// Reads a local part that [`Self::encode`] made, in whatever case it came back.
    ///
    /// # Errors
    /// [`Forged`] for everything else.
    pub fn decode(&self, local_part: &str) -> Result<([u8; 16], u16), Forged> {
        let prefix = local_part.get(..PREFIX.len()).ok_or(Forged)?;
        let token = &local_part[PREFIX.len()..];
        if !prefix.eq_ignore_ascii_case(PREFIX) || token.len() != TOKEN_CHARACTERS {
            return Err(Forged);
        }
        let mut octets = [0; MESSAGE + DESTINATION + MAC];
        for (characters, group) in token.as_bytes().chunks_exact(8).zip(octets.chunks_exact_mut(5)) {
            let mut bits = 0_u64;
            for character in characters {
                bits = bits << 5 | value(*character).ok_or(Forged)?;
            }
            group.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        let (content, mac) = octets.split_at(MESSAGE + DESTINATION);
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&self.mac(content)[..], mac)) {
            return Err(Forged);
        }
        let mut message = [0; MESSAGE];
        message.copy_from_slice(&content[..MESSAGE]);
        Ok((message, u16::from_be_bytes([content[MESSAGE], content[MESSAGE + 1]])))
    }

    fn mac(&self, content: &[u8]) -> [u8; MAC] {
        let mut mac = self.mac.clone();
        mac.update(b"return path\0");
        mac.update(content);
        let full = mac.finalize().into_bytes();
        let mut truncated = [0; MAC];
        truncated.copy_from_slice(&full[..MAC]);
        truncated
    }
}

/// Does a local part look like a return path, forged or not? A cheap first question at RCPT.
#[must_use]
pub fn is_candidate(local_part: &str) -> bool {
    local_part.len() == PREFIX.len() + TOKEN_CHARACTERS
        && local_part
            .get(..PREFIX.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
}

/// When the message of a decoded return path was made, in milliseconds since 1970: the time inside its UUIDv7.
#[must_use]
pub fn minted_at(message: [u8; 16]) -> u64 {
    message[..6]
        .iter()
        .fold(0, |milliseconds, octet| milliseconds << 8 | u64::from(*octet))
}

fn value(character: u8) -> Option<u64> {
    match character {
        b'a'..=b'z' => Some(u64::from(character - b'a')),
        b'A'..=b'Z' => Some(u64::from(character - b'A')),
        b'2'..=b'7' => Some(u64::from(character - b'2' + 26)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE_ID: [u8; 16] = [0x01, 0x9a, 0xa0, 0x11, 0x22, 0x33, 0x74, 5, 6, 7, 8, 9, 10, 11, 12, 13];

    #[test]
    fn what_was_minted_comes_back_in_any_case() {
        let paths = ReturnPaths::new(b"a key");
        let local_part = paths.encode(MESSAGE_ID, 513);
        assert_eq!(local_part.len(), 42);
        assert!(is_candidate(&local_part));
        assert_eq!(paths.decode(&local_part), Ok((MESSAGE_ID, 513)));
        assert_eq!(paths.decode(&local_part.to_uppercase()), Ok((MESSAGE_ID, 513)));
        assert_eq!(minted_at(MESSAGE_ID), 0x019a_a011_2233);
    }

    #[test]
    fn every_changed_character_is_a_forgery() {
        let paths = ReturnPaths::new(b"a key");
        let genuine = paths.encode(MESSAGE_ID, 1);
        for at in 0..genuine.len() {
            let mut forged = genuine.clone().into_bytes();
            forged[at] = if forged[at] == b'q' { b'r' } else { b'q' };
            assert_eq!(paths.decode(std::str::from_utf8(&forged).unwrap()), Err(Forged), "{at}");
        }
        assert_eq!(ReturnPaths::new(b"another").decode(&genuine), Err(Forged));
        for wrong in ["", "b+", "b", "ü", "b+ü", &genuine[..41], &format!("{genuine}a"), "bounce@x"] {
            assert_eq!(paths.decode(wrong), Err(Forged), "{wrong}");
        }
    }
}
