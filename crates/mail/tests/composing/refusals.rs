//! What a draft may not contain.

use mail::compose::{Attachment, Draft, Mailbox};

use crate::drafts::{draft, faults, field, mailbox, named};

#[test]
fn no_field_takes_a_line_end_in_any_disguise() {
    for evil in [
        "a\r\nBcc: x@y.example",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\u{85}b",
        "a\u{2028}b",
        "a\u{b}b",
        "a\r\n b",
        "=?utf-8?Q?a=0D=0ABcc:_x?=",
        "=?utf-8?B?DQo=?=",
        "a%0d%0aBcc: x",
        "a%0A",
        "\r\n",
    ] {
        let text = || evil.to_owned();
        assert_eq!(
            faults(&Draft {
                subject: Some(text()),
                ..draft()
            }),
            ["subject"],
            "{evil:?}"
        );
        for (name, changed) in [
            (
                "from",
                Draft {
                    from: Mailbox {
                        name: Some(text()),
                        ..mailbox("a@b.example")
                    },
                    ..draft()
                },
            ),
            (
                "to[0]",
                Draft {
                    to: vec![Mailbox {
                        name: Some(text()),
                        ..mailbox("a@b.example")
                    }],
                    ..draft()
                },
            ),
            (
                "bcc[0]",
                Draft {
                    bcc: vec![Mailbox {
                        name: Some(text()),
                        ..mailbox("a@b.example")
                    }],
                    ..draft()
                },
            ),
            (
                "reply_to[0]",
                Draft {
                    reply_to: vec![Mailbox {
                        name: Some(text()),
                        ..mailbox("a@b.example")
                    }],
                    ..draft()
                },
            ),
            (
                "headers.X-A",
                Draft {
                    headers: field("X-A", evil),
                    ..draft()
                },
            ),
            (
                "headers.List-Unsubscribe",
                Draft {
                    headers: field("List-Unsubscribe", evil),
                    ..draft()
                },
            ),
            (
                "headers.Message-ID",
                Draft {
                    headers: field("Message-ID", evil),
                    ..draft()
                },
            ),
            (
                "attachments[0].filename",
                Draft {
                    attachments: vec![named(evil)],
                    ..draft()
                },
            ),
        ] {
            assert_eq!(faults(&changed), [name], "{evil:?}");
        }
    }
    for evil in [
        "text/plain\r\nX: y",
        "text",
        "text/",
        "/plain",
        "text/plain; x",
        "te xt/plain",
        "text/plain; a=\"b\"c\"",
        "multipart/mixed",
        "message/rfc822",
        "text/ü",
    ] {
        let attachment = Attachment {
            content_type: Some(evil.to_owned()),
            ..named("a")
        };
        assert_eq!(
            faults(&Draft {
                attachments: vec![attachment],
                ..draft()
            }),
            ["attachments[0].content_type"],
            "{evil:?}"
        );
    }
    for evil in ["a b", "a>b", "", "a\r\n", "ü", "<>"] {
        let attachment = Attachment {
            content_id: Some(evil.to_owned()),
            ..named("a")
        };
        assert_eq!(
            faults(&Draft {
                attachments: vec![named("x"), attachment],
                ..draft()
            }),
            ["attachments[1].content_id"],
            "{evil:?}"
        );
    }
}

#[test]
fn reserved_malformed_and_repeated_fields_are_refused() {
    for name in [
        "Received",
        "DKIM-Signature",
        "bcc",
        "Return-Path",
        "Content-Type",
        "content-transfer-encoding",
        "MIME-Version",
        "From",
        "To",
        "Cc",
        "Subject",
        "Sender",
        "Resent-To",
        "ARC-Seal",
        "Authentication-Results",
        "Postroad-Idempotency-Key",
    ] {
        assert_eq!(
            faults(&Draft {
                headers: field(name, "x"),
                ..draft()
            }),
            [format!("headers.{name}")],
            "{name}"
        );
    }
    for name in ["", "X A", "X:A", "X-Ü", "X\r\nY", "X\0", &"X".repeat(77)] {
        assert_eq!(
            faults(&Draft {
                headers: field(name, "x"),
                ..draft()
            })
            .len(),
            1,
            "{name:?}"
        );
    }
    let twice = [
        field("Message-ID", "<a@b>"),
        field("message-id", "<c@d>"),
        field("X-A", "1"),
        field("X-A", "2"),
    ]
    .concat();
    assert_eq!(faults(&Draft { headers: twice, ..draft() }), ["headers.message-id"]);
    assert_eq!(
        faults(&Draft {
            headers: field("Date", "yesterday"),
            ..draft()
        }),
        ["headers.Date"]
    );
    assert_eq!(
        faults(&Draft {
            headers: field("List-Unsubscribe", &format!("<https://{}>", "a".repeat(1000))),
            ..draft()
        }),
        ["headers.List-Unsubscribe"]
    );
    assert_eq!(
        faults(&Draft {
            headers: field("References", "<ü@x>"),
            ..draft()
        }),
        ["headers.References"]
    );
    assert_eq!(
        faults(&Draft {
            subject: Some("a".repeat(999)),
            ..draft()
        }),
        ["subject"]
    );
    assert_eq!(
        faults(&Draft {
            text: Some("a\0".to_owned()),
            ..draft()
        }),
        ["text"]
    );
}

#[test]
fn every_fault_is_reported_at_once_and_names_no_control_character() {
    let wrong = Draft {
        subject: Some("a\n".to_owned()),
        headers: field("X\r\n", "y"),
        attachments: vec![named("a\0")],
        ..draft()
    };
    let found = faults(&wrong);
    assert_eq!(found, ["subject", "headers.X??", "attachments[0].filename"]);
}
