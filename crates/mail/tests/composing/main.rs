//! Composing: what a draft becomes, and that nothing in it can become something else (assurance D24, I01–I03, I05).

mod drafts;
mod refusals;

use drafts::{draft, field, mailbox, named, structure};
use mail::compose::{Attachment, Draft, Mailbox, compose};
use mail::header::Headers;
use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

#[test]
fn a_message_with_everything_is_written_as_in_the_file() {
    let full = Draft {
        from: mailbox("\"Müller, Anna\" <anna@example.org>"),
        to: vec![
            mailbox("Bert \"B\" <bert@example.net>".replace("Bert \"B\"", "\"Bert \\\"B\\\"\"").as_str()),
            mailbox("c@example.net"),
        ],
        cc: vec![mailbox("Ďuro <d@example.net>")],
        bcc: vec![mailbox("Secret <secret@example.net>")],
        reply_to: vec![mailbox("support@example.org")],
        subject: Some("Grüße aus Köln: ein längerer Betreff, der über mehr als eine Zeile hinausgeht, wenn er kodiert ist".to_owned()),
        html: Some("<p>Grüße <img src=\"cid:logo@example.org\"></p>".to_owned()),
        text: Some("Grüße\nüber zwei Zeilen.\n.\nFrom here on\n".to_owned()),
        headers: vec![
            ("X-Campaign".to_owned(), "spring é".to_owned()),
            (
                "List-Unsubscribe".to_owned(),
                "<https://example.org/unsubscribe?token=0123456789012345678901234567890123456789>, <mailto:u@example.org>".to_owned(),
            ),
        ],
        attachments: vec![
            Attachment {
                content_id: Some("<logo@example.org>".to_owned()),
                content_type: Some("image/png".to_owned()),
                ..named("logo.png")
            },
            Attachment {
                content_type: Some("text/csv; charset=utf-8".to_owned()),
                content: b"a,b\n1,2\r3".to_vec(),
                ..named("Übersicht \"final\".csv")
            },
        ],
        ..draft()
    };
    let raw = compose(&full).unwrap();
    let want = include_str!("../../testdata/written/composed.eml").replace('\n', "\r\n");
    assert_eq!(String::from_utf8_lossy(&raw), want);

    let message = MessageParser::new().parse(&raw).unwrap();
    assert_eq!(message.subject(), full.subject.as_deref());
    assert_eq!(message.from().unwrap().first().unwrap().name(), Some("Müller, Anna"));
    assert_eq!(message.to().unwrap().first().unwrap().name(), Some("Bert \"B\""));
    assert_eq!(message.body_text(0).unwrap(), "Grüße\r\nüber zwei Zeilen.\r\n.\r\nFrom here on\r\n");
    let csv = message
        .parts
        .iter()
        .find(|part| part.attachment_name() == Some("Übersicht \"final\".csv"))
        .unwrap();
    assert_eq!(csv.contents(), b"a,b\n1,2\r3");
}

#[test]
fn the_parts_of_a_draft_decide_the_structure() {
    let html = Some("<p>Hello</p>".to_owned());
    let inline = Attachment {
        content_id: Some("logo".to_owned()),
        content_type: Some("image/png".to_owned()),
        ..named("logo.png")
    };
    assert_eq!(structure(&draft()), ["text/plain"]);
    assert_eq!(structure(&Draft { text: None, ..draft() }), ["text/plain"]);
    assert_eq!(
        structure(&Draft {
            text: None,
            html: html.clone(),
            ..draft()
        }),
        ["text/html"]
    );
    assert_eq!(
        structure(&Draft {
            html: html.clone(),
            ..draft()
        }),
        ["multipart/alternative", "text/plain", "text/html"]
    );
    assert_eq!(
        structure(&Draft {
            attachments: vec![named("a")],
            ..draft()
        }),
        ["multipart/mixed", "text/plain", "application/octet-stream"]
    );
    assert_eq!(
        structure(&Draft {
            html: html.clone(),
            attachments: vec![inline.clone()],
            ..draft()
        }),
        ["multipart/related", "multipart/alternative", "text/plain", "text/html", "image/png"]
    );
    assert_eq!(
        structure(&Draft {
            html,
            attachments: vec![named("a"), inline.clone()],
            ..draft()
        }),
        [
            "multipart/mixed",
            "multipart/related",
            "multipart/alternative",
            "text/plain",
            "text/html",
            "image/png",
            "application/octet-stream"
        ]
    );
    // Without HTML nothing refers to it.
    assert_eq!(
        structure(&Draft {
            attachments: vec![inline],
            ..draft()
        }),
        ["multipart/mixed", "text/plain", "image/png"]
    );
}

