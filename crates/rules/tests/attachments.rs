//! Which messages have attachments.

#![expect(clippy::unwrap_used, reason = "a test: what cannot be made fails it")]

use mail::{Address, ReversePath};
use rules::{Compiled, Definition, Incoming, Verdicts};
use serde_json::json;

fn has_attachments(raw: &str) -> bool {
    let definition: Definition = serde_json::from_value(json!({
        "conditions": [{"field": "has_attachments", "op": "is", "value": true}], "action": {"type": "forward"}
    }))
    .unwrap();
    let (from, to) = (ReversePath::Null, Address::parse("x@mine.example").unwrap());
    let raw = raw.replace('\n', "\r\n");
    let rule = Compiled::of(&definition, true).unwrap();
    rule.matches(&Incoming::new(raw.as_bytes(), &from, Verdicts::default()).to(&to))
}

/// A message of that type whose parts have these headers.
fn multipart(kind: &str, headers: &[&str]) -> String {
    let mut raw = format!("From: a@b.example\nContent-Type: multipart/{kind}; boundary=\"b 1\"\n\npreamble\n");
    for header in headers {
        raw.push_str(&format!("--b 1\n{header}\n\ncontent\n"));
    }
    raw + "--b 1--\n"
}

const TEXT: &str = "Content-Type: text/plain; charset=utf-8";
const HTML: &str = "Content-Type: text/html";
const PICTURE: &str = "Content-Type: image/png; name=a.png\nContent-Disposition: inline";

#[test]
fn what_a_mail_program_offers_to_save_is_an_attachment() {
    for raw in [
        multipart("mixed", &[TEXT, "Content-Type: application/pdf"]),
        multipart(
            "mixed",
            &[
                TEXT,
                "Content-Type: application/pdf; name=a.pdf\nContent-Disposition: inline; filename=a.pdf",
            ],
        ),
        multipart("mixed", &[TEXT, "Content-Type: text/csv; name=\"a.csv\""]),
        multipart("mixed", &[TEXT, "Content-Type: text/plain\nContent-Disposition: ATTACHMENT"]),
        multipart("mixed", &[TEXT, "Content-Disposition: inline;\n filename*=utf-8''%e2%82%ac.txt"]),
        multipart("mixed", &[TEXT, PICTURE]),
        multipart("mixed", &[TEXT, "Content-Type: message/rfc822"]),
        multipart("mixed", &["content-type: APPLICATION/Octet-Stream"]),
        multipart("related", &[HTML, "Content-Type: application/zip\nContent-ID: <1@x>"]),
        multipart("related", &[HTML, "Content-Type: image/png\nContent-Disposition: attachment"]),
        multipart("mixed", &[TEXT, "Content-Type: application/pgp-signature"]),
        "Content-Type: application/pdf\n\n%PDF".to_owned(),
        "Content-Type: application/pdf\n".to_owned(),
        "Content-Type: multipart/mixed; boundary*0=\"b\"; boundary*1=\"c\"\n\n--bc\nContent-Type: application/zip\n\nx\n--bc--\n"
            .to_owned(),
        // No closing boundary, no empty line, blanks after the boundary.
        "Content-Type: multipart/mixed; boundary=b\n\n--b \nContent-Type: application/zip".to_owned(),
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/zip\n--b--\n".to_owned(),
    ] {
        assert!(has_attachments(&raw), "{raw}");
    }
}

#[test]
fn text_and_what_belongs_to_it_is_not() {
    for raw in [
        "Subject: x\n\nHello\n".to_owned(),
        "Content-Type: text/html\n\n<p>".to_owned(),
        "Content-Type: rubbish\n\nHello\n".to_owned(),
        "Content-Type: multipart/mixed\n\n--b\nContent-Type: application/zip\n\n--b--\n".to_owned(),
        "Subject: x\n\nContent-Type: application/pdf\n\n--b\nContent-Disposition: attachment\n\n".to_owned(),
        multipart("alternative", &[TEXT, HTML, "Content-Type: text/calendar; method=REQUEST"]),
        multipart("related", &[HTML, PICTURE]),
        multipart("mixed", &[HTML, "Content-Type: image/gif\nContent-ID: <1@x>"]),
        multipart("signed", &[TEXT, "Content-Type: application/pgp-signature; name=signature.asc"]),
        multipart(
            "report; report-type=delivery-status",
            &[TEXT, "Content-Type: message/delivery-status", "Content-Type: message/rfc822"],
        ),
        multipart("mixed", &[]),
        // After the last boundary nothing is a part.
        format!("{}--b 1\nContent-Type: application/zip\n\nx\n", multipart("mixed", &[TEXT])),
    ] {
        assert!(!has_attachments(&raw), "{raw}");
    }
}

#[test]
fn parts_are_found_inside_parts_and_endless_nesting_counts_as_an_attachment() {
    let inner =
        "Content-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: text/plain\n\nx\n--c\nContent-Type: text/html\n\nx\n--c--";
    assert!(!has_attachments(&multipart("mixed", &[inner, TEXT])));
    assert!(has_attachments(&multipart("mixed", &[inner, "Content-Type: application/zip"])));
    // An outer boundary ends inner parts that were never closed.
    let open = "Content-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: text/plain\n\nx";
    assert!(has_attachments(&multipart("mixed", &[open, "Content-Type: application/zip"])));
    // Boundaries one of which begins with the other are told apart.
    let longer = "Content-Type: multipart/alternative; boundary=\"b 1x\"\n\n--b 1x\nContent-Type: text/plain\n\nx\n--b 1x--";
    assert!(has_attachments(&multipart("mixed", &[longer, "Content-Type: application/zip"])));
    let nested: String = (0..100)
        .map(|level| format!("Content-Type: multipart/mixed; boundary=b{level}x\n\n--b{level}x\n"))
        .collect();
    assert!(has_attachments(&nested));
}
