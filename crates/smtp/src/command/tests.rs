//! The grammar in tables: what is accepted, and with which code the rest is refused.

use super::*;

fn refused(line: &str) -> u16 {
    parse(line.as_bytes()).map_or_else(|reply| reply.code, |command| panic!("{line} is {command:?}"))
}

fn mail_of(line: &str) -> MailParameters {
    match parse(line.as_bytes()) {
        Ok(Command::Mail(parameters)) => *parameters,
        other => panic!("{line} is {other:?}"),
    }
}

fn recipient_of(line: &str) -> RecipientParameters {
    match parse(line.as_bytes()) {
        Ok(Command::Rcpt(parameters)) => *parameters,
        other => panic!("{line} is {other:?}"),
    }
}

#[test]
fn g05_verbs_come_in_any_case_and_a_blank_before_the_path_is_tolerated() {
    assert_eq!(parse(b"ehlo client.test"), Ok(Command::Ehlo("client.test")));
    assert_eq!(parse(b"QuIt  "), Ok(Command::Quit));
    assert_eq!(mail_of("mail from: <a@b.test>").sender.to_string(), "a@b.test");
    assert_eq!(refused("MAIL FROM:a@b.test"), 501);
    assert_eq!(refused("MAIL FROM <a@b.test>"), 501);
    assert_eq!(refused("MAIL"), 501);
    assert_eq!(refused("MAILFROM:<a@b.test>"), 500);
}

#[test]
fn g02_hello_needs_a_name_or_a_literal() {
    for line in ["EHLO", "HELO", "EHLO a b", "EHLO [1.2.3]", "EHLO [IPv6:zz]", "EHLO a<b>", "EHLO ä"] {
        assert_eq!(refused(line), 501, "{line}");
    }
    for line in ["EHLO [192.0.2.1]", "EHLO [IPv6:2001:db8::1]", "EHLO my_host", "HELO localhost"] {
        assert!(parse(line.as_bytes()).is_ok(), "{line}");
    }
}

#[test]
fn g10_known_unknown_and_foreign_verbs() {
    assert_eq!(parse(b"NOOP anything"), Ok(Command::Noop));
    assert_eq!(parse(b"VRFY someone"), Ok(Command::Vrfy));
    assert_eq!(parse(b"EXPN list"), Ok(Command::NotImplemented));
    assert_eq!(parse(b"HELP"), Ok(Command::Help));
    assert_eq!(parse(b"GET / HTTP/1.1"), Ok(Command::Foreign));
    for (line, code) in [
        ("", 500),
        (" ", 500),
        ("XYZZY", 500),
        ("DATA x", 501),
        ("RSET x", 501),
        ("QUIT x", 501),
        ("STARTTLS x", 501),
        ("VRFY", 501),
    ] {
        assert_eq!(refused(line), code, "{line}");
    }
}

#[test]
fn g06_lengths_are_limits() {
    let local = |octets: usize| format!("MAIL FROM:<{}@b.test>", "l".repeat(octets));
    assert!(parse(local(64).as_bytes()).is_ok());
    assert_eq!(refused(&local(65)), 501);
    let path = |octets: usize| {
        let label = "d".repeat(60);
        let rest = octets - 2 - 2 - 3 * 61;
        format!("RCPT TO:<l@{label}.{label}.{label}.{}>", "e".repeat(rest))
    };
    assert!(parse(path(240).as_bytes()).is_ok(), "{}", path(240));
    assert_eq!(
        refused(&format!("RCPT TO:<{}@{}.test>", "l".repeat(64), "d.".repeat(100) + "d")),
        501
    );
}

#[test]
fn g11_g12_the_null_path_and_postmaster() {
    assert!(mail_of("MAIL FROM:<>").sender.is_null());
    assert_eq!(refused("RCPT TO:<>"), 501);
    assert_eq!(recipient_of("RCPT TO:<postMaster>").recipient, ForwardPath::Postmaster);
}

