//! `Authentication-Results`: what we write, and what we do not let others write for us.

use mail::ReversePath;
use mailauth::{
    authentication_results, remove_forged,
    verify::{DkimResult, DkimVerdict, DmarcResult, DmarcVerdict, Policy, SpfResult, SpfVerdict, Verdicts},
};
use std::borrow::Cow;

fn verdicts() -> Verdicts {
    Verdicts {
        spf: SpfVerdict {
            result: SpfResult::Pass,
            domain: "a.test".into(),
        },
        dkim: vec![
            DkimVerdict {
                result: DkimResult::Pass,
                domain: "a.test".into(),
                selector: "s1".into(),
                algorithm: "rsa-sha256".into(),
                reason: None,
            },
            DkimVerdict {
                result: DkimResult::Fail,
                domain: "list.test".into(),
                selector: "x".into(),
                algorithm: "rsa-sha256".into(),
                reason: Some("the body hash did not verify".into()),
            },
        ],
        dmarc: DmarcVerdict {
            result: DmarcResult::Pass,
            domain: "a.test".into(),
            policy: Policy::Reject,
            aligned_spf: true,
            aligned_dkim: true,
        },
    }
}

#[test]
fn the_field_reads_as_rfc_8601_wants_it() {
    let mail_from = ReversePath::parse("bounce+1@a.test").unwrap();
    assert_eq!(
        authentication_results("mx.our.test", &verdicts(), &mail_from, "mail.a.test"),
        "Authentication-Results: mx.our.test;\r\n\
         \tspf=pass smtp.mailfrom=bounce+1@a.test;\r\n\
         \tdkim=pass header.d=a.test header.s=s1 header.a=rsa-sha256;\r\n\
         \tdkim=fail reason=\"the body hash did not verify\" header.d=list.test header.s=x header.a=rsa-sha256;\r\n\
         \tdmarc=pass (p=reject) header.from=a.test\r\n"
    );
}

#[test]
fn nothing_that_a_stranger_chose_ends_the_field() {
    let mut verdicts = verdicts();
    verdicts.dkim[0].selector = "x;\r\nBcc: victim@b.test".into();
    verdicts.dkim[0].domain = "a\"b\\c (comment)".into();
    verdicts.dmarc.domain = String::new();
    verdicts.dkim.truncate(1);
    for (mail_from, helo, wanted) in [
        (ReversePath::Null, "evil\r\nX: y; spf=pass", " smtp.helo=\"evil??X: y; spf=pass\";"),
        (ReversePath::Null, "", "spf=pass;"),
        (
            ReversePath::parse("\"a;b\"@a.test").unwrap(),
            "h",
            " smtp.mailfrom=\"\\\"a;b\\\"@a.test\";",
        ),
        (ReversePath::parse("jürgen@a.test").unwrap(), "h", " smtp.mailfrom=a.test;"),
    ] {
        let field = authentication_results("mx.our.test", &verdicts, &mail_from, helo);
        assert!(field.contains(wanted), "{field}");
        assert!(field.contains("header.s=\"x;??Bcc: victim@b.test\"") && field.contains(r#"header.d="a\"b\\c (comment)""#));
        assert!(field.is_ascii() && field.ends_with("dmarc=pass (p=reject)\r\n"));
        let lines = field.strip_suffix("\r\n").unwrap().split("\r\n").skip(1);
        for line in lines {
            assert!(line.starts_with('\t') && !line.contains(['\r', '\n']), "{field}");
        }
    }
    verdicts.dkim.clear();
    let field = authentication_results("mx.our.test", &verdicts, &ReversePath::Null, "");
    assert!(field.contains(";\r\n\tdkim=none;"), "{field}");
}

#[test]
fn a_field_that_claims_our_name_is_removed_and_no_other_octet() {
    let kept = "Received: x\r\nAuthentication-Results: mx.other.test; spf=pass\r\nauthentication-results: mx.our.test.evil.test; dkim=pass\r\n\
                From: a@a.test\r\nARC-Authentication-Results: i=1; mx.our.test; spf=pass\r\n\r\nAuthentication-Results: mx.our.test; spf=pass\r\n";
    for forged in [
        "Authentication-Results: mx.our.test; spf=pass",
        "authentication-RESULTS : MX.Our.Test;\r\n\tdkim=pass header.d=a.test;\r\n dmarc=pass",
        "Authentication-Results:mx.our.test",
        "Authentication-Results:\r\n (a (nested) comment; x)\r\n mx.our.test 1; none",
        "Authentication-Results: mx.our.test(comment); none",
        "Authentication-Results: \"mx.our.test\"; none",
        "Authentication-Results: \"mx.our\\.test\"/1; none",
        "Authentication-Results: mx.our.test.; none",
        "Authentication-Results: ; spf=pass",
        "Authentication-Results: (unclosed mx.our.test; spf=pass",
    ] {
        let raw = kept.replace("From: ", &format!("{forged}\r\nFrom: "));
        let cleaned = remove_forged(raw.as_bytes(), "mx.our.test");
        assert_eq!(String::from_utf8_lossy(&cleaned), kept, "{forged}");
    }
    assert!(matches!(remove_forged(kept.as_bytes(), "mx.our.test"), Cow::Borrowed(_)));
    assert_eq!(
        &*remove_forged("Authentication-Results: büro.test; none\r\n\r\nx".as_bytes(), "xn--bro-hoa.test"),
        b"\r\nx"
    );
    let broken = b"\xff\xfe\0: x\nAuthentication-Results: mx.our.test; none\nFrom: a\r\r\n\nbody";
    assert_eq!(&*remove_forged(broken, "mx.our.test"), b"\xff\xfe\0: x\nFrom: a\r\r\n\nbody");
}
