//! Reports that we write: complete, readable by ourselves, and closed to whatever others put into them (RFC 3464; assurance G23, L09, L10).

use chrono::DateTime;
use mail::dsn::{self, Action, Dsn, Kind, MAX_ORIGINAL_OCTETS, Original, Privacy, ReportedRecipient};
use mail::header::Headers;
use mail::{Address, EnhancedCode};
use proptest::prelude::*;

const ORIGINAL: &[u8] =
    b"From: anna@example.org\r\nTo: nobody@dest.example\r\nMessage-ID: <1@example.org>\r\nSubject: Hello\r\n\r\nHello, world\r\n";

fn address(text: &str) -> Address {
    #[expect(clippy::unwrap_used, reason = "the tests pass addresses that parse")]
    Address::parse(text).unwrap()
}

fn failure(address: &Address) -> ReportedRecipient<'_> {
    ReportedRecipient {
        final_recipient: address,
        original_recipient: Some("rfc822;first@alias.example"),
        action: Action::Failed,
        status: EnhancedCode(5, 1, 1),
        remote_mta: Some("mx.dest.example"),
        diagnostic: Some("550 5.1.1 <nobody@dest.example>: Recipient address rejected: User unknown in virtual mailbox table"),
        last_attempt: DateTime::from_timestamp(1_795_183_600, 0),
        will_retry_until: None,
    }
}

fn report<'a>(to: &'a Address, recipients: &'a [ReportedRecipient<'a>], original: Original<'a>) -> Dsn<'a> {
    Dsn {
        reporting_mta: "mail.example.org",
        envelope_id: Some("QQ 314159"),
        arrival: DateTime::from_timestamp(1_795_183_509, 0),
        to,
        recipients,
        original,
        message_id: "<report-1@mail.example.org>",
        boundary: "0123456789abcdef",
        now: DateTime::from_timestamp(1_795_183_700, 0).unwrap_or_default(),
    }
}

#[test]
fn a_failure_report_has_every_field_and_part() {
    let (to, nobody) = (address("anna@example.org"), address("nobody@dest.example"));
    let raw = dsn::write(&report(&to, &[failure(&nobody)], Original::Full(ORIGINAL)));
    let want = include_str!("../testdata/written/failure.eml").replace('\n', "\r\n");
    assert_eq!(String::from_utf8_lossy(&raw), want);
}

#[test]
fn what_we_write_we_can_read() {
    let (to, nobody, other) = (
        address("anna@example.org"),
        address("nobody@dest.example"),
        address("jürgen@dest.example"),
    );
    let recipients = [
        failure(&nobody),
        ReportedRecipient {
            original_recipient: None,
            action: Action::Delayed,
            status: EnhancedCode(4, 4, 1),
            remote_mta: None,
            diagnostic: Some("connection timed out"),
            ..failure(&other)
        },
    ];
    let read = dsn::parse(&dsn::write(&report(&to, &recipients, Original::Headers(ORIGINAL)))).unwrap();
    assert_eq!(read.kind, Kind::Failure);
    assert_eq!(read.reporting_mta.as_deref(), Some("mail.example.org"));
    assert_eq!(read.envelope_id.as_deref(), Some("QQ 314159"));
    assert_eq!(read.original_message_id().as_deref(), Some("<1@example.org>"));
    assert_eq!(read.recipients.len(), 2);
    assert_eq!(read.recipients[0].final_recipient.as_ref(), Some(&nobody));
    assert_eq!(read.recipients[0].original_recipient, Some(address("first@alias.example")));
    assert_eq!(read.recipients[0].status, Some(EnhancedCode(5, 1, 1)));
    assert_eq!(read.recipients[1].final_recipient.as_ref(), Some(&other));
    assert_eq!(read.recipients[1].diagnostic.as_deref(), Some("connection timed out"));
}

#[test]
fn the_original_is_cut_at_a_line_end_or_reduced_to_its_header() {
    let (to, nobody) = (address("anna@example.org"), address("nobody@dest.example"));
    let long = [ORIGINAL, &b"0123456789 the same line again\r\n".repeat(10_000)].concat();
    let raw = dsn::write(&report(&to, &[failure(&nobody)], Original::Full(&long)));
    assert!(raw.len() < MAX_ORIGINAL_OCTETS + 8 * 1024);
    assert!(String::from_utf8_lossy(&raw).contains("line again\r\n\r\n--=_"));
    let raw = dsn::write(&report(&to, &[failure(&nobody)], Original::Headers(&long)));
    let text = String::from_utf8_lossy(&raw);
    assert!(text.contains("Content-Type: text/rfc822-headers\r\n") && text.contains("Subject: Hello") && !text.contains("Hello, world"));
}

#[test]
fn a_report_is_seven_bit_unless_the_returned_message_is_not() {
    let (to, nobody) = (address("anna@example.org"), address("jürgen@dest.example"));
    let raw = dsn::write(&report(&to, &[failure(&nobody)], Original::Full(ORIGINAL)));
    assert!(raw.is_ascii());
    assert!(String::from_utf8_lossy(&raw).contains("Final-Recipient: utf-8; j\\x{FC}rgen@dest.example\r\n"));
    let eight_bit = [ORIGINAL, "Grüße\r\n".as_bytes()].concat();
    let text = String::from_utf8(dsn::write(&report(&to, &[failure(&nobody)], Original::Full(&eight_bit)))).unwrap();
    assert_eq!(text.matches("Content-Transfer-Encoding: 8bit\r\n").count(), 2);
    let global = "Subject: Grüße\r\n\r\n".as_bytes();
    let text = String::from_utf8(dsn::write(&report(&to, &[failure(&nobody)], Original::Full(global)))).unwrap();
    assert!(text.contains("Content-Type: message/global\r\n"));
}

