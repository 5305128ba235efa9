//! DMARC from the message to the decision: records, alignment, authors, silence.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use dns::{Configuration, HickoryResolver, ScriptedResolver};
use mail::{Domain, ReversePath};
use mailauth::{
    dkim::{Algorithm, Signer, generate, record_value, sign},
    dmarc::{Disposition, OnFail, disposition, rewrite_from},
    verify::{DkimResult, DmarcResult, DmarcVerdict, Inbound, Policy, SpfResult, Verdicts, Verifier, aligned_with},
};
use std::{sync::Arc, time::Duration};
use testkit::dns::{Fault, Server};

/// Signs for any domain.
struct World {
    resolver: ScriptedResolver,
    pkcs8: Vec<u8>,
    record: String,
}

impl World {
    fn new() -> Self {
        let key = generate(Algorithm::Ed25519Sha256).unwrap();
        let resolver = ScriptedResolver::new();
        for name in [
            "author.test",
            "sub.author.test",
            "bounce.author.test",
            "evil.test",
            "author.co.uk",
            "other.co.uk",
        ] {
            resolver.txt(name, &["v=spf1 ip4:192.0.2.1 -all"]);
        }
        Self {
            resolver,
            record: record_value(Algorithm::Ed25519Sha256, &key.public_key),
            pkcs8: key.pkcs8.clone(),
        }
    }

    fn message(&self, from: &str, signed_by: Option<&str>) -> Vec<u8> {
        let raw = format!("{from}\r\nTo: b@our.test\r\nSubject: x\r\n\r\nhello\r\n");
        let Some(domain) = signed_by else { return raw.into_bytes() };
        self.resolver.txt(&format!("s1._domainkey.{domain}"), &[&self.record]);
        let signer = Signer::new(Algorithm::Ed25519Sha256, &self.pkcs8, domain, "s1").unwrap();
        let field = sign(&[raw.as_bytes()], &[&signer], 1).unwrap();
        [field, raw.into_bytes()].concat()
    }

    async fn verify(&self, mail_from: &str, raw: &[u8]) -> Verdicts {
        verify(&Verifier::new(Arc::new(self.resolver.clone())), mail_from, raw).await
    }
}

async fn verify(verifier: &Verifier, mail_from: &str, raw: &[u8]) -> Verdicts {
    let inbound = Inbound {
        client: "192.0.2.1".parse().unwrap(),
        helo: "mail.elsewhere.test",
        mail_from: &ReversePath::parse(mail_from).unwrap(),
        hostname: "mx.our.test",
        raw,
    };
    verifier.verify(inbound).await
}

