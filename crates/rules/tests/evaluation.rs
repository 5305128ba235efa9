//! What each field and operator means, on real messages.

#![expect(clippy::unwrap_used, reason = "a test: what cannot be made fails it")]

use mail::{Address, ReversePath};
use rules::{Action, Compiled, Incoming, Level, Rule, Scope, Verdicts, evaluate};
use serde_json::{Value, json};

const MESSAGE: &[u8] = b"Received: from a.example by mx\r\nReceived: from b.example by mx\r\nFrom: \"Anna\" <Anna@Shop.Example>\r\n\
    To: Sales <sales@mine.example>\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe_an?=\r\n\tden WINNER\r\nX-Spam: Yes\r\nX-Empty:\r\n\
    List-Id: <news.shop.example>\r\n\r\nHello\r\n";

fn compiled(matching: &str, conditions: &Value) -> Compiled {
    let rule: Rule = serde_json::from_value(json!({
        "name": "n", "scope": {"organization": true}, "match": matching, "conditions": conditions, "action": {"type": "discard"}
    }))
    .unwrap();
    Compiled::new(&rule).unwrap_or_else(|faults| panic!("{faults:?}"))
}

struct Scene {
    raw: Vec<u8>,
    from: ReversePath,
    to: Address,
}

impl Scene {
    fn new(raw: &[u8], from: &str, to: &str) -> Self {
        Self {
            raw: raw.to_vec(),
            from: if from.is_empty() {
                ReversePath::Null
            } else {
                ReversePath::Address(Address::parse(from).unwrap())
            },
            to: Address::parse(to).unwrap(),
        }
    }

    fn matches(&self, rule: &Compiled) -> bool {
        let verdicts = Verdicts {
            spf: "softfail",
            dkim: "pass",
            dmarc: "",
        };
        rule.matches(&Incoming::new(&self.raw, &self.from, verdicts).to(&self.to))
    }

    fn holds(&self, field: &str, op: &str, value: &Value) -> bool {
        self.matches(&compiled("all", &json!([{"field": field, "op": op, "value": value}])))
    }
}

#[test]
fn every_operator_does_on_every_field_what_it_says() {
    let scene = Scene::new(MESSAGE, "Bounce@mail.shop.example", "Sales+a@mine.example");
    let size = MESSAGE.len();
    for (field, op, value, expected) in [
        ("sender", "equals", json!("ANNA@shop.example"), true),
        ("sender", "equals", json!("anna"), false),
        ("sender", "is", json!("anna@shop.example"), true),
        ("sender", "not_equals", json!("anna@shop.example"), false),
        ("sender", "not_equals", json!("bob@shop.example"), true),
        ("sender", "contains", json!("A@SHOP"), true),
        ("sender", "contains", json!("bounce"), false),
        ("sender", "starts_with", json!("anna@"), true),
        ("sender", "starts_with", json!("nna@"), false),
        ("sender", "ends_with", json!("@shop.EXAMPLE"), true),
        ("sender", "ends_with", json!("@shop"), false),
        ("sender", "matches", json!("^[Aa]nna@"), true),
        ("sender_domain", "equals", json!("shop.example"), true),
        ("sender_domain", "equals", json!("mail.shop.example"), false),
        ("sender_domain", "ends_with", json!(".EXAMPLE"), true),
        ("sender_domain", "matches", json!(r"^shop\.(example|test)$"), true),
        ("envelope_sender", "equals", json!("bounce@mail.shop.example"), true),
        ("envelope_sender", "starts_with", json!("anna"), false),
        ("recipient", "contains", json!("+A@"), true),
        ("recipient", "not_equals", json!("sales+a@mine.example"), false),
        ("subject", "contains", json!("winner"), true),
        ("subject", "contains", json!("an den"), true),
        ("subject", "equals", json!("GRÜSSE AN DEN winner"), true),
        ("subject", "starts_with", json!("grüße"), true),
        ("subject", "ends_with", json!("winner"), true),
        ("subject", "matches", json!("winner"), false),
        ("subject", "matches", json!("(?i)winner$"), true),
        ("subject", "matches", json!(r"^Gr\w{2,3}e\b"), true),
        ("size_bytes", "equals", json!(size), true),
        ("size_bytes", "is", json!(size), true),
        ("size_bytes", "not_equals", json!(size), false),
        ("size_bytes", "greater_than", json!(size - 1), true),
        ("size_bytes", "greater_than", json!(size), false),
        ("size_bytes", "less_than", json!(size + 1), true),
        ("size_bytes", "less_than", json!(size), false),
        ("has_attachments", "is", json!(false), true),
        ("has_attachments", "equals", json!(true), false),
        ("has_attachments", "not_equals", json!(true), true),
        ("header:x-spam", "equals", json!("yes"), true),
        ("header:X-SPAM", "matches", json!("^Yes$"), true),
        ("header:received", "contains", json!("b.example"), true),
        ("header:received", "starts_with", json!("from a"), true),
        ("header:received", "not_equals", json!("from b.example by mx"), false),
        ("header:received", "not_equals", json!("from c.example by mx"), true),
        ("header:list-id", "contains", json!("<NEWS."), true),
        ("header:x-empty", "equals", json!(""), true),
        ("header:x-missing", "equals", json!(""), true),
        ("header:x-missing", "not_equals", json!(""), false),
        ("header:x-missing", "not_equals", json!("x"), true),
        ("header:x-missing", "contains", json!("x"), false),
        ("header:x-missing", "matches", json!("^$"), true),
        ("header:x-spam", "not_equals", json!(""), true),
        ("spf", "is", json!("softfail"), true),
        ("spf", "equals", json!("PASS"), false),
        ("spf", "not_equals", json!("pass"), true),
        ("dkim", "is", json!("Pass"), true),
        ("dmarc", "is", json!("none"), true),
        ("dmarc", "not_equals", json!("fail"), true),
    ] {
        assert_eq!(scene.holds(field, op, &value), expected, "{field} {op} {value}");
    }
}

