//! Shapes of mail as the world sends them: bodies and headers that forwarders have broken.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A message and how it looks.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) raw: Vec<u8>,
    /// It came under SMTPUTF8.
    pub(crate) utf8: bool,
}

const BASIC: &str = "From: Anna Author <anna@author.test>\r\nTo: shop@mine.test\r\nSubject: hello\r\n\
    Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@author.test>\r\n";

fn shape(name: &'static str, raw: impl Into<Vec<u8>>) -> Shape {
    Shape {
        name,
        raw: raw.into(),
        utf8: false,
    }
}

/// More fields before an ordinary body.
fn header(name: &'static str, fields: impl AsRef<[u8]>) -> Shape {
    shape(name, [BASIC.as_bytes(), fields.as_ref(), b"\r\nthe body\r\n"].concat())
}

/// A plain header before this body.
fn body(name: &'static str, body: impl AsRef<[u8]>) -> Shape {
    shape(name, [BASIC.as_bytes(), b"\r\n", body.as_ref()].concat())
}

/// A MIME type and its body.
fn mime(name: &'static str, content_type: &str, body: impl AsRef<[u8]>) -> Shape {
    let fields = format!("{BASIC}MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n\r\n");
    shape(name, [fields.as_bytes(), body.as_ref()].concat())
}

/// Parts between boundaries `b`.
fn parts(parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--b\r\n{part}\r\n")).collect();
    format!("{parts}--b--\r\n")
}

const PLAIN: &str = "Content-Type: text/plain; charset=utf-8\r\n\r\nplain";
const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n\r\n<p>page</p>";

/// All of them.
pub(crate) fn all() -> Vec<Shape> {
    let mut shapes = bodies();
    shapes.extend(compositions());
    shapes.extend(headers());
    shapes.extend(traces());
    shapes
}

fn bodies() -> Vec<Shape> {
    let lines = |octets: usize| format!("{}\r\nshort\r\n", "x".repeat(octets));
    let charset = |name: &'static str, charset: &str, octets: &[u8]| {
        let kind = format!("text/plain; charset={charset}\r\nContent-Transfer-Encoding: 8bit");
        mime(name, &kind, [octets, b"\r\n"].concat())
    };
    let every_octet: Vec<u8> = (1..=255).filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
    let unpadded = STANDARD.encode(b"without padding!").trim_end_matches('=').to_owned();
    vec![
        body("plain text", "Hello,\r\n\r\nnothing special.\r\n"),
        body("empty body", ""),
        shape("header only, no empty line", BASIC),
        body("one empty line", "\r\n"),
        body("only empty lines", "\r\n\r\n\r\n\r\n"),
        body("empty lines at the end", "text\r\n\r\n\r\n\r\n"),
        body("no line end at the end", "the last line is not ended"),
        body(
            "blanks at the ends of lines",
            "one \r\ntwo\t \r\n three  three\t\tthree\r\n   \r\n\t\r\n",
        ),
        body("last lines of blanks", "text\r\n   \r\n\t\r\n"),
        body("lines that begin with dots", ".\r\n..\r\n.dot\r\n...three\r\ntext.\r\n.\r\n"),
        body("tabs and form feeds", "a\tb\r\n\x0cpage\x0b\r\n\t\tc \x0c\r\n"),
        body("a line of 998 octets", lines(998)),
        body("a line of 999 octets", lines(999)),
        body("a line of 12 kB", lines(12_000)),
        body("a line of 200 kB", lines(200_000)),
        body("many lines", "0123456789 the quick brown fox\r\n".repeat(20_000)),
        body(
            "header-like lines",
            "From: nobody@nowhere.test\r\nSubject: not one\r\nDKIM-Signature: v=1\r\n\r\nFrom here on\r\n",
        ),
        body("From at the beginning of a line", "From the beginning\r\n>From quoted\r\n"),
        body("a signature separator", "text\r\n-- \r\nAnna\r\n"),
        body("binary-looking octets", [&every_octet[..], b"\r\n"].concat()),
        body("escape sequences", "\x1b[31mred\x1b[0m \x07\x08\x7f\r\n"),
        body("unlabelled 8 bit", b"caf\xe9 \xfc\xff\xfe\r\n"),
        charset("utf-8 8bit", "utf-8", "Grüße, 你好, 🎉".as_bytes()),
        charset("iso-8859-1 8bit", "iso-8859-1", b"Gr\xfc\xdfe\xa0"),
        charset("windows-1252 8bit", "windows-1252", b"\x93quoted\x94 \x80 \x85"),
        charset("koi8-r 8bit", "koi8-r", b"\xf0\xd2\xc9\xd7\xc5\xd4"),
        charset("shift_jis 8bit", "shift_jis", b"\x83e\x83X\x83g"),
        charset("gb18030 8bit", "gb18030", b"\xc4\xe3\xba\xc3\x810\x810"),
        charset("iso-2022-jp", "iso-2022-jp", b"\x1b$B%F%9%H\x1b(B"),
        mime(
            "quoted-printable with soft breaks",
            "text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable",
            "Gr=C3=BC=C3=9Fe and a line that goes on=\r\n and on =20\r\n=\r\n=2Edot=09\r\n.\r\n",
        ),
        mime(
            "base64 without padding",
            "application/octet-stream\r\nContent-Transfer-Encoding: base64",
            format!("{unpadded}\r\n"),
        ),
        mime(
            "base64 in one long line",
            "application/octet-stream\r\nContent-Transfer-Encoding: base64",
            STANDARD.encode(vec![7_u8; 9_000]),
        ),
    ]
}