#[tokio::test]
async fn records_and_alignment_in_a_table() {
    // record of author.test, From domain, MAIL FROM domain, signing domain; result, policy, by SPF, by DKIM
    for (record, from, sender, signer, wanted) in [
        ("p=reject", "author.test", "author.test", None, "pass reject spf"),
        ("p=reject", "author.test", "evil.test", Some("author.test"), "pass reject dkim"),
        (
            "p=reject",
            "author.test",
            "author.test",
            Some("author.test"),
            "pass reject spf dkim",
        ),
        ("p=reject", "author.test", "evil.test", Some("evil.test"), "fail reject"),
        ("p=reject", "author.test", "evil.test", None, "fail reject"),
        ("p=quarantine", "author.test", "evil.test", None, "fail quarantine"),
        ("p=none", "author.test", "evil.test", None, "fail none"),
        ("p=reject; pct=0", "author.test", "evil.test", None, "fail reject"),
        ("p=reject; t=y", "author.test", "evil.test", None, "fail quarantine"),
        // relaxed and strict
        ("p=reject", "author.test", "bounce.author.test", None, "pass reject spf"),
        ("p=reject; aspf=s", "author.test", "bounce.author.test", None, "fail reject"),
        ("p=reject; aspf=s", "author.test", "author.test", None, "pass reject spf"),
        ("p=reject", "author.test", "evil.test", Some("sub.author.test"), "pass reject dkim"),
        (
            "p=reject; adkim=s",
            "author.test",
            "evil.test",
            Some("sub.author.test"),
            "fail reject",
        ),
        (
            "p=reject; adkim=s",
            "author.test",
            "bounce.author.test",
            Some("sub.author.test"),
            "pass reject spf",
        ),
        ("p=reject", "AUTHOR.test", "author.TEST", None, "pass reject spf"),
        // subdomains have the organization's policy for them
        ("p=reject", "sub.author.test", "evil.test", None, "fail reject"),
        ("p=reject; sp=none", "sub.author.test", "evil.test", None, "fail none"),
        ("p=none; sp=quarantine", "sub.author.test", "evil.test", None, "fail quarantine"),
        ("p=none; sp=quarantine", "author.test", "evil.test", None, "fail none"),
        ("p=none; np=reject", "sub.author.test", "evil.test", None, "fail none"),
        ("p=none; np=reject", "absent.author.test", "evil.test", None, "fail reject"),
        ("p=reject", "sub.author.test", "author.test", None, "pass reject spf"),
        ("p=reject", "a.b.c.author.test", "evil.test", None, "fail reject"),
        // nothing published
        ("", "author.test", "author.test", Some("author.test"), "none none spf dkim"),
        ("", "author.test", "evil.test", None, "none none"),
        ("p=reject", "other.test", "evil.test", None, "none none"),
    ] {
        let world = World::new();
        if !record.is_empty() {
            world.resolver.txt("_dmarc.author.test", &[&format!("v=DMARC1; {record}")]);
        }
        let raw = world.message(&format!("From: A <a@{from}>"), signer);
        let Verdicts { dmarc, .. } = world.verify(&format!("x@{sender}"), &raw).await;
        let by = |flag, word| if flag { word } else { "" };
        let seen = format!(
            "{} {}{}{}",
            dmarc.result,
            dmarc.policy,
            by(dmarc.aligned_spf, " spf"),
            by(dmarc.aligned_dkim, " dkim")
        );
        assert_eq!(seen, wanted, "{record} {from} {sender} {signer:?}");
        assert_eq!(dmarc.domain, from.to_lowercase());
    }
}

#[tokio::test]
async fn customers_of_one_public_suffix_are_not_aligned() {
    let world = World::new();
    world
        .resolver
        .txt("_dmarc.author.co.uk", &["v=DMARC1; p=reject"])
        .txt("_dmarc.co.uk", &["v=DMARC1; p=none"]);
    let raw = world.message("From: a@author.co.uk", Some("other.co.uk"));
    let verdicts = world.verify("x@other.co.uk", &raw).await;
    assert_eq!((verdicts.dmarc.result, verdicts.dmarc.policy), (DmarcResult::Fail, Policy::Reject));
    assert_eq!(verdicts.words().dkim, DkimResult::Pass);
    let [author, other] = ["mail.author.co.uk", "mail.other.co.uk"].map(|name| Domain::parse(name).unwrap());
    assert!(!aligned_with(&verdicts, &author));
    assert!(aligned_with(&verdicts, &other));
}

#[tokio::test]
async fn several_records_are_none_and_other_texts_are_no_matter() {
    let world = World::new();
    let raw = world.message("From: a@sub.author.test", None);
    world
        .resolver
        .txt("_dmarc.sub.author.test", &["v=DMARC1; p=none", "v=DMARC1; p=quarantine"]);
    world.resolver.txt("_dmarc.author.test", &["hello", "v=DMARC1; p=reject"]);
    assert_eq!(world.verify("x@evil.test", &raw).await.dmarc.policy, Policy::Reject);
    world.resolver.txt("_dmarc.sub.author.test", &["v=DMARC1; p=none", "hello"]);
    assert_eq!(world.verify("x@evil.test", &raw).await.dmarc.policy, Policy::None);
}

