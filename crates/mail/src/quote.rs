//! xtext: how DSN parameters travel in an SMTP command (RFC 3461 §4); and quoted-printable for texts of our own.
//!
//! Encoding is total; decoding of xtext refuses what the grammar refuses, so a bad ENVID or ORCPT is a 501 and not a guess.

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

/// A text, in whatever charset, in quoted-printable (RFC 2045 §6.7), whatever its line ends were with CRLF, lines of at most 76
/// characters. No line of it looks like a boundary.
#[must_use]
pub fn quoted_printable(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let mut encoded = String::with_capacity(text.len() + text.len() / 8);
    let mut lines = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .peekable();
    while let Some(line) = lines.next() {
        let mut column = 0;
        let mut bytes = line.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            // A blank at the end of a line is lost on the way, and a dot or `From ` at its beginning may be changed.
            let last = bytes.peek().is_none();
            let literal = match byte {
                b' ' | b'\t' => !last,
                b'.' | b'F' | b'-' => column > 0,
                b'=' => false,
                _ => byte.is_ascii_graphic(),
            };
            let width = if literal { 1 } else { 3 };
            if column + width > 75 {
                encoded.push_str("=\r\n");
                column = 0;
            }
            if literal {
                encoded.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(encoded, "={byte:02X}");
            }
            column += width;
        }
        if lines.peek().is_some() {
            encoded.push_str("\r\n");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_printable_keeps_lines_short_and_their_ends_crlf() {
        assert_eq!(quoted_printable("a=b\nü \r\n.x"), "a=3Db\r\n=C3=BC=20\r\n=2Ex");
        assert_eq!(quoted_printable("a\rb\0"), "a=0Db=00");
        assert_eq!(quoted_printable(b"--x\n\xff-"), "=2D-x\r\n=FF-");
        let long = quoted_printable("ü".repeat(500));
        assert!(long.lines().all(|line| line.len() <= 76));
        assert_eq!(long.replace("=\r\n", ""), "=C3=BC".repeat(500));
    }

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