fn compositions() -> Vec<Shape> {
    let picture = "Content-Type: image/png\r\nContent-ID: <p@author.test>\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=";
    let attachment = "Content-Type: application/pdf; name=\"a b.pdf\"\r\nContent-Disposition: attachment;\r\n filename*=UTF-8''%E2%82%AC.pdf\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK";
    let alternative = format!("Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n{PLAIN}\r\n--c\r\n{HTML}\r\n--c--\r\n");
    let related = format!("Content-Type: multipart/related; boundary=c\r\n\r\n--c\r\n{HTML}\r\n--c\r\n{picture}\r\n--c--\r\n");
    let calendar = "Content-Type: text/calendar; method=REQUEST; charset=utf-8\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\n\
        ORGANIZER:mailto:anna@author.test\r\nATTENDEE;RSVP=TRUE:mailto:\r\n shop@mine.test\r\nEND:VEVENT\r\nEND:VCALENDAR";
    let report = "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.author.test\r\n\r\n\
        Final-Recipient: rfc822; x@author.test\r\nAction: failed\r\nStatus: 5.1.1\r\n";
    let attached = "Content-Type: message/rfc822\r\n\r\nReceived: from a by b; Fri, 20 Nov 2026 09:00:00 +0000\r\nFrom: z@elsewhere.test\r\n\
        DKIM-Signature: v=1; d=elsewhere.test; s=x; b=AAAA\r\nSubject: inner\r\n\r\n.inner\r\n";
    let smime =
        "Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\nMIIFzAYJKoZIhvcNAQcC";
    let pgp = "Content-Type: application/pgp-signature; name=signature.asc\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n\r\niQEz\r\n=abcd\r\n-----END PGP SIGNATURE-----";
    let encrypted = "Content-Type: application/octet-stream; name=encrypted.asc\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nhQEM\r\n-----END PGP MESSAGE-----";
    vec![
        mime("multipart/alternative", "multipart/alternative; boundary=b", parts(&[PLAIN, HTML])),
        mime("multipart/mixed", "multipart/mixed; boundary=\"b\"", parts(&[PLAIN, attachment])),
        mime(
            "multipart/related",
            "multipart/related; type=\"text/html\";\r\n boundary=b",
            parts(&[HTML, picture]),
        ),
        mime(
            "nested parts",
            "multipart/mixed; boundary=b",
            parts(&[&alternative, &related, attachment]),
        ),
        mime(
            "preamble and epilogue",
            "multipart/mixed; boundary=b",
            format!("This is a preamble. \r\n\r\n{}\r\nand an epilogue\r\n\r\n", parts(&[PLAIN])),
        ),
        mime(
            "a last boundary without line end",
            "multipart/mixed; boundary=b",
            parts(&[PLAIN]).trim_end(),
        ),
        mime(
            "a missing last boundary",
            "multipart/mixed; boundary=b",
            format!("--b\r\n{PLAIN}\r\n"),
        ),
        mime("a boundary that never comes", "multipart/mixed; boundary=other", parts(&[PLAIN])),
        mime("a boundary without end", "multipart/mixed; boundary=\"b", parts(&[PLAIN])),
        mime(
            "s/mime signed",
            "multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256;\r\n\tboundary=b",
            parts(&[PLAIN, smime]),
        ),
        mime(
            "s/mime opaque",
            "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\nContent-Transfer-Encoding: base64",
            "MIIBHgYJKoZIhvcNAQcDoIIBDzCCAQsCAQAxgcAwgb0CAQAwJjASMRAwDgYDVQQDEwdDYXJs\r\n",
        ),
        mime(
            "pgp/mime signed",
            "multipart/signed; micalg=pgp-sha512; protocol=\"application/pgp-signature\"; boundary=b",
            parts(&["Content-Type: text/plain\r\n\r\nsigned \r\n-- \r\nAnna", pgp]),
        ),
        mime(
            "pgp/mime encrypted",
            "multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b",
            parts(&["Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n", encrypted]),
        ),
        mime(
            "a calendar invitation",
            "multipart/alternative; boundary=b",
            parts(&[PLAIN, HTML, calendar]),
        ),
        mime("an attached message", "multipart/mixed; boundary=b", parts(&[PLAIN, attached])),
        mime(
            "a delivery report",
            "multipart/report; report-type=delivery-status; boundary=b",
            parts(&[PLAIN, report, attached]),
        ),
        mime("a type that nobody knows", "x-strange/thing; a=b; ; c", "anything\r\n"),
    ]
}

