//! xtext: how DSN parameters travel in an SMTP command (RFC 3461 §4).
//!
//! Encoding is total; decoding refuses what the grammar refuses, so a bad ENVID or ORCPT is a 501 and not a guess.

use std::fmt::Write as _;

/// Why a text is not xtext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XtextError {
    /// `+` must be followed by two upper-case hexadecimal digits.
    #[error("a + in xtext must be followed by two upper-case hexadecimal digits")]
    Escape,
    /// A space, `=`, control or non-ASCII character that should have been encoded.
    #[error("xtext contains a character that must be encoded")]
    Character,
    /// The decoded octets are not UTF-8, or contain CR, LF, NUL or another control character.
    #[error("the decoded text is not printable")]
    Content,
}

/// Encodes a text so that it can stand as an ENVID or in an ORCPT.
#[must_use]
pub fn xtext_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b'!'..=b'~') && byte != b'+' && byte != b'=' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "+{byte:02X}");
        }
    }
    encoded
}

/// Decodes xtext. Control characters are refused even when they are encoded: the result ends up in reports and logs.
///
/// # Errors
/// [`XtextError`].
pub fn xtext_decode(text: &str) -> Result<String, XtextError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => {
                let (Some(high), Some(low)) = (bytes.next().and_then(hex_digit), bytes.next().and_then(hex_digit)) else {
                    return Err(XtextError::Escape);
                };
                decoded.push(high << 4 | low);
            }
            b'=' => return Err(XtextError::Character),
            b'!'..=b'~' => decoded.push(byte),
            _ => return Err(XtextError::Character),
        }
    }
    let decoded = String::from_utf8(decoded).map_err(|_| XtextError::Content)?;
    if decoded.chars().any(char::is_control) {
        Err(XtextError::Content)
    } else {
        Ok(decoded)
    }
}

/// `hexchar` of RFC 3461 is upper case only.
fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_leaves_plain_text_alone_and_escapes_the_rest() {
        assert_eq!(xtext_encode("QQ314159"), "QQ314159");
        assert_eq!(xtext_encode("a+b=c d"), "a+2Bb+3Dc+20d");
        assert_eq!(xtext_encode("ü"), "+C3+BC");
    }

    #[test]
    fn decoding_refuses_what_the_grammar_refuses() {
        assert_eq!(xtext_decode("rfc822;a+2Bb@example.org").as_deref(), Ok("rfc822;a+b@example.org"));
        for (text, reason) in [
            ("a+2", XtextError::Escape),
            ("a+", XtextError::Escape),
            ("a+2b", XtextError::Escape),
            ("a+ZZ", XtextError::Escape),
            ("a=b", XtextError::Character),
            ("a b", XtextError::Character),
            ("ü", XtextError::Character),
            ("a+0D+0Ab", XtextError::Content),
            ("a+00", XtextError::Content),
            ("+FF", XtextError::Content),
        ] {
            assert_eq!(xtext_decode(text), Err(reason), "{text}");
        }
    }
}
