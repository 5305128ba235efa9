//! What leaves as an alias shows nothing of the mailbox behind it (assurance L11).

mod hiding;
mod shapes;

use chrono::{DateTime, Utc};
use mail::Address;
use mail::reply::{Scrub, scrub};

const REVERSE: &str = "ra+k3xbob@mine.test";

fn address(text: &str) -> Address {
    #[expect(clippy::unwrap_used, reason = "the tests pass addresses that parse")]
    Address::parse(text).unwrap()
}

fn moment() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_183_509, 0).unwrap_or_default()
}

/// The message as it leaves, `me@home.test` being private.
fn leaves(raw: &[u8]) -> Vec<u8> {
    scrub(
        raw,
        &Scrub {
            alias: &address("shop@mine.test"),
            alias_name: Some("The Shop"),
            correspondent: &address("bob@stranger.test"),
            reverse: &address(REVERSE),
            private: &[&address("me@home.test"), &address("ich@büro.test")],
            message_id: "<new@mine.test>",
            date: moment(),
        },
    )
}

fn text(raw: &str) -> String {
    String::from_utf8_lossy(&leaves(raw.as_bytes())).into_owned()
}

#[test]
fn the_header_is_written_anew_from_what_may_pass() {
    let left = text(
        "Return-Path: <me@home.test>\r\nReceived: from [10.1.2.3] by mx.home.test; Fri, 20 Nov 2026 10:00:00 +0100\r\n\
         DKIM-Signature: v=1; d=home.test\r\nX-Originating-IP: 10.1.2.3\r\nUser-Agent: Mutt\r\nOrganization: Home\r\nSender: me@home.test\r\n\
         From: Me Myself <me@home.test>\r\nReply-To: me@home.test\r\nDisposition-Notification-To: me@home.test\r\n\
         To: \"Bob (bob at stranger.test)\" <ra+k3xbob@mine.test>\r\nCc: ra+other@mine.test, carol@third.test, me@home.test\r\n\
         Date: Fri, 20 Nov 2026 15:05:09 +0530 (IST)\r\nMessage-ID: <1.laptop@home.test>\r\nIn-Reply-To: <q@stranger.test>\r\n\
         References: <p@stranger.test> <0@mail.home.test>\r\n <q@stranger.test>\r\nSubject: Re: your order\r\nThread-Index: abc\r\n\
         Importance: high\r\nMIME-Version: 1.0 (Some Program)\r\nContent-Type: text/plain\r\n\r\nhi bob\r\n",
    );
    assert_eq!(
        left,
        "Date: Fri, 20 Nov 2026 09:35:09 +0000\r\nFrom: \"The Shop\" <shop@mine.test>\r\nTo: <bob@stranger.test>\r\n\
         Message-ID: <new@mine.test>\r\nIn-Reply-To: <q@stranger.test>\r\nReferences: <p@stranger.test>\r\n <q@stranger.test>\r\n\
         Subject: Re: your order\r\nImportance: high\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nhi bob\r\n"
    );
}

#[test]
fn what_is_missing_or_unreadable_is_made_up_or_left_out() {
    assert_eq!(
        text("Date: yesterday\r\nReferences: <1@home.test>\r\nSubject: a\r\nSubject: b\r\n\r\n"),
        "Date: Fri, 20 Nov 2026 14:05:09 +0000\r\nFrom: \"The Shop\" <shop@mine.test>\r\nTo: <bob@stranger.test>\r\n\
         Message-ID: <new@mine.test>\r\nSubject: a\r\n\r\n"
    );
    assert!(text("no header at all, me@home.test").ends_with("Message-ID: <new@mine.test>\r\n\r\n"));
}

#[test]
fn a_subject_is_touched_only_where_it_shows_something() {
    let encoded = "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?Q?_aus?=\r\n";
    assert!(text(&format!("{encoded}\r\n")).contains(encoded));
    assert!(text("Subject: Fwd: for ME@home.test\r\n\r\n").contains("\r\nSubject: Fwd: for shop@mine.test\r\n"));
    let left = text("Subject: =?utf-8?B?R3LDvMOfZSBtZUBob21lLnRlc3Q=?=\r\n\r\n");
    let headers = mail::header::Headers::scan(left.as_bytes());
    assert_eq!(
        headers.first("Subject").map(|field| field.text()).as_deref(),
        Some("Grüße shop@mine.test")
    );
}

#[test]
fn octets_that_show_nothing_pass_as_they_are() {
    let body = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nodd =3d \t=\r\n =FC\r\n--b\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nbWVAaG9tZS50ZXN0\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>a\x01\u{fc}\r\n--b--\r\n";
    let left = text(&format!("MIME-Version: 1.0\r\n{body}"));
    assert!(left.ends_with(&format!("MIME-Version: 1.0\r\n{body}")), "{left}");
}