fn headers() -> Vec<Shape> {
    let long = format!("X-Long: {}\r\n", "v".repeat(6_000));
    let folded: String = (0..300).map(|line| format!("\r\n <reference-{line}@author.test>")).collect();
    let many: String = (0..200).map(|at| format!("X-Field-{at}: {at}\r\n")).collect();
    let to = BASIC.replace(
        "To: shop@mine.test\r\n",
        "To: shop@mine.test,\r\n\t\"B, C\" <b@other.test>\r\nTo: second@other.test\r\nCc: Team: a@other.test, b@other.test;\r\n",
    );
    let without = |field: &str| -> String {
        let kept = BASIC.split_inclusive("\r\n").filter(|line| !line.starts_with(field));
        kept.chain(["\r\nbody\r\n"]).collect()
    };
    let mut utf8 = header(
        "raw utf-8 fields under SMTPUTF8",
        "Comments-De: Grüße 🎉\r\nX-To: jörg@bücher.test\r\n",
    );
    utf8.utf8 = true;
    vec![
        header(
            "folded fields",
            "X-Folded: one\r\n two\r\n\tthree\r\n    four  \r\nKeywords: a,\r\n  b\r\n",
        ),
        header("a field folded at once", "X-Late:\r\n value\r\n"),
        header("a fold of blanks", "X-Blank: a\r\n \r\n b\r\n"),
        header("empty fields", "X-Empty:\r\nX-Blank: \r\nReply-To:\r\nX-Tab:\t\r\n"),
        header("no blank after the colon", "X-Tight:value\r\nX-Wide:    value\r\n"),
        header(
            "odd case",
            "x-LOWER: a\r\nX-uPPER: b\r\nMIME-version: 1.0\r\ncOnTeNt-tYpE: text/plain\r\n",
        ),
        header("blanks at the ends of fields", "X-End: value   \r\nX-Inner: a    b\t\tc\r\n"),
        header(
            "fields twice",
            "X-Twice: 1\r\nX-Twice: 2\r\nComments: a\r\nComments: b\r\nSubject: again\r\n",
        ),
        header("a very long field", &long),
        header("a field of 300 lines", format!("References:{folded}\r\n")),
        header("200 fields", &many),
        header("raw latin-1 fields", b"X-Name: Andr\xe9\r\nOrganization: Caf\xe9 \xfc\xdf\r\n"),
        header("unlabelled raw utf-8 fields", "X-Name: André 🎉\r\n"),
        utf8,
        header(
            "encoded words",
            "X-Name: =?utf-8?Q?Gr=C3=BC?= =?utf-8?Q?=C3=9Fe?=\r\nX-Bad: =?x?Y?broken?= =?utf-8?B?////?=\r\n",
        ),
        header("form feeds in a field", "X-Control: a\x0cb\x0bc\x07d\r\n"),
        header("names with every sign", "X-!#$%&'*+-.^_`|~: signs\r\n"),
        shape("several To and a group", format!("{to}\r\nbody\r\n")),
        shape("no subject", without("Subject")),
        shape(
            "no date and no message-id",
            without("Date").replace("Message-ID: <1@author.test>\r\n", ""),
        ),
        shape("an empty subject", format!("{}\r\nbody\r\n", BASIC.replace("hello", ""))),
        shape(
            "a fold in From",
            format!(
                "{}\r\nbody\r\n",
                BASIC.replace("Anna Author <", "\"Author,\r\n Anna\" (who else?)\r\n\t<")
            ),
        ),
    ]
}