#[test]
fn date_and_message_id_may_be_given_and_replace_ours() {
    let headers = [
        field("message-id", "<own@example.org>"),
        field("Date", "Fri, 20 Nov 2026 10:00:00 +0100"),
    ]
    .concat();
    let raw = compose(&Draft { headers, ..draft() }).unwrap();
    let scanned = Headers::scan(&raw);
    assert_eq!((scanned.count("Message-ID"), scanned.count("Date")), (1, 1));
    assert_eq!(scanned.first("Message-ID").unwrap().text(), "<own@example.org>");
}

#[test]
fn blind_copies_are_never_written() {
    let secret = || vec![mailbox("Secret <secret@example.net>")];
    for hidden in [
        Draft { bcc: secret(), ..draft() },
        Draft {
            to: Vec::new(),
            bcc: secret(),
            ..draft()
        },
    ] {
        let raw = String::from_utf8(compose(&hidden).unwrap()).unwrap().to_lowercase();
        assert!(!raw.contains("secret") && !raw.contains("bcc"), "{raw}");
    }
    let raw = String::from_utf8(
        compose(&Draft {
            to: Vec::new(),
            bcc: secret(),
            ..draft()
        })
        .unwrap(),
    )
    .unwrap();
    assert!(raw.contains("\r\nTo: undisclosed-recipients:;\r\n"), "{raw}");
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_well_formed_and_reads_back(
        subject in "([ -~]|\\PC){0,120}", name in "([ -~]|\\PC){0,60}", filename in "([ -~]|\\PC){1,120}",
        text in "([\r\n\t -~]|\\PC){0,200}|[a-z]{1500}", html in proptest::option::of("([\r\n\t -~]|\\PC){0,200}"), value in "([\t -~]|\\PC){0,200}|([a-z ]{50,60}){30}",
        content in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let written = Draft {
            from: Mailbox { name: Some(name.clone()), ..mailbox("a@example.org") },
            subject: Some(subject.clone()), text: Some(text), html,
            headers: field("X-Test", &value),
            attachments: vec![Attachment { filename: Some(filename.clone()), content: content.clone(), ..Attachment::default() }],
            ..draft()
        };
        let Ok(raw) = compose(&written) else { return Ok(()) };
        let facts = mail::content::inspect(&raw).unwrap();
        prop_assert!(!facts.eight_bit && facts.ends_with_line_end && facts.malformed_fields == 0);
        prop_assert_eq!((facts.field_count, facts.from_count), (8, 1));
        prop_assert_eq!(facts.from[0].to_string(), "a@example.org");
        let message = MessageParser::new().parse(&raw).unwrap();
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !subject.contains("=?") {
            prop_assert_eq!(squeezed(message.subject().unwrap_or_default()), squeezed(&subject));
        }
        if !name.contains("=?") {
            prop_assert_eq!(squeezed(message.from().unwrap().first().unwrap().name().unwrap_or_default()), squeezed(&name));
        }
        let file = message.parts.last().unwrap();
        prop_assert_eq!(file.contents(), content.as_slice());
        prop_assert_eq!(squeezed(file.attachment_name().unwrap_or_default()), squeezed(&filename));
    }
}
