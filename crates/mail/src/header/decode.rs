//! Field values as people read them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mail_parser::decoders::charsets::map::charset_decoder;

/// Senders drop the padding of encoded words; reading them must not depend on it.
pub(crate) const FORGIVING_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Removes the line ends of folds (RFC 5322 §2.2.3) and the blanks around the value. Octets that are not UTF-8 become U+FFFD.
#[must_use]
pub fn unfold(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value.trim_ascii());
    text.chars().filter(|character| !matches!(character, '\r' | '\n')).collect()
}

/// The value unfolded, its encoded words (RFC 2047) decoded, and every control character, also one that was encoded, replaced by a
/// space: the result is one line and can stand in a log or a JSON document.
#[must_use]
pub fn decode(value: &[u8]) -> String {
    let mut decoded = decode_raw(value);
    if decoded.chars().any(breaks_a_line) {
        decoded = decoded
            .chars()
            .map(|character| if breaks_a_line(character) { ' ' } else { character })
            .collect();
    }
    decoded
}

/// As [`decode`], with whatever control characters the encoded words contain.
pub(crate) fn decode_raw(value: &[u8]) -> String {
    let text = unfold(value);
    let mut decoded = String::with_capacity(text.len());
    // Octets of adjacent words in one charset, joined before they are decoded: some senders split a character between words.
    let mut pending: Option<(String, Vec<u8>)> = None;
    let mut rest = text.as_str();
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let Some(word) = encoded_word(from) else {
            flush(&mut pending, &mut decoded);
            decoded.push_str(before);
            decoded.push_str("=?");
            rest = &from[2..];
            continue;
        };
        // Blanks between two words belong to neither (RFC 2047 §6.2).
        if !(pending.is_some() && before.chars().all(|character| matches!(character, ' ' | '\t'))) {
            flush(&mut pending, &mut decoded);
            decoded.push_str(before);
        }
        match &mut pending {
            Some((charset, octets)) if charset.eq_ignore_ascii_case(word.charset) => octets.extend_from_slice(&word.octets),
            _ => {
                flush(&mut pending, &mut decoded);
                pending = Some((word.charset.to_owned(), word.octets));
            }
        }
        rest = &from[word.length..];
    }
    flush(&mut pending, &mut decoded);
    decoded.push_str(rest);
    decoded
}

fn breaks_a_line(character: char) -> bool {
    (character.is_control() && character != '\t') || matches!(character, '\u{2028}' | '\u{2029}')
}

fn flush(pending: &mut Option<(String, Vec<u8>)>, decoded: &mut String) {
    if let Some((charset, octets)) = pending.take() {
        decoded.push_str(&to_text(&charset, &octets));
    }
}

/// Octets in a named charset as text. An unknown charset is read as UTF-8, what does not fit becomes U+FFFD.
pub(crate) fn to_text(charset: &str, octets: &[u8]) -> String {
    known_charset(charset, octets).unwrap_or_else(|| String::from_utf8_lossy(octets).into_owned())
}

/// As [`to_text`]; `None` when the charset is unknown.
pub(crate) fn known_charset(charset: &str, octets: &[u8]) -> Option<String> {
    charset_decoder(charset.as_bytes()).map(|decoder| decoder(octets))
}

struct EncodedWord<'a> {
    charset: &'a str,
    octets: Vec<u8>,
    length: usize,
}

/// Octets an encoded word may have: RFC 2047 says 75, senders exceed it. A bound keeps the search for its end linear.
const MAX_ENCODED_WORD: usize = 1000;

/// The encoded word at the beginning of `text`, which begins with `=?`.
fn encoded_word(text: &str) -> Option<EncodedWord<'_>> {
    let inner = &text[2..text.floor_char_boundary(MAX_ENCODED_WORD)];
    let (charset, rest) = inner.split_once('?')?;
    // A language may follow the charset (RFC 2231 §5).
    let charset_name = charset.split('*').next().unwrap_or(charset);
    if charset_name.is_empty() || !charset.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let (encoding, rest) = rest.split_once('?')?;
    let end = rest.find("?=")?;
    let payload = &rest[..end];
    let octets = match encoding {
        "B" | "b" => FORGIVING_BASE64.decode(payload.trim_ascii()).ok()?,
        "Q" | "q" => q_decode(payload),
        _ => return None,
    };
    Some(EncodedWord {
        charset: charset_name,
        octets,
        length: 2 + charset.len() + 1 + encoding.len() + 1 + end + 2,
    })
}

fn q_decode(payload: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(payload.len());
    let bytes = payload.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'_' => octets.push(b' '),
            b'=' => {
                let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
                match (digit(at), digit(at + 1)) {
                    (Some(high), Some(low)) => {
                        // Two hexadecimal digits make at most 255.
                        octets.push((high * 16 + low) as u8);
                        at += 2;
                    }
                    _ => octets.push(b'='),
                }
            }
            other => octets.push(other),
        }
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_become_text_and_everything_else_stays() {
        for (written, read) in [
            (" Hello", "Hello"),
            (" =?utf-8?Q?Gr=C3=BC=C3=9Fe_aus?= =?UTF-8?B?IEvDtmxu?=", "Grüße aus Köln"),
            (" =?iso-8859-1?q?caf=E9?= au lait", "café au lait"),
            (" =?utf-8?B?w7w?=", "ü"),
            (" =?utf-8?B?4oI=?=\r\n =?utf-8?B?rA==?=", "€"),
            (" =?utf-8*de?Q?=C3=BC?=", "ü"),
            (" =?windows-1252?Q?=80?=", "€"),
            (" =?utf-8?X?abc?=", "=?utf-8?X?abc?="),
            (" =?utf-8?Q?unclosed", "=?utf-8?Q?unclosed"),
            (" =?=?utf-8?Q?a?=", "=?a"),
            (" a =?x-unknown?Q?b?= c", "a b c"),
            (" =?utf-8?Q?a=ZZ?=", "a=ZZ"),
            (" one\r\n two", "one two"),
        ] {
            assert_eq!(decode(written.as_bytes()), read, "{written}");
        }
    }

    #[test]
    fn nothing_that_breaks_a_line_survives_decoding() {
        assert_eq!(decode(b" =?utf-8?Q?a=0D=0AX-Evil:_1=00?="), "a  X-Evil: 1 ");
        assert_eq!(decode(b" a\x07b\x1b[0m"), "a b [0m");
        assert_eq!(decode(b" \xff"), "\u{fffd}");
        assert_eq!(decode("=?utf-8?Q?a=E2=80=A8b?=".as_bytes()), "a b");
    }
}
