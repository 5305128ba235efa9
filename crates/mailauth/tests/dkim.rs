//! Signatures that dkimpy made, verified here, over a name server in this process.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod support;

use dns::ScriptedResolver;
use mailauth::{
    dkim::{Algorithm, MAX_HEADER_OCTETS, MAX_SIGNATURES, generate, record_value},
    verify::{DkimVerdict, Verdicts},
};
use serde_json::{Value, json};
use std::sync::LazyLock;
use support::{Signed, dkimpy, pem, verifier, verify};
use testkit::dns::{Fault, Server};

const MESSAGE: &str = "Received: from x by y\r\nFrom: \"Bü ro\" <a@a.test>\r\nTo: b@b.test,\r\n\t\"C  D\" <c@c.test>\r\nSubject:  a \t folded\r\n  \
     subject  \r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@a.test>\r\n\r\nline  one \r\n\r\nline\ttwo\r\n\r\n";

fn words(verdicts: &Verdicts) -> Vec<(&'static str, &str)> {
    let reason = |verdict: &DkimVerdict| verdict.reason.clone().unwrap_or_default().leak() as &str;
    verdicts
        .dkim
        .iter()
        .map(|verdict| (verdict.result.as_str(), reason(verdict)))
        .collect()
}

/// Everything is signed in one run of Python: it takes its time to start.
static WORLD: LazyLock<Signed> = LazyLock::new(|| {
    let mut world = dkimpy(&json!({
        "keys": {"r1024": 1024, "r512": 512, "e": "ed25519", "r2048": pem(&RSA.pkcs8), "other": 1024},
        "jobs": jobs(),
    }));
    world
        .records
        .push(("r2048".into(), record_value(Algorithm::RsaSha256, &RSA.public_key)));
    world
});
static RSA: LazyLock<mailauth::dkim::Generated> = LazyLock::new(|| generate(Algorithm::RsaSha256).unwrap());

fn jobs() -> Value {
    // All ended as SMTP ends them, but for one: dkimpy keeps blanks in an unended last line, and we do not.
    let bodies = [
        "",
        "\r\n",
        "hello",
        "hello\r\n",
        "hello\r\n \r\n",
        " \r\n",
        "\t \r\n\r\n",
        "a  b \r\n\r\n\r\nc\r\n\r\n",
    ];
    let mut jobs = Vec::new();
    for canonicalize in ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"] {
        for key in ["r1024", "r2048", "e"] {
            jobs.push(json!({"name": format!("{canonicalize} {key}"), "text": MESSAGE, "key": key, "canonicalize": canonicalize}));
        }
        for body in bodies {
            let text = format!("From: a@a.test\r\nSubject: x\r\n\r\n{body}");
            jobs.push(json!({"name": format!("{canonicalize} {body:?}"), "text": text, "key": "r1024", "canonicalize": canonicalize}));
        }
    }
    let text = MESSAGE;
    jobs.push(json!({"name": "several", "text": text, "key": "r1024", "also": ["e", "r2048"]}));
    jobs.push(json!({"name": "length", "text": text, "key": "r1024", "length": true}));
    jobs.push(json!({"name": "length simple", "text": text, "key": "e", "length": true, "canonicalize": "simple/simple"}));
    jobs.push(json!({"name": "expires", "text": text, "key": "r1024", "expires": 2_000_000_000}));
    jobs.push(json!({"name": "short", "text": text, "key": "r512"}));
    jobs.push(json!({"name": "identity", "text": text, "key": "e", "identity": "x@sub.a.test"}));
    jobs.into()
}

fn signed(name: &str) -> Vec<u8> {
    let jobs = jobs();
    let at = jobs.as_array().unwrap().iter().position(|job| job["name"] == name).expect(name);
    WORLD.signed[at].clone()
}

fn resolver() -> ScriptedResolver {
    let resolver = ScriptedResolver::new();
    for (selector, record) in &WORLD.records {
        resolver.txt(&format!("{selector}._domainkey.a.test"), &[record]);
    }
    resolver
}

