//! The shapes in which a message can hold text.

use super::{leaves, text};

/// The body of the message that leaves.
fn body(raw: &str) -> String {
    let left = text(raw);
    left.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

#[test]
fn a_quoted_letter_speaks_of_the_two_parties_only() {
    assert_eq!(
        body(
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n\
             On Friday, Bob <ra+k3xbob@m=\r\nine.test> wrote to me=40home.test:\r\n> hello\r\n-- =\r\n\r\nme@home.test, www.home.test\r\n"
        ),
        "Gr=C3=BC=C3=9Fe\r\nOn Friday, Bob <bob@stranger.test> wrote to shop@mine.test:\r\n> hello\r\n=2D-=20\r\nshop@mine.test, [removed]\r\n"
    );
}

#[test]
fn a_page_keeps_its_pictures_and_loses_its_links_home() {
    let left = text(
        "Content-Type: multipart/related; boundary=\"x/mx.home.test\"\r\n\r\npreamble of home.test\r\n--x/mx.home.test\r\n\
         Content-Type: text/html\r\nX-Part: home.test\r\n\r\n<a href=\"mailto:me%40home.test\">me&#64;home.test</a><img src=\"cid:p1.a@home.test\">\r\n\
         --x/mx.home.test\r\nContent-Type: image/png; name=\"of me@home.test.png\"\r\nContent-ID: <p1.a@home.test>\r\n\
         Content-Location: https://home.test/p.png\r\n\r\n\x01\x02--x\r\n--x/mx.home.test--\r\nepilogue\r\n",
    );
    let (_, content) = left.split_once("Content-Type: ").unwrap_or_default();
    assert_eq!(
        content,
        "multipart/related;\r\n\tboundary=\"=_part\"\r\n\r\n--=_part\r\nContent-Type: text/html\r\n\r\n\
         <a href=\"mailto:shop%40mine.test\">shop@mine.test</a><img src=\"cid:p1.a@mine.test\">\r\n\
         --=_part\r\nContent-Type: image/png;\r\n\tname=\"of shop@mine.test.png\"\r\nContent-ID: <p1.a@mine.test>\r\n\r\n\x01\x02--x\r\n--=_part--\r\n"
    );
}

#[test]
fn an_attached_message_tells_who_wrote_it_and_nothing_of_its_way() {
    assert_eq!(
        body(
            "Content-Type: message/rfc822\r\n\r\nDelivered-To: me@home.test\r\nReceived: by mx.home.test\r\nX-Original-To: me@home.test\r\n\
             From: Carol <carol@third.test>\r\nTo: Me Myself <me@home.test>, =?utf-8?Q?B=C3=B6b?= <ra+k3xbob@mine.test>, dad@home.test\r\n\
             Date: Fri, 20 Nov 2026 10:00:00 +0100\r\nMessage-ID: <1@home.test>\r\nSubject: x\r\nContent-Type: text/plain\r\n\
             Content-Transfer-Encoding: base64\r\n\r\nbWVAaG9tZS50ZXN0IGhpCg==\r\n"
        ),
        "From: Carol <carol@third.test>\r\nTo: <shop@mine.test>,\r\n <bob@stranger.test>\r\nDate: Fri, 20 Nov 2026 09:00:00 +0000\r\n\
         Subject: x\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nc2hvcEBtaW5lLnRlc3QgaGkK\r\n"
    );
}

#[test]
fn charsets_and_folds_hide_nothing() {
    // UTF-16 in base64; the text becomes UTF-8.
    let utf16: Vec<u8> = "ü me@home.test".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let encoded = base64(&utf16);
    let left = text(&format!(
        "Content-Type: text/plain; charset=utf-16le\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n"
    ));
    assert!(left.contains("charset=\"utf-8\""), "{left}");
    assert!(
        left.ends_with(&format!("\r\n\r\n{}\r\n", base64("ü shop@mine.test".as_bytes()))),
        "{left}"
    );
    // A U-label in Latin-1 becomes UTF-8, other octets of no charset stay.
    let left = leaves(b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nich@b\xfcro.test \xfc\r\n");
    assert!(left.ends_with("charset=\"utf-8\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nshop@mine.test ü\r\n".as_bytes()));
    let left = leaves(b"\r\n\xff\xfe me@home.test \xc3\r\n");
    assert!(left.ends_with(b"\r\n\r\n\xff\xfe shop@mine.test \xc3\r\n"));
    let left = body(
        "Content-Type: text/calendar\r\n\r\nORGANIZER;CN=\"A rather long name that fills the line\":mailto:me@ho\r\n me.test\r\nEND:X\r\n",
    );
    assert_eq!(
        left,
        "ORGANIZER;CN=\"A rather long name that fills the line\":mailto:shop@mine.tes\r\n t\r\nEND:X\r\n"
    );
    let left =
        text("Content-Disposition: attachment; filename*0=\"me@ho\"; filename*1*=%6de.test\r\nContent-Type: image/png\r\n\r\nme@home.test");
    assert!(
        left.contains("Content-Disposition: attachment;\r\n\tfilename=\"shop@mine.test\"\r\n"),
        "{left}"
    );
}

#[test]
fn signed_and_encrypted_parts_are_left_alone_and_the_fields_around_them_are_not() {
    let signed = "--b\r\nContent-Type: text/plain\r\nX-A: 1\r\n\r\nsigned by me@home.test\r\n--b\r\n\r\nsignature\r\n--b--\r\n";
    let left = text(&format!(
        "From: me@home.test\r\nAutocrypt: addr=me@home.test\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n{signed}"
    ));
    let (header, content) = left.split_once("\r\n\r\n").unwrap_or_default();
    assert_eq!(content, signed);
    assert!(!header.contains("home.test"), "{header}");
}

#[test]
fn damage_does_not_open_a_door() {
    for raw in [
        "Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nme@home.test\r\n",
        "Content-Type: multipart/mixed; boundary=\"never\"\r\n\r\n--b\r\n\r\nme@home.test\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nme@home.test",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b",
        "Content-Type: text\r\nContent-Type: image/png\r\n\r\nme@home.test\r\n",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64 (really)\r\n\r\nbWVAaG9tZS50ZXN0\r\n",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nnot base64 at all, me@home.test\r\n",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==bWVAaG9tZS50ZXN0=x",
        "Content-Type: text/plain; charset=utf-16\r\n\r\nme@home.test\r\n",
        "Content-Type: text/plain; charset=\"no such\"\r\n\r\nme@home.test\r\n",
        "Content-Type: message/partial\r\n\r\nFrom: me@home.test\r\n\r\nx",
        "Content-Type: (me@home.test)\r\n\r\nx",
    ] {
        let left = text(raw);
        assert!(!left.contains("home.test") && !left.contains("bWVAaG9tZS50ZXN0"), "{raw}\n{left}");
    }
}

#[test]
fn what_is_nested_beyond_measure_is_left_out() {
    let mut raw = String::new();
    for level in 0..200 {
        raw.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}x\r\n\r\n--b{level}x\r\n"));
    }
    raw.push_str("Content-Transfer-Encoding: base64\r\n\r\nbWVAaG9tZS50ZXN0\r\n");
    let left = text(&raw);
    assert!(left.contains("[removed]") && !left.contains("bWVAaG9tZS50ZXN0"));
    let many = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}",
        "--b\r\n\r\nx\r\n".repeat(5000)
    );
    assert!(text(&many).ends_with("[removed]\r\n\r\n--b--\r\n"));
}

pub(super) fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    octets
        .chunks(3)
        .map(|three| {
            let bits = (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
            (0..4)
                .map(|digit| {
                    if digit > three.len() {
                        '='
                    } else {
                        char::from(ALPHABET[bits >> (18 - 6 * digit) & 63])
                    }
                })
                .collect::<String>()
        })
        .collect()
}