#[tokio::test]
async fn of_several_authors_the_worst_verdict_counts_and_without_one_there_is_none() {
    let world = World::new();
    world
        .resolver
        .txt("_dmarc.author.test", &["v=DMARC1; p=reject"])
        .txt("_dmarc.evil.test", &["v=DMARC1; p=none"]);
    for (from, wanted) in [
        ("From: e@evil.test", "pass none evil.test"),
        ("From: e@evil.test\r\nFrom: a@author.test", "fail reject author.test"),
        ("From: a@author.test\r\nfrom : e@evil.test", "fail reject author.test"),
        ("From: e@evil.test, a@author.test", "fail reject author.test"),
        ("From: e@evil.test, f@evil.test", "pass none evil.test"),
        ("From: e@evil.test, a@unknown.test", "none none unknown.test"),
        ("From: \"a@author.test\" <e@evil.test>", "pass none evil.test"),
        ("From: a b@author.test", "fail reject author.test"),
        ("From: =?utf-8?q?A?= <a@author.test", "fail reject author.test"),
        (
            "From: a@b.test, a@c.test, a@d.test, a@e.test, a@f.test",
            "permerror quarantine b.test",
        ),
        ("X-From: a@author.test", "none none "),
        ("From: nobody", "none none "),
        ("From:", "none none "),
        ("From: a@[192.0.2.1]", "none none "),
        ("no header at all", "none none "),
    ] {
        let dmarc = world.verify("x@evil.test", &world.message(from, None)).await.dmarc;
        assert_eq!(format!("{} {} {}", dmarc.result, dmarc.policy, dmarc.domain), wanted, "{from}");
    }
    let many = "From: e@evil.test\r\n".repeat(20) + "From: a@author.test";
    let dmarc = world.verify("x@evil.test", &world.message(&many, None)).await.dmarc;
    assert_eq!(dmarc.result, DmarcResult::PermError);
}

#[tokio::test]
async fn silence_is_never_a_failure() {
    let server = Server::start().await;
    server.set("_dmarc.author.test", "TXT", &["v=DMARC1; p=reject"]);
    server.set("evil.test", "TXT", &["v=spf1 ip4:192.0.2.1 -all"]);
    let verifier = || {
        let configuration = Configuration {
            servers: vec![server.address],
            ..Configuration::default()
        };
        Verifier::new(Arc::new(HickoryResolver::new(&configuration).unwrap()))
    };
    let world = World::new();
    let signed = world.message("From: a@author.test", Some("author.test"));
    let bare = world.message("From: a@author.test", None);
    for fault in [Fault::ServFail, Fault::Refused] {
        server.fault("s1._domainkey.author.test", fault);
        let verdicts = verify(&verifier(), "x@evil.test", &signed).await;
        assert_eq!(verdicts.words().dkim, DkimResult::TempError);
        assert_eq!(
            (verdicts.dmarc.result, verdicts.dmarc.policy),
            (DmarcResult::TempError, Policy::Reject)
        );
        assert_eq!(disposition(&verdicts.dmarc, OnFail::AsPublished), Disposition::Accept);

        server.fault("author.test", fault);
        let verdicts = verify(&verifier(), "x@author.test", &bare).await;
        assert_eq!(
            (verdicts.spf.result, verdicts.dmarc.result),
            (SpfResult::TempError, DmarcResult::TempError)
        );
        // What is silent would not be aligned anyhow.
        assert_eq!(verify(&verifier(), "x@evil.test", &bare).await.dmarc.result, DmarcResult::Fail);

        server.fault("_dmarc.author.test", fault);
        let verdicts = verify(&verifier(), "x@evil.test", &bare).await;
        assert_eq!(
            (verdicts.dmarc.result, verdicts.dmarc.policy),
            (DmarcResult::TempError, Policy::None)
        );
        for name in ["s1._domainkey.author.test", "author.test", "_dmarc.author.test"] {
            server.fault(name, None);
        }
    }
    for name in ["s1._domainkey.author.test", "author.test", "_dmarc.author.test"] {
        server.fault(name, Fault::Mute);
    }
    let started = std::time::Instant::now();
    let verdicts = verify(&verifier().with_patience(Duration::from_millis(300)), "x@author.test", &signed).await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "all wait at the same time, and not for long"
    );
    let words = serde_json::to_string(&verdicts.words()).unwrap();
    assert_eq!(words, r#"{"spf":"temperror","dkim":"temperror","dmarc":"temperror"}"#);
}