fn traces() -> Vec<Shape> {
    let hop = "Received: from a.test (a.test [192.0.2.1])\r\n\tby b.test with ESMTPS id 1\r\n\tfor <shop@mine.test>; Fri, 20 Nov 2026 10:00:00 +0000\r\n";
    let signature = |domain: &str| {
        format!("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d={domain}; s=x;\r\n\th=From:To; bh=AAAA=;\r\n\tb=AAAA\r\n")
    };
    let arc = "ARC-Seal: i=1; a=rsa-sha256; t=1; cv=none; d=list.test; s=x; b=AAAA\r\nARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed;\r\n \
        d=list.test; s=x; h=from:to; bh=AAAA=; b=AAAA\r\nARC-Authentication-Results: i=1; list.test; dkim=pass\r\n";
    let above = |name: &'static str, fields: String| shape(name, format!("{fields}{BASIC}\r\nthe body\r\n"));
    vec![
        above("twenty Received fields", hop.repeat(20)),
        above("an ARC set", arc.to_owned()),
        above(
            "several other signatures",
            format!("{}{}{}", signature("esp.test"), signature("other.test"), signature("esp.test")),
        ),
        above(
            "others' authentication results",
            "Authentication-Results: mx.other.test; spf=pass smtp.mailfrom=x\r\nReceived-SPF: pass\r\n".to_owned(),
        ),
        above(
            "a Return-Path and a Delivered-To",
            "Return-Path: <anna@author.test>\r\nDelivered-To: shop@mine.test\r\n".to_owned(),
        ),
        header(
            "a mailing list",
            "List-Id: Friends <friends.list.test>\r\nList-Unsubscribe: <mailto:u@list.test>,\r\n <https://list.test/u?a=b>\r\n\
             List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nPrecedence: list\r\nSender: friends-bounces@list.test\r\n",
        ),
        header(
            "an automatic answer",
            "Auto-Submitted: auto-replied (vacation)\r\nX-Auto-Response-Suppress: All\r\n",
        ),
        header(
            "a resent message",
            "Resent-From: anna@author.test\r\nResent-To: shop@mine.test\r\nResent-Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n",
        ),
        header("a Bcc", "Bcc: hidden@other.test\r\n"),
        header(
            "answers elsewhere",
            "Reply-To: Answers <answers@other.test>\r\nIn-Reply-To: <0@mine.test>\r\n",
        ),
    ]
}