#[test]
fn g13_quoted_local_parts() {
    assert_eq!(recipient_of(r#"RCPT TO:<"a b"@d.test>"#).recipient.to_string(), r#""a b"@d.test"#);
    assert_eq!(
        recipient_of(r#"RCPT TO:<"a\">b"@d.test>"#).recipient.to_string(),
        r#""a\">b"@d.test"#
    );
    assert_eq!(recipient_of(r#"RCPT TO:<"abc"@d.test>"#).recipient.to_string(), "abc@d.test");
    assert_eq!(refused(r#"RCPT TO:<"abc@d.test>"#), 501);
    assert_eq!(refused("RCPT TO:<a@d.test>x"), 501);
    assert_eq!(refused("RCPT TO:<@a.test:b@d.test>"), 501);
}

#[test]
fn g16_utf8_needs_smtputf8() {
    assert_eq!(parse("MAIL FROM:<ü@b.test>".as_bytes()), Err(replies::NEEDS_SMTPUTF8));
    assert!(mail_of("MAIL FROM:<ü@b.test> SMTPUTF8").smtputf8);
    assert!(recipient_of("RCPT TO:<ü@b.test>").beyond_ascii);
    assert_eq!(refused("MAIL FROM:<a@b.test> SMTPUTF8=1"), 501);
}

#[test]
fn g17_sizes_are_numbers() {
    assert_eq!(mail_of("MAIL FROM:<a@b.test> SIZE=123").size, Some(123));
    for value in ["99999999999999999999", "-1", "", "1k", "+1"] {
        assert_eq!(refused(&format!("MAIL FROM:<a@b.test> SIZE={value}")), 501, "{value}");
    }
    assert_eq!(refused("MAIL FROM:<a@b.test> SIZE"), 501);
}

#[test]
fn g19_chunk_sizes_are_numbers() {
    assert_eq!(parse(b"BDAT 0 LAST"), Ok(Command::Bdat { size: 0, last: true }));
    assert_eq!(parse(b"bdat 86 last"), Ok(Command::Bdat { size: 86, last: true }));
    assert_eq!(parse(b"BDAT 9"), Ok(Command::Bdat { size: 9, last: false }));
    for line in [
        "BDAT",
        "BDAT -1",
        "BDAT x",
        "BDAT 99999999999999999999",
        "BDAT 1 FIRST",
        "BDAT 1 LAST x",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(replies::BAD_CHUNK_SIZE), "{line}");
    }
}

#[test]
fn g21_g22_unknown_and_repeated_parameters() {
    assert_eq!(refused("MAIL FROM:<a@b.test> BODY=BINARYMIME"), 555);
    assert_eq!(refused("MAIL FROM:<a@b.test> XYZ=1"), 555);
    assert_eq!(refused("RCPT TO:<a@b.test> SIZE=1"), 555);
    assert_eq!(refused("MAIL FROM:<a@b.test> SIZE=1 size=2"), 501);
    assert_eq!(refused("RCPT TO:<a@b.test> NOTIFY=NEVER NOTIFY=NEVER"), 501);
    assert_eq!(mail_of("MAIL FROM:<a@b.test> body=8bitmime AUTH=<>").body, Body::EightBitMime);
}

#[test]
fn g23_dsn_parameters() {
    let mail = mail_of("MAIL FROM:<a@b.test> RET=HDRS ENVID=QQ+2B1");
    assert_eq!((mail.ret, mail.envelope_id.as_deref()), (Some(Return::Headers), Some("QQ+1")));
    let recipient = recipient_of("RCPT TO:<a@b.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+40x@b.test");
    assert_eq!(recipient.notify.unwrap().to_string(), "SUCCESS,DELAY");
    assert_eq!(recipient.original_recipient.as_deref(), Some("rfc822;Bob@x@b.test"));
    assert_eq!(
        recipient_of("RCPT TO:<ü@b.test> ORCPT=utf-8;ü@b.test")
            .original_recipient
            .as_deref(),
        Some("utf-8;ü@b.test")
    );
    for parameter in [
        "NOTIFY=NEVER,SUCCESS",
        "NOTIFY=",
        "NOTIFY",
        "ORCPT=rfc822;a+zz",
        "ORCPT=a@b.test",
        "ORCPT=;x",
        "ORCPT=rfc822;a+0D+0Ab",
    ] {
        assert_eq!(refused(&format!("RCPT TO:<a@b.test> {parameter}")), 501, "{parameter}");
    }
    for parameter in ["RET=HALF", "RET", "ENVID=", "ENVID=a+0A", "ENVID=+2b"] {
        assert_eq!(refused(&format!("MAIL FROM:<a@b.test> {parameter}")), 501, "{parameter}");
    }
}

#[test]
fn d23_g26_stray_line_endings_and_invalid_utf8_spoil_the_whole_line() {
    assert_eq!(parse(b"NOOP\rNOOP"), Err(replies::BARE_LINE_ENDING));
    assert_eq!(parse(b"NOOP\0"), Err(replies::BARE_LINE_ENDING));
    assert_eq!(parse(b"MAIL FROM:<\xff@b.test>"), Err(replies::NOT_UTF8));
}

#[test]
fn o08_to_o24_routing_tricks_are_plain_local_parts_or_refused() {
    for path in ["victim%other@u.test", "u.test!other!victim@u.test", r#""victim@other"@u.test"#] {
        assert_eq!(recipient_of(&format!("RCPT TO:<{path}>")).recipient.to_string(), path);
    }
    for path in [
        "victim@other@u.test",
        "@u.test:victim@other",
        "@u.test,@x.test:victim@other.test",
        "other!victim",
        r#""victim@other""#,
        "v@other(comment)",
        "v",
        "@",
        "a@",
    ] {
        assert_eq!(refused(&format!("RCPT TO:<{path}>")), 501, "{path}");
    }
}

proptest::proptest! {
    #[test]
    fn g32_no_line_makes_the_parser_panic(line in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let _ = parse(&line);
    }

    #[test]
    fn g32_no_text_after_a_verb_makes_the_parser_panic(verb in "MAIL FROM:<|RCPT TO:<|AUTH |BDAT |EHLO ", rest in "\\PC{0,200}") {
        let _ = parse(format!("{verb}{rest}").as_bytes());
    }
}
