//! Replacing the author where the author's own could not pass: every other octet stays.

use super::{Headers, decode};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The message with its From field replaced by `from` (a whole field body), and the former author in Reply-To unless the message already
/// says whom to answer. Fields keep their places; the body is copied as it is.
#[must_use]
pub fn replace_author(raw: &[u8], from: &str) -> Vec<u8> {
    rewrite(raw, from, true)
}

/// As [`replace_author`], without any Reply-To: whoever answers writes to `from` and nobody else.
#[must_use]
pub fn replace_author_and_answers(raw: &[u8], from: &str) -> Vec<u8> {
    rewrite(raw, from, false)
}

fn rewrite(raw: &[u8], from: &str, keep_answers: bool) -> Vec<u8> {
    let headers = Headers::scan(raw);
    let author = headers.first("From").map(|field| field.value.to_vec());
    let mut rewritten = Vec::with_capacity(raw.len() + from.len() + 64);
    let mut replaced = false;
    for field in headers.iter() {
        if !keep_answers && field.is("Reply-To") {
            continue;
        }
        if !field.is("From") {
            rewritten.extend_from_slice(field.raw);
            continue;
        }
        if !replaced {
            rewritten.extend_from_slice(format!("From: {from}\r\n").as_bytes());
            replaced = true;
        }
    }
    if keep_answers
        && headers.first("Reply-To").is_none()
        && let Some(author) = author
    {
        rewritten.extend_from_slice(b"Reply-To:");
        rewritten.extend_from_slice(&author);
        if !author.ends_with(b"\n") {
            rewritten.extend_from_slice(b"\r\n");
        }
    }
    rewritten.extend_from_slice(&raw[headers.as_bytes().len()..]);
    rewritten
}

/// `Eve (eve at strict.test)`: how an author is shown whose address cannot stand in From.
#[must_use]
pub fn shown_author(from_value: &[u8], address: &crate::Address) -> String {
    let text = decode(from_value);
    let name = text.split('<').next().unwrap_or_default().trim().trim_matches('"').trim();
    let spelled = format!("{} at {}", address.local_part(), address.host());
    if name.is_empty() || name.contains('@') {
        spelled
    } else {
        format!("{name} ({spelled})")
    }
}

/// A From or Reply-To body: a display name, quoted or encoded as it needs (RFC 5322 §3.4, RFC 2047), and an address.
#[must_use]
pub fn mailbox(name: &str, address: &crate::Address) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    if name.is_empty() {
        return format!("<{address}>");
    }
    if name.is_ascii() {
        let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
        return format!("\"{escaped}\" <{address}>");
    }
    let words: Vec<String> = chunks(&name)
        .map(|chunk| format!("=?UTF-8?B?{}?=", STANDARD.encode(chunk)))
        .collect();
    format!("{}\r\n <{address}>", words.join("\r\n "))
}

/// An encoded word holds at most 75 characters (RFC 2047 §2): 45 octets of text, cut between characters.
pub(crate) fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = rest.len().min(45);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (chunk, left) = rest.split_at(end);
        rest = left;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;

    #[test]
    fn only_the_author_changes_and_the_former_one_can_be_answered() {
        let raw = b"Received: a\r\nFROM: Eve <eve@strict.test>\r\nTo: x@mine.test\r\n\r\nFrom: body \x00\xff\r\n";
        let want =
            b"Received: a\r\nFrom: <x@mine.test>\r\nTo: x@mine.test\r\nReply-To: Eve <eve@strict.test>\r\n\r\nFrom: body \x00\xff\r\n";
        assert_eq!(replace_author(raw, "<x@mine.test>"), want);
        let answered = b"From: a@b.test\r\nReply-To: c@d.test\r\n\r\n";
        assert_eq!(
            replace_author(answered, "<x@y.test>"),
            b"From: <x@y.test>\r\nReply-To: c@d.test\r\n\r\n"
        );
        assert_eq!(replace_author_and_answers(answered, "<x@y.test>"), b"From: <x@y.test>\r\n\r\n");
    }

    #[test]
    fn a_name_is_quoted_or_encoded_and_read_back_the_same() {
        let address = Address::parse("x@mine.test").unwrap();
        for name in [
            "Eve (eve at strict.test)",
            "a \"b\" \\ c",
            "Grüße aus Köln und noch viel mehr Text, damit es zwei Wörter werden",
        ] {
            let field = format!("From: {}\r\n\r\n", mailbox(name, &address));
            let headers = Headers::scan(field.as_bytes());
            let value = headers.first("From").unwrap();
            assert_eq!(crate::header::author(value.value), Some(address.clone()), "{field}");
            assert!(field.lines().all(|line| line.len() <= 78), "{field}");
        }
        assert_eq!(mailbox("Grüße", &address), "=?UTF-8?B?R3LDvMOfZQ==?=\r\n <x@mine.test>");
    }

    #[test]
    fn an_author_is_spelled_out_with_the_name_when_there_is_one() {
        let address = Address::parse("eve@strict.test").unwrap();
        assert_eq!(shown_author(b" Eve <eve@strict.test>", &address), "Eve (eve at strict.test)");
        assert_eq!(shown_author(b" eve@strict.test", &address), "eve at strict.test");
    }
}