#[test]
fn the_sender_is_whoever_from_names_and_else_the_envelope() {
    let sender =
        |raw: &[u8], envelope: &str, value: &str| Scene::new(raw, envelope, "x@mine.example").holds("sender", "equals", &json!(value));
    assert!(sender(b"Subject: x\r\n\r\n", "env@a.example", "env@a.example"));
    assert!(sender(b"From: nobody here\r\n\r\n", "env@a.example", "env@a.example"));
    assert!(sender(b"Subject: x\r\n\r\n", "", ""));
    assert!(!sender(b"From: b@b.example\r\n\r\n", "env@a.example", "env@a.example"));
    for author in ["b@b.example", "c@c.example", "d@d.example"] {
        assert!(sender(
            b"From: b@b.example, C <c@c.example>\r\nFrom: d@d.example\r\n\r\n",
            "env@a.example",
            author
        ));
    }
    assert!(sender(b"From: \"a@evil.example\" <b@b.example>\r\n\r\n", "", "b@b.example"));
    let domain = Scene::new(b"\r\n", "", "x@mine.example");
    assert!(domain.holds("sender_domain", "equals", &json!("")));
    assert!(domain.holds("envelope_sender", "equals", &json!("")));
}

#[test]
fn an_internationalized_domain_may_be_written_either_way() {
    let scene = Scene::new(b"From: j@xn--kln-sna.example\r\n\r\n", "", "x@mine.example");
    for value in ["köln.example", "KÖLN.example", "xn--kln-sna.example"] {
        assert!(scene.holds("sender_domain", "equals", &json!(value)), "{value}");
        assert!(!scene.holds("sender_domain", "not_equals", &json!(value)), "{value}");
        assert!(scene.holds("sender", "ends_with", &json!(format!("j@{value}"))), "{value}");
    }
}

#[test]
fn all_wants_every_condition_and_any_wants_one() {
    let scene = Scene::new(MESSAGE, "a@b.example", "x@mine.example");
    let (yes, no) = (
        json!({"field": "subject", "op": "contains", "value": "winner"}),
        json!({"field": "subject", "op": "contains", "value": "loser"}),
    );
    for (matching, conditions, expected) in [
        ("all", json!([yes, yes]), true),
        ("all", json!([yes, no]), false),
        ("any", json!([no, yes]), true),
        ("any", json!([no, no]), false),
        ("all", json!([]), true),
    ] {
        assert_eq!(scene.matches(&compiled(matching, &conditions)), expected, "{matching} {conditions}");
    }
}

#[test]
fn the_first_enabled_rule_that_matches_decides() {
    let rule = |enabled: bool, subject: &str, action: Value| {
        let rule: Rule = serde_json::from_value(json!({
            "name": "n", "scope": {"alias": "als_1"}, "enabled": enabled, "action": action,
            "conditions": [{"field": "subject", "op": "contains", "value": subject}]
        }))
        .unwrap();
        Compiled::new(&rule).unwrap()
    };
    let rules = [
        rule(true, "loser", json!({"type": "block"})),
        rule(false, "winner", json!({"type": "discard"})),
        rule(true, "winner", json!({"type": "redirect", "destinations": ["a@b.example"]})),
        rule(true, "winner", json!({"type": "quarantine"})),
    ];
    let (from, to) = (ReversePath::Null, Address::parse("x@mine.example").unwrap());
    let incoming = Incoming::new(MESSAGE, &from, Verdicts::default());
    let matched = evaluate(&rules, &incoming.to(&to)).unwrap();
    assert_eq!(matched.index, 2);
    assert_eq!(
        *matched.action,
        Action::Redirect {
            destinations: vec!["a@b.example".to_owned()]
        }
    );
    assert!(evaluate(&rules[..2], &incoming.to(&to)).is_none());
    // A trial of a disabled rule still says whether it would match.
    assert!(rules[1].matches(&incoming.to(&to)) && !rules[1].is_enabled());
}

#[test]
fn the_more_specific_scope_is_asked_first() {
    let mut levels = [
        Scope::Organization.level(),
        Scope::Domain("d".into()).level(),
        Scope::Alias("a".into()).level(),
    ];
    levels.sort();
    assert_eq!(levels, [Level::Alias, Level::Domain, Level::Organization]);
}

#[test]
fn a_message_that_cannot_be_parsed_is_seen_as_far_as_it_can_be_read() {
    for raw in [
        &b""[..],
        b"\r\n",
        b"no colon at all",
        b"\xff\xfe\x00:\x80\r\n\r\n\x00",
        b"Subject: =?utf-8?B?====?= =?x?Q?\r\nFrom: <<<>>>,,;;\r\nContent-Type: multipart/mixed; boundary\r\n\r\n--\r\n----\r\n",
    ] {
        let scene = Scene::new(raw, "", "x@mine.example");
        assert!(scene.holds("size_bytes", "equals", &json!(raw.len())));
        assert!(scene.holds("sender", "equals", &json!("")));
        assert!(!scene.holds("subject", "contains", &json!("winner")));
        assert!(scene.holds("has_attachments", "is", &json!(false)));
    }
}

#[test]
fn the_facts_can_be_looked_at_from_several_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Compiled>();
    shared::<Incoming<'static>>();
}
