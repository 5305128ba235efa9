//! Records that a strange server may send, and what is read from them.

use super::*;
use crate::ScriptedResolver;

const HOST: &str = "mx.postroad.test";

fn facts<'a>(keys: &'a [Key<'a>]) -> Facts<'a> {
    Facts {
        domain: "sender.test",
        hostname: HOST,
        ownership_token: "abc",
        return_path_label: "rp",
        keys,
    }
}

const KEYS: &[Key<'static>] = &[Key {
    selector: "pr1",
    algorithm: "rsa",
    public_key: "MIIB+/==",
    required: true,
}];

fn publish(dns: &ScriptedResolver, records: &[WantedRecord]) {
    for record in records {
        match record.kind {
            RecordKind::Txt => dns.txt(&record.name, &[&record.value]),
            RecordKind::Mx => dns.mx(&record.name, &[(record.priority.unwrap_or(0), &record.value)]),
        };
    }
}

async fn status_of(dns: &ScriptedResolver, purpose: Purpose, kind: RecordKind) -> Status {
    let records = wanted(&facts(KEYS));
    let checked = check(dns, HOST, &records).await;
    let at = records
        .iter()
        .position(|record| record.purpose == purpose && record.kind == kind)
        .unwrap();
    checked[at].status
}

#[tokio::test]
async fn what_is_published_as_wanted_is_ok_and_nothing_is_missing() {
    let records = wanted(&facts(KEYS));
    let dns = ScriptedResolver::new();
    assert!(
        check(&dns, HOST, &records)
            .await
            .iter()
            .all(|checked| checked.status == Status::Missing)
    );
    publish(&dns, &records);
    for (record, checked) in records.iter().zip(check(&dns, HOST, &records).await) {
        assert_eq!(checked.status, Status::Ok, "{record:?} {checked:?}");
    }
    let required: Vec<_> = records
        .iter()
        .filter(|record| record.required)
        .map(|record| record.purpose)
        .collect();
    assert_eq!(required, [Purpose::Ownership, Purpose::Dkim]);
}

#[tokio::test]
async fn a_failed_look_up_is_never_a_missing_record() {
    let records = wanted(&facts(KEYS));
    let dns = ScriptedResolver::new();
    for record in &records {
        dns.fail(&record.name);
    }
    for (record, checked) in records.iter().zip(check(&dns, HOST, &records).await) {
        assert_eq!(checked.status, Status::Unchecked, "{record:?}");
    }
}

#[tokio::test]
async fn any_policy_that_lets_us_send_is_right() {
    let dns = ScriptedResolver::new();
    dns.a(HOST, &["192.0.2.7"])
        .a("other.test", &["192.0.2.200"])
        .mx("m.test", &[(5, HOST)]);
    dns.txt("provider.test", &["v=spf1 ip4:192.0.2.0/28 -all"])
        .txt("loop.test", &["v=spf1 include:loop.test -all"])
        .txt("two.test", &["v=spf1 +all", "v=spf1 -all"]);
    for (policy, status) in [
        ("v=spf1 a:mx.postroad.test ~all", Status::Ok),
        ("V=SPF1 A:MX.Postroad.Test. -ALL", Status::Ok),
        ("v=spf1 include:provider.test ~all", Status::Ok),
        ("v=spf1 ip4:192.0.2.7 -all", Status::Ok),
        ("v=spf1 mx:m.test -all", Status::Ok),
        ("v=spf1 a:other.test/24 -all", Status::Ok),
        ("v=spf1 redirect=provider.test", Status::Ok),
        ("v=spf1 a:other.test -all", Status::Wrong),
        ("v=spf1 -ip4:192.0.2.7 +all", Status::Wrong),
        ("v=spf1 include:loop.test -all", Status::Wrong),
        ("v=spf1 include:two.test include:none.test -all", Status::Wrong),
        ("v=spf1 exists:%{i}.x.test -all", Status::Wrong),
        ("v=spf1 ip6:2001:db8::/32 ip4:bad a:/ mx:// -all", Status::Wrong),
        ("v=spf1 -all", Status::Wrong),
        ("v=spf10 +all", Status::Missing),
        ("some other text", Status::Missing),
    ] {
        dns.txt("sender.test", &["unrelated", policy]);
        assert_eq!(status_of(&dns, Purpose::Spf, RecordKind::Txt).await, status, "{policy}");
    }
    dns.txt("sender.test", &["v=spf1 +all", "v=spf1 +all"]);
    assert_eq!(status_of(&dns, Purpose::Spf, RecordKind::Txt).await, Status::Wrong);
}

#[tokio::test]
async fn keys_tokens_and_policies_are_judged_by_what_they_do() {
    let dns = ScriptedResolver::new();
    let name = "pr1._domainkey.sender.test";
    for (text, status) in [
        ("v=DKIM1; k=rsa; p=MIIB+/==", Status::Ok),
        ("v=DKIM1;p=MI IB+/ ==;", Status::Ok),
        ("p=MIIB+/==", Status::Ok),
        ("v=DKIM1; k=rsa; p=", Status::Wrong),
        ("v=DKIM1; k=ed25519; p=MIIB+/==", Status::Wrong),
        ("v=DKIM1; k=rsa; p=MIIBother", Status::Wrong),
    ] {
        dns.txt(name, &[text]);
        assert_eq!(status_of(&dns, Purpose::Dkim, RecordKind::Txt).await, status, "{text}");
    }
    for (text, status) in [
        ("v=DMARC1; p=reject; rua=mailto:x@sender.test", Status::Ok),
        ("v=DMARC1; p=nonsense", Status::Wrong),
        ("p=none; v=DMARC1", Status::Wrong),
        ("hello", Status::Missing),
    ] {
        dns.txt("_dmarc.sender.test", &[text]);
        assert_eq!(status_of(&dns, Purpose::Dmarc, RecordKind::Txt).await, status, "{text}");
    }
    dns.txt("_postroad.sender.test", &["postroad-verification=other"]);
    assert_eq!(status_of(&dns, Purpose::Ownership, RecordKind::Txt).await, Status::Wrong);
    dns.mx("sender.test", &[(10, "mail.elsewhere.test")]);
    assert_eq!(status_of(&dns, Purpose::Mx, RecordKind::Mx).await, Status::Wrong);
}

#[tokio::test]
async fn what_strangers_publish_is_shown_cut_and_without_control_characters() {
    let dns = ScriptedResolver::new();
    let long = "x".repeat(5_000);
    let texts: Vec<&str> = std::iter::repeat_n(long.as_str(), 50).chain(["a\r\nb"]).rev().collect();
    dns.txt("_postroad.sender.test", &texts);
    let checked = check(&dns, HOST, &wanted(&facts(KEYS))).await.swap_remove(0);
    assert_eq!(checked.found.len(), 10);
    assert_eq!(checked.found[0], "a\u{fffd}\u{fffd}b");
    assert!(checked.found.iter().all(|text| text.chars().count() <= 601));
}