#[tokio::test]
async fn every_canonicalization_key_and_body_verifies() {
    let verifier = verifier(resolver());
    let jobs = jobs();
    for (job, raw) in jobs.as_array().unwrap().iter().zip(&WORLD.signed) {
        let name = job["name"].as_str().unwrap();
        if name == "short" {
            continue;
        }
        let verdicts = verify(&verifier, raw).await;
        assert!(!verdicts.dkim.is_empty(), "{name}");
        for verdict in &verdicts.dkim {
            assert_eq!((verdict.result.as_str(), &verdict.reason), ("pass", &None), "{name}");
            assert_eq!(verdict.domain, "a.test");
        }
    }
}

#[tokio::test]
async fn several_signatures_are_told_apart() {
    let server = Server::start().await;
    for (selector, record) in &WORLD.records {
        server.set(&format!("{selector}._domainkey.a.test"), "TXT", &[record]);
    }
    server
        .fault("e._domainkey.a.test", Fault::ServFail)
        .remove("r1024._domainkey.a.test");
    let verdicts = verify(&support::over(&server), &signed("several")).await;
    let seen: Vec<_> = (verdicts.dkim.iter())
        .map(|verdict| (verdict.selector.as_str(), verdict.algorithm.as_str(), verdict.result.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("r2048", "rsa-sha256", "pass"),
            ("e", "ed25519-sha256", "temperror"),
            ("r1024", "rsa-sha256", "permerror")
        ]
    );
    assert_eq!(verdicts.words().dkim.as_str(), "pass");
}

#[tokio::test]
async fn what_was_changed_does_not_verify() {
    let verifier = verifier(resolver());
    let fine = String::from_utf8(signed("relaxed/relaxed r1024")).unwrap();
    for (from, to, reason) in [
        ("line  one", "line 1", "the body hash did not verify"),
        ("Subject:", "Subject: x", "the signature did not verify"),
        ("To: b@b.test", "To: x@b.test", "the signature did not verify"),
        ("\r\n\r\nline", "\r\nFrom: evil@b.test\r\n\r\nline", "the signature did not verify"),
    ] {
        let changed = fine.replacen(from, to, 1);
        assert_ne!(changed, fine);
        assert_eq!(words(&verify(&verifier, changed.as_bytes()).await), [("fail", reason)], "{from}");
    }
    for (from, to) in [
        ("Received: from x", "Received: from z"),
        ("line  one \r\n", "line one\r\n"),
        ("Subject:  a \t", "SUBJECT: a "),
    ] {
        let harmless = fine.replacen(from, to, 1);
        assert_eq!(words(&verify(&verifier, harmless.as_bytes()).await), [("pass", "")], "{from}");
    }
    let simple = String::from_utf8(signed("simple/simple r1024")).unwrap();
    let changed = simple.replacen("Subject:  a", "Subject: a", 1);
    assert_eq!(
        words(&verify(&verifier, changed.as_bytes()).await),
        [("fail", "the signature did not verify")]
    );
}

#[tokio::test]
async fn a_signature_of_a_part_of_the_body_is_not_enough() {
    let verifier = verifier(resolver());
    for name in ["length", "length simple"] {
        let mut raw = signed(name);
        assert_eq!(words(&verify(&verifier, &raw).await), [("pass", "")], "{name}");
        raw.extend_from_slice(b"more\r\n");
        assert_eq!(
            words(&verify(&verifier, &raw).await),
            [("policy", "only a part of the body is signed")],
            "{name}"
        );
    }
    let raw = String::from_utf8(signed("length")).unwrap();
    let shorter = raw.replace("line\ttwo\r\n\r\n", "");
    assert_eq!(verify(&verifier, shorter.as_bytes()).await.words().dkim.as_str(), "fail");
}

#[tokio::test]
async fn time_runs_out() {
    let verifier = verifier(resolver());
    let raw = signed("expires");
    for (now, wanted) in [
        (1_999_999_999, ("pass", "")),
        (2_000_000_000, ("pass", "")),
        (2_000_000_001, ("fail", "the signature has expired")),
    ] {
        assert_eq!(words(&verifier.verify_at(support::inbound(&raw), now).await), [wanted]);
    }
}

