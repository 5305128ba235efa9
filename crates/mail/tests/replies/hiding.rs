//! Whatever a message is made of, nothing private is left that another program could read.

use std::fmt::Write as _;

use mail_parser::{MessageParser, MessagePart, MimeHeaders, PartType};
use proptest::prelude::*;

use super::{REVERSE, leaves};

/// What must not be readable afterwards, in lower case.
const TOKENS: [&str; 4] = [REVERSE, "me@home.test", "home.test", "büro.test"];

/// A text with private words strewn in, spelled in many ways.
fn prose() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => "[a-zA-Z0-9äöü€.,;=%&<>@/?:_-]{0,12}",
        1 => Just("me@home.test".to_owned()),
        1 => Just("<Me@HOME.test>".to_owned()),
        1 => Just("me+x@home.test,".to_owned()),
        1 => Just("mailto:me%40home.test".to_owned()),
        1 => Just("me&#64;home.test".to_owned()),
        1 => Just("(ra+K3xbob@mine.test)".to_owned()),
        1 => Just("ra%2Bk3xbob%40mine.test".to_owned()),
        1 => Just("https://www.home.test/x".to_owned()),
        1 => Just("<1.2@laptop.home.test>".to_owned()),
        1 => Just("ich@BÜRO.test".to_owned()),
        1 => Just("xn--bro-hoa.test".to_owned()),
        1 => Just("=?utf-8?Q?me=40home.test?=".to_owned()),
        1 => Just("\r\n".to_owned()),
    ];
    prop::collection::vec(word, 0..30).prop_map(|words| words.join(" "))
}

fn part() -> impl Strategy<Value = String> {
    let kind = prop_oneof![Just("text/plain"), Just("text/html"), Just("text/calendar"), Just("message/rfc822")];
    let leaf = (kind, 0..4_usize, 0..3_usize, prose()).prop_map(|(kind, encoding, charset, prose)| {
        let prose = if kind == "message/rfc822" {
            format!("Subject: {}\r\nX-A: home.test\r\n\r\n{prose}", prose.replace("\r\n", "\r\n\t"))
        } else {
            prose
        };
        let (charset, octets) = match charset {
            0 => ("utf-8", prose.into_bytes()),
            1 => (
                "iso-8859-1",
                prose.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
            ),
            _ if encoding == 3 && kind != "message/rfc822" => ("utf-16le", prose.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            _ => ("utf-8", prose.into_bytes()),
        };
        let (encoding, body) = match encoding {
            0 | 1 if octets.is_ascii() || charset == "utf-8" => ("8bit", String::from_utf8(octets).unwrap_or_default()),
            2 => ("quoted-printable", everything_quoted(&octets)),
            _ => ("base64", super::shapes::base64(&octets)),
        };
        format!(
            "Content-Type: {kind}; charset={charset}; name=\"=?utf-8?Q?me=40home.test?=\"\r\nContent-ID: <a@home.test>\r\n\
             Content-Transfer-Encoding: {encoding}\r\nX-B: me@home.test\r\n\r\n{body}"
        )
    });
    leaf.prop_recursive(3, 12, 3, |inner| {
        (prop::collection::vec(inner, 1..4), "[a-z]{6,10}", any::<bool>()).prop_map(|(parts, letters, hosted)| {
            let boundary = if hosted { format!("{letters}/home.test") } else { letters };
            let parts: String = parts.iter().map(|part| format!("--{boundary}\r\n{part}\r\n")).collect();
            format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\nhome.test\r\n{parts}--{boundary}--\r\n")
        })
    })
}

/// Quoted-printable with every octet escaped: nothing can be found in it as it stands.
fn everything_quoted(octets: &[u8]) -> String {
    octets.chunks(20).fold(String::new(), |mut text, line| {
        for byte in line {
            let _ = write!(text, "={byte:02X}");
        }
        text.push_str("=\r\n");
        text
    })
}

/// All that a reader sees: every decoded header value, parameter and text, attached messages included.
fn readable(raw: &[u8]) -> String {
    let mut seen = String::from_utf8_lossy(raw).into_owned();
    if let Some(message) = MessageParser::default().parse(raw) {
        gather(&message, &mut seen);
    }
    seen.to_lowercase()
}

fn gather(message: &mail_parser::Message<'_>, seen: &mut String) {
    for part in &message.parts {
        let MessagePart { headers, body, .. } = part;
        let _ = write!(seen, "\n{headers:?}\n{:?}\n", part.attachment_name());
        match body {
            PartType::Text(text) | PartType::Html(text) => seen.push_str(text),
            PartType::Message(inner) => gather(inner, seen),
            PartType::Binary(octets) | PartType::InlineBinary(octets) => seen.push_str(&String::from_utf8_lossy(octets)),
            PartType::Multipart(_) => {}
        }
    }
}

/// Does the token stand there as a word of its own? `myhome.test` is another name.
fn shows(text: &str, token: &str) -> bool {
    text.match_indices(token).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + token.len()..].chars().next();
        let continued = |character: Option<char>| character.is_some_and(|character| character.is_alphanumeric() || character == '-');
        !continued(before) && !continued(after)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_private_word_is_left_in_any_part(subject in prose(), content in part()) {
        let subject = subject.replace("\r\n", " ");
        let raw = format!(
            "Received: by home.test\r\nFrom: me@home.test\r\nTo: {REVERSE}\r\nSubject: {subject}\r\nReferences: <1@home.test> <2@else.test>\r\n\
             Comments: home.test\r\n{content}"
        );
        let left = leaves(raw.as_bytes());
        let seen = readable(&left);
        for token in TOKENS {
            prop_assert!(!shows(&seen, token), "{token} shows in\n{}", String::from_utf8_lossy(&left));
        }
        // What has been scrubbed holds nothing to scrub.
        let header = mail::header::Headers::scan(&left).body_offset();
        let again = leaves(&left);
        let again_header = mail::header::Headers::scan(&again).body_offset();
        prop_assert_eq!(String::from_utf8_lossy(&left[header..]), String::from_utf8_lossy(&again[again_header..]));
    }

    #[test]
    fn no_octets_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..400), text in "(Content-Type: |multipart/|message/rfc822|text/|; boundary=b|\r\n|--b|--|=4|%|&#|@|home\\.test|ü|=\\?|\\*0\\*=|'|\"){0,60}") {
        leaves(&raw);
        leaves(text.as_bytes());
        leaves(&[text.as_bytes(), &raw].concat());
    }
}

#[test]
fn time_grows_no_faster_than_the_message() {
    for unit in [
        "home.test.",
        "home.test@",
        "me@home.test",
        "a",
        "%25",
        "&#64;",
        "=?",
        "<wbr>",
        "@",
        "me+",
        "ü",
        "-home.test",
        "=_part_",
        "\r\n--b\r\n",
        "\r\n ",
        "=",
        "%e2",
    ] {
        for head in [
            "Content-Type: text/plain\r\n\r\n",
            "Content-Type: text/calendar\r\n\r\n",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
            "Content-Type: text/plain; name=",
            "Subject: ",
            "References: <",
        ] {
            let raw = format!("{head}{}", unit.repeat(100_000 / unit.len()));
            let started = std::time::Instant::now();
            leaves(raw.as_bytes());
            // Far above what it takes in a slow build, and far below what a square of it would.
            assert!(started.elapsed().as_secs() < 5, "{head}{unit}: {:?}", started.elapsed());
        }
    }
}