#[test]
fn a_boundary_that_occurs_in_the_original_is_not_used() {
    let (to, nobody) = (address("anna@example.org"), address("nobody@dest.example"));
    let hostile = [
        ORIGINAL,
        b"--=_0123456789abcdef\r\nContent-Type: message/delivery-status\r\n\r\n--=_0123456789abcdefx--\r\n",
    ]
    .concat();
    let raw = dsn::write(&report(&to, &[failure(&nobody)], Original::Full(&hostile)));
    assert!(String::from_utf8_lossy(&raw).contains("boundary=\"=_0123456789abcdefxx\""));
    assert_eq!(dsn::parse(&raw).unwrap().recipients.len(), 1);
}

proptest! {
    #[test]
    fn no_text_of_others_escapes_its_place(host in "\\PC{0,60}|[\r\n:; -~]{0,60}", diagnostic in "(550 )?([\r\n\0:; -~üé]{0,300}|[a-z]{1200})", id in "[\r\n\0 -~ü]{0,40}", original in "[\r\n\0 -~;ü]{0,40}") {
        let (to, nobody) = (address("anna@example.org"), address("nobody@dest.example"));
        let recipient = ReportedRecipient { remote_mta: Some(&host), diagnostic: Some(&diagnostic), original_recipient: Some(&original), ..failure(&nobody) };
        let recipients = [recipient];
        let raw = dsn::write(&Dsn { envelope_id: Some(&id), reporting_mta: &host, message_id: &id, boundary: &host, ..report(&to, &recipients, Original::Full(ORIGINAL)) });
        let facts = mail::content::inspect(&raw).unwrap();
        prop_assert!(facts.longest_line <= 998);
        prop_assert!(!facts.eight_bit);
        prop_assert!((9..=11).contains(&Headers::scan(&raw).iter().count()));
        let read = dsn::parse(&raw).unwrap();
        prop_assert_eq!(read.recipients.len(), 1);
        prop_assert_eq!(read.recipients[0].final_recipient.as_ref(), Some(&nobody));
        prop_assert_eq!(read.recipients[0].action, Action::Failed);
    }

    #[test]
    fn octets_of_any_kind_are_read_without_panic(head in "(From: mailer-daemon@x\r\n)?(X-Failed-Recipients: a@b\r\n)?(Content-Type: (multipart/report; boundary=b|message/delivery-status|text/plain; charset=[a-z0-9-]{1,12})\r\n)?(Content-Transfer-Encoding: (base64|quoted-printable)\r\n)?\r\n", body in "((--b\r\n)|(--b--)|(Content-Type: message/(delivery-status|feedback-report|rfc822)\r\n)|(Final-Recipient: )|(rfc822;)|(Status: 5.1.1\r\n)|(<a@b>:)|(550 5.1.1 )|\r\n|\\PC){0,60}") {
        let raw = [head.as_bytes(), body.as_bytes()].concat();
        let _ = dsn::parse(&raw);
    }
}

#[test]
fn a_report_on_forwarded_mail_shows_the_alias_and_nothing_behind_it() {
    let bounce = include_str!("../testdata/written/failure.eml")
        .replace('\n', "\r\n")
        .replace("dest.example", "home.test");
    let Some(read) = dsn::parse(bounce.as_bytes()) else {
        panic!("the report is readable")
    };
    let (alias, mailbox, author) = (address("shop@mine.test"), address("nobody@home.test"), address("bob@stranger.test"));
    let privacy = Privacy {
        alias: &alias,
        addresses: &[&mailbox],
        hosts: &[],
    };
    let Some(told) = dsn::private_view(&read.recipients, &privacy) else {
        panic!("it has a recipient")
    };
    let stored =
        b"Received: from x by mail.example.org with ESMTP id y; z\r\nFrom: bob@stranger.test\r\nTo: shop@mine.test\r\n\r\nHello\r\n";
    let original = dsn::as_sent(stored, "mail.example.org");
    let raw = dsn::write(&report(&author, &[told.reported()], Original::Full(original)));
    let text = String::from_utf8_lossy(&raw);
    assert!(
        text.contains("Final-Recipient: rfc822; shop@mine.test\r\n") && text.contains("Status: 5.1.1\r\n"),
        "{text}"
    );
    assert!(text.contains("User unknown"), "{text}");
    for private in ["home.test", "nobody", "Remote-MTA", "Received:"] {
        assert!(!text.contains(private), "{private} shows in {text}");
    }
}

proptest! {
    #[test]
    fn no_diagnostic_gives_a_mailbox_away(words in prop::collection::vec(prop_oneof![
        "[a-zA-Z0-9.:<>()\\[\\]@=/-]{0,10}",
        Just("<Anna.Maier@Home.test>:".to_owned()),
        Just("anna.maier".to_owned()),
        Just("mx1.home.test[192.0.2.7]:25".to_owned()),
        Just("([IPv6:2001:db8::7])".to_owned()),
        Just("https://home.test/?to=anna.maier%40home.test".to_owned()),
        Just("rfc822;anna.maier@home.test".to_owned()),
    ], 0..20), glue in "[ ,;()<>]") {
        let mailbox = address("anna.maier@home.test");
        let told = dsn::scrub_diagnostic(&words.join(&glue), &[&mailbox], &["mx1.home.test"]).to_lowercase();
        for private in ["home.test", "192.0.2.7", "2001:db8::7"] {
            prop_assert!(!told.contains(private), "{private} in {told}");
        }
        let own_word = told.split(|character: char| !(character.is_alphanumeric() || character == '.')).any(|word| word == "anna.maier");
        prop_assert!(!own_word, "{told}");
    }
}