#[tokio::test]
async fn keys_that_cannot_serve() {
    let raw = signed("relaxed/relaxed r1024");
    let record = &WORLD.records.iter().find(|(selector, _)| selector == "r1024").unwrap().1;
    let other = &WORLD.records.iter().find(|(selector, _)| selector == "other").unwrap().1;
    let name = "r1024._domainkey.a.test";
    for (records, word) in [
        (vec![record.as_str()], "pass"),
        (vec![other, record], "pass"),
        (vec!["v=spf1 -all", record], "pass"),
        (vec![other], "fail"),
        (vec!["v=DKIM1; p="], "permerror"),
        (vec!["v=DKIM1; k=ed25519; p=AAAA"], "permerror"),
        (vec!["v=DKIM1; p=AAAA"], "permerror"),
        (vec!["hello"], "permerror"),
        (vec![], "permerror"),
    ] {
        let resolver = ScriptedResolver::new();
        resolver.txt(name, &records);
        let verdicts = verify(&verifier(resolver), &raw).await;
        assert_eq!(verdicts.words().dkim.as_str(), word, "{records:?}");
    }
    let verdicts = verify(&verifier(resolver()), &signed("short")).await;
    assert_eq!(words(&verdicts), [("policy", "the key is shorter than 1024 bits (RFC 8301)")]);
    let strict = ScriptedResolver::new();
    let ed25519 = &WORLD.records.iter().find(|(selector, _)| selector == "e").unwrap().1;
    strict.txt("e._domainkey.a.test", &[&format!("{ed25519}; t=s")]);
    let verdicts = verify(&verifier(strict), &signed("identity")).await;
    assert_eq!(words(&verdicts), [("permerror", "the key is not for subdomains")]);
}

#[tokio::test]
async fn there_are_bounds() {
    let fine = signed("relaxed/relaxed e");
    let bogus = "DKIM-Signature: v=1; a=rsa-sha256; d=evil.test; s=x; h=From; bh=AAAA; b=AAAA\r\n".repeat(MAX_SIGNATURES * 2);
    let raw = [bogus.as_bytes(), &fine].concat();
    let verdicts = verify(&verifier(resolver()), &raw).await;
    assert_eq!(verdicts.dkim.len(), MAX_SIGNATURES);
    assert_eq!(
        verdicts.words().dkim.as_str(),
        "pass",
        "the author's own signature is looked at all the same"
    );
    let padding = format!("X-Padding: {}\r\n", "x".repeat(MAX_HEADER_OCTETS));
    let raw = [padding.as_bytes(), &fine].concat();
    assert_eq!(
        words(&verify(&verifier(resolver()), &raw).await),
        [("policy", "the header is too large")]
    );
    for garbage in [
        "",
        "\r\n",
        "DKIM-Signature:",
        "DKIM-Signature: ;;\r\n",
        "DKIM-Signature\r\n: v=1",
        "\0\u{fffd}:\r\n\r\n",
    ] {
        let verdicts = verify(&verifier(resolver()), garbage.as_bytes()).await;
        assert!(matches!(verdicts.words().dkim.as_str(), "none" | "neutral"), "{garbage:?}");
    }
}

#[tokio::test]
async fn what_we_sign_we_verify() {
    let resolver = ScriptedResolver::new();
    for (algorithm, selector) in [(Algorithm::RsaSha256, "r"), (Algorithm::Ed25519Sha256, "e")] {
        let key = generate(algorithm).unwrap();
        resolver.txt(
            &format!("{selector}._domainkey.a.test"),
            &[&record_value(algorithm, &key.public_key)],
        );
        let signer = mailauth::dkim::Signer::new(algorithm, &key.pkcs8, "a.test", selector).unwrap();
        let field = mailauth::dkim::sign(&[MESSAGE.as_bytes()], &[&signer], 1_700_000_000).unwrap();
        let raw = [&field, MESSAGE.as_bytes()].concat();
        assert_eq!(words(&verify(&verifier(resolver.clone()), &raw).await), [("pass", "")]);
    }
}
