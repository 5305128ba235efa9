//! Reading a reply out of bytes: pure and bounded. Strict about what a reply is, forgiving about its line ends.

use mail::EnhancedCode;

use super::failure::Fault;
use crate::Reply;

/// Octets one reply may have. A peer that says more is not answering.
const MAX_REPLY_OCTETS: usize = 64 * 1024;
/// Octets of a reply's text that are kept.
const MAX_TEXT_OCTETS: usize = 8 * 1024;

/// The first complete reply and the octets it takes; `None` when there is not yet one.
///
/// # Errors
/// [`Fault::Garbage`]: no digits, a code outside 200–599, different codes in one reply (ASSURANCE S09), or no end.
pub(super) fn parse(input: &[u8]) -> Result<Option<(usize, Reply)>, Fault> {
    let mut start = 0;
    let mut code = None;
    let mut enhanced = None;
    let mut text = String::new();
    while let Some(length) = memchr::memchr(b'\n', &input[start..]) {
        let line = &input[start..start + length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        start += length + 1;
        if start > MAX_REPLY_OCTETS {
            return Err(garbage("too long", line));
        }
        let this = code_of(line).ok_or_else(|| garbage("not a reply", line))?;
        let last = match line.get(3) {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(garbage("not a reply", line)),
        };
        if *code.get_or_insert(this) != this {
            return Err(garbage("two codes in one reply", line));
        }
        let words = String::from_utf8_lossy(line.get(4..).unwrap_or_default());
        let words = match EnhancedCode::leading(&words) {
            Some((found, rest)) if u16::from(found.0) == this / 100 => {
                enhanced.get_or_insert(found);
                rest
            }
            _ => &words,
        };
        if text.len() + words.len() < MAX_TEXT_OCTETS {
            if start > length + 1 {
                text.push('\n');
            }
            text.extend(words.chars().map(|character| if character.is_control() { '?' } else { character }));
        }
        if last {
            return Ok(Some((
                start,
                Reply {
                    code: this,
                    enhanced,
                    text: text.into(),
                },
            )));
        }
    }
    if input.len() > MAX_REPLY_OCTETS {
        Err(garbage("too long", b""))
    } else {
        Ok(None)
    }
}

fn code_of(line: &[u8]) -> Option<u16> {
    match line {
        [first @ b'2'..=b'5', second @ b'0'..=b'9', third @ b'0'..=b'9', ..] => {
            Some(u16::from(first - b'0') * 100 + u16::from(second - b'0') * 10 + u16::from(third - b'0'))
        }
        _ => None,
    }
}

fn garbage(what: &str, line: &[u8]) -> Fault {
    let shown: String = String::from_utf8_lossy(&line[..line.len().min(80)])
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    Fault::Garbage(format!("{what}: {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_one_and_several_lines_are_read() {
        let (octets, reply) = parse(b"250-mx.test\r\n250-SIZE 10\r\n250 DSN\r\n220 next").unwrap().unwrap();
        assert_eq!((octets, reply), (35, Reply::bare(250, "mx.test\nSIZE 10\nDSN")));
        let (_, reply) = parse(b"550-5.1.1 no\r\n550 5.1.1 such user\r\n").unwrap().unwrap();
        assert_eq!(reply, Reply::new(550, 5, 1, 1, "no\nsuch user"));
        assert_eq!(parse(b"354\r\n").unwrap().unwrap().1, Reply::bare(354, ""));
        assert_eq!(parse(b"250 ok\n").unwrap().unwrap().0, 7);
        assert_eq!(parse(b"250 2.0.0 o").unwrap(), None);
        assert_eq!(parse(b"250-first\r\n").unwrap(), None);
    }

    #[test]
    fn an_enhanced_code_of_another_class_is_only_text() {
        assert_eq!(parse(b"450 5.1.1 x\r\n").unwrap().unwrap().1, Reply::bare(450, "5.1.1 x"));
    }

    #[test]
    fn s09_garbage_is_told_from_replies() {
        for bytes in [
            &b"hello\r\n"[..],
            b"25\r\n",
            b"250x\r\n",
            b"199 no\r\n",
            b"600 no\r\n",
            b"250-a\r\n550 b\r\n",
            b"SSH-2.0-x\r\n",
            b"\r\n",
        ] {
            assert!(matches!(parse(bytes), Err(Fault::Garbage(_))), "{bytes:?}");
        }
        assert!(parse("250-x\r\n".repeat(20_000).as_bytes()).is_err());
        assert!(parse(&[b'2'; 70_000]).is_err());
        assert!(parse("250-x\r\n".repeat(100).as_bytes()).unwrap().is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