#[test]
fn what_is_done_about_it_in_a_table() {
    use {Disposition as D, DmarcResult as R, OnFail as O, Policy as P};
    let verdict = |result, policy, aligned_spf, aligned_dkim| DmarcVerdict {
        result,
        domain: "author.test".into(),
        policy,
        aligned_spf,
        aligned_dkim,
    };
    for (result, policy, [published, accept, quarantine, refuse]) in [
        (R::Fail, P::Reject, [D::Refuse, D::Accept, D::Quarantine, D::Refuse]),
        (R::Fail, P::Quarantine, [D::Quarantine, D::Accept, D::Quarantine, D::Refuse]),
        (R::Fail, P::None, [D::Accept, D::Accept, D::Quarantine, D::Refuse]),
        (R::PermError, P::Quarantine, [D::Quarantine, D::Accept, D::Quarantine, D::Refuse]),
        (R::Pass, P::Reject, [D::Accept; 4]),
        (R::None, P::None, [D::Accept; 4]),
        (R::TempError, P::Reject, [D::Accept; 4]),
    ] {
        let verdict = verdict(result, policy, false, false);
        let done = [O::AsPublished, O::Accept, O::Quarantine, O::Refuse].map(|on_fail| disposition(&verdict, on_fail));
        assert_eq!(done, [published, accept, quarantine, refuse], "{result} {policy}");
    }
    for (result, policy, spf, dkim, rewritten) in [
        (R::Pass, P::Reject, true, false, true),
        (R::Pass, P::Quarantine, true, false, true),
        (R::Pass, P::None, true, false, false),
        (R::Pass, P::Reject, true, true, false),
        (R::Pass, P::Reject, false, true, false),
        (R::Fail, P::Reject, false, false, false),
        (R::TempError, P::Reject, false, false, false),
        (R::None, P::None, true, false, false),
    ] {
        assert_eq!(
            rewrite_from(&verdict(result, policy, spf, dkim)),
            rewritten,
            "{result} {policy} {spf} {dkim}"
        );
    }
}

#[tokio::test]
async fn a_reply_is_shown_to_come_from_a_domain_by_spf_or_dkim_and_not_by_its_from() {
    let world = World::new();
    let [author, mail, evil] = ["author.test", "mail.author.test", "evil.test"].map(|name| Domain::parse(name).unwrap());
    let from = "From: a@author.test";
    let by_spf = world.verify("x@bounce.author.test", &world.message(from, None)).await;
    assert!(aligned_with(&by_spf, &author) && aligned_with(&by_spf, &mail) && !aligned_with(&by_spf, &evil));
    let by_dkim = world.verify("x@unknown.test", &world.message(from, Some("sub.author.test"))).await;
    assert!(aligned_with(&by_dkim, &author) && !aligned_with(&by_dkim, &evil));
    let by_neither = world.verify("x@evil.test", &world.message(from, Some("evil.test"))).await;
    assert!(!aligned_with(&by_neither, &author) && aligned_with(&by_neither, &evil));
    let mut broken = world.message(from, Some("author.test"));
    broken.extend_from_slice(b"more\r\n");
    assert!(!aligned_with(&world.verify("x@unknown.test", &broken).await, &author));
}

#[tokio::test]
async fn verdicts_are_kept_as_json_and_read_again() {
    let world = World::new();
    world.resolver.txt("_dmarc.author.test", &["v=DMARC1; p=reject"]);
    let verdicts = world
        .verify("x@author.test", &world.message("From: a@author.test", Some("author.test")))
        .await;
    let json = serde_json::to_value(&verdicts).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "spf": {"result": "pass", "domain": "author.test"},
            "dkim": [{"result": "pass", "domain": "author.test", "selector": "s1", "algorithm": "ed25519-sha256"}],
            "dmarc": {"result": "pass", "domain": "author.test", "policy": "reject", "aligned_spf": true, "aligned_dkim": true},
        })
    );
    assert_eq!(serde_json::from_value::<Verdicts>(json).unwrap(), verdicts);
}
