//! Rules as JSON: the exact forms, and what is said of those that are wrong.

#![expect(clippy::unwrap_used, reason = "a test: what cannot be made fails it")]

use rules::{Compiled, Definition, Rule};
use serde_json::{Value, json};

fn rule() -> Value {
    json!({
        "name": "no spam", "scope": {"alias": "als_1"}, "position": 3, "enabled": true, "match": "any",
        "conditions": [{"field": "subject", "op": "contains", "value": "x"}], "action": {"type": "block"}
    })
}

/// The rule with one member replaced, by a path as in `conditions.0.value`; null takes the member away.
fn with(path: &str, value: Value) -> Value {
    let mut rule = rule();
    let pointer = format!("/{}", path.replace('.', "/"));
    if let Some(there) = rule.pointer_mut(&pointer) {
        *there = value;
        return rule;
    }
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    rule.pointer_mut(parent).unwrap()[name] = value;
    rule
}

/// What is wrong with it: when it is read, or when it is checked.
fn fault(rule: Value) -> String {
    match serde_path_to_error::deserialize::<_, Rule>(rule) {
        Err(error) => format!("{}: {}", error.path(), error.inner()),
        Ok(rule) => Compiled::new(&rule)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

fn condition(field: &str, op: &str, value: Value) -> Value {
    let mut condition = json!({"field": field, "op": op});
    condition["value"] = value;
    with("conditions.0", condition)
}

#[test]
fn a_rule_is_written_as_it_was_read() {
    for written in [
        rule(),
        with("scope", json!({"domain": "example.org"})),
        with("scope", json!({"organization": true})),
        with("match", json!("all")),
        with("enabled", json!(false)),
        with("action", json!({"type": "block", "reply": "Go away (see https://example.org/why)"})),
        with(
            "action",
            json!({"type": "redirect", "destinations": ["a@b.example", "https://hooks.example/in", "dst_1"]}),
        ),
        with("action", json!({"type": "forward"})),
        with("action", json!({"type": "discard"})),
        with("action", json!({"type": "quarantine"})),
        condition("header:X-Spam-Flag", "not_equals", json!("YES")),
        condition("size_bytes", "greater_than", json!(100_000)),
        condition("has_attachments", "is", json!(true)),
        condition("dmarc", "is", json!("fail")),
        condition("sender", "matches", json!("^(?i)a")),
    ] {
        let rule: Rule = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&rule).unwrap(), written);
        Compiled::new(&rule).unwrap();
        let definition = serde_json::to_value(&rule.definition).unwrap();
        assert_eq!(serde_json::from_value::<Definition>(definition).unwrap(), rule.definition);
    }
}

#[test]
fn what_may_be_left_out_has_its_default() {
    let short = json!({"name": "n", "scope": {"domain": "d.example"}, "conditions": [], "action": {"type": "discard"}});
    let rule: Rule = serde_json::from_value(short).unwrap();
    assert!(rule.enabled && rule.position.is_none());
    assert_eq!(rule.definition.matching, rules::Match::All);
}

#[test]
fn what_is_not_a_rule_is_refused_naming_the_member_and_the_cure() {
    for (written, place, reason) in [
        (with("colour", json!("red")), "colour", "unknown field `colour`"),
        (with("name", json!("")), "name", "is empty"),
        (with("name", json!("a\nb")), "name", "control character"),
        (with("name", json!("x".repeat(201))), "name", "longer than 200"),
        (with("position", json!(-1)), "position", "negative"),
        (with("match", json!("some")), "match", "expected `all` or `any`"),
        (with("scope", json!({})), "scope", "exactly one"),
        (with("scope", json!({"alias": "a", "organization": true})), "scope", "exactly one"),
        (with("scope", json!({"organization": false})), "scope", "can only be true"),
        (with("scope", json!({"user": "u"})), "scope.user", "unknown field `user`"),
        (with("conditions", json!([])), "conditions", "is empty"),
        (
            with("conditions.0.colour", json!(1)),
            "conditions[0].colour",
            "unknown field `colour`",
        ),
        (
            with("conditions.0.field", json!("colour")),
            "conditions[0].field",
            "no such field; use sender",
        ),
        (
            with("conditions.0.field", json!("header:")),
            "conditions[0].field",
            "as in header:X-Mailer",
        ),
        (
            with("conditions.0.field", json!("header:a b")),
            "conditions[0].field",
            "as in header:X-Mailer",
        ),
        (with("conditions.0.op", json!("like")), "conditions[0].op", "unknown variant `like`"),
        (
            with("conditions.0.value", json!(null)),
            "conditions[0].value",
            "expected a string, a whole number, true or false",
        ),
        (
            with("conditions.0.value", json!(["x"])),
            "conditions[0].value",
            "expected a string, a whole number, true or false",
        ),
        (
            with("conditions.0.value", json!(-1)),
            "conditions[0].value",
            "whole and not negative",
        ),
        (
            with("conditions.0.value", json!(1.5)),
            "conditions[0].value",
            "whole and not negative",
        ),
        (with("conditions.0.value", json!(1)), "conditions[0].value", "must be a string"),
        (with("conditions.0.value", json!(true)), "conditions[0].value", "must be a string"),
        (with("conditions.0.value", json!("")), "conditions[0].value", "is empty"),
        (
            with("conditions.0.value", json!("x".repeat(1001))),
            "conditions[0].value",
            "longer than 1000",
        ),
        (
            with("conditions.0.value", json!("a\r\nb")),
            "conditions[0].value",
            "control character",
        ),
        (
            with("conditions.0.op", json!("less_than")),
            "conditions[0].op",
            "does not fit the field subject; use equals",
        ),
        (
            condition("sender_domain", "equals", json!("@a.example")),
            "conditions[0].value",
            "write the domain alone",
        ),
        (
            condition("size_bytes", "contains", json!(1)),
            "conditions[0].op",
            "use greater_than, less_than",
        ),
        (
            condition("size_bytes", "greater_than", json!("1")),
            "conditions[0].value",
            "without quotation marks",
        ),
        (
            condition("has_attachments", "greater_than", json!(true)),
            "conditions[0].op",
            "use is, equals",
        ),
        (
            condition("has_attachments", "is", json!("true")),
            "conditions[0].value",
            "true or false, without",
        ),
        (condition("spf", "matches", json!("fail")), "conditions[0].op", "use is, equals"),
        (
            condition("spf", "is", json!("bad")),
            "conditions[0].value",
            "no result of spf; use one of none, neutral, pass",
        ),
        (
            condition("dmarc", "is", json!("softfail")),
            "conditions[0].value",
            "no result of dmarc; use one of none, pass, fail",
        ),
        (condition("dkim", "is", json!(true)), "conditions[0].value", "no result of dkim"),
        (
            condition("subject", "matches", json!("(unclosed")),
            "conditions[0].value",
            "not a valid regular expression: unclosed group",
        ),
        (
            condition("subject", "matches", json!("(?=ahead)")),
            "conditions[0].value",
            "look-around",
        ),
        (
            condition("subject", "matches", json!(r"(a)\1")),
            "conditions[0].value",
            "backreferences",
        ),
        (
            condition("subject", "matches", json!(r"\w{1000}{1000}")),
            "conditions[0].value",
            "too large",
        ),
        (
            condition("subject", "matches", json!("(".repeat(500) + &")".repeat(500))),
            "conditions[0].value",
            "regular expression",
        ),
        (
            with("action", json!({"type": "explode"})),
            "action.type",
            "unknown variant `explode`",
        ),
        (with("action", json!({})), "action", "missing field `type`"),
        (
            with("action", json!({"type": "discard", "colour": 1})),
            "action.colour",
            "unknown field `colour`",
        ),
        (
            with("action", json!({"type": "discard", "reply": "x"})),
            "action",
            "belongs to the type `block` only",
        ),
        (
            with("action", json!({"type": "block", "destinations": []})),
            "action",
            "belongs to the type `redirect` only",
        ),
        (with("action", json!({"type": "redirect"})), "action", "needs `destinations`"),
        (
            with("action", json!({"type": "redirect", "destinations": []})),
            "action.destinations",
            "is empty",
        ),
        (
            with("action", json!({"type": "redirect", "destinations": ["a@b.example", "x"]})),
            "action.destinations[1]",
            "neither an address",
        ),
        (
            with(
                "action",
                json!({"type": "redirect", "destinations": ["a@b.example", "A@B.example"]}),
            ),
            "action.destinations[1]",
            "listed twice",
        ),
        (
            with("action", json!({"type": "redirect", "destinations": ["https://a b"]})),
            "action.destinations[0]",
            "neither an address",
        ),
        (
            with("action", json!({"type": "block", "reply": "a\r\n250 ok"})),
            "action.reply",
            "control character",
        ),
        (
            with("action", json!({"type": "block", "reply": "a\tb"})),
            "action.reply",
            "control character",
        ),
        (
            with("action", json!({"type": "block", "reply": "\u{85}"})),
            "action.reply",
            "control character",
        ),
        (
            with("action", json!({"type": "block", "reply": "größer"})),
            "action.reply",
            "plain ASCII",
        ),
        (with("action", json!({"type": "block", "reply": " "})), "action.reply", "is empty"),
        (
            with("action", json!({"type": "block", "reply": "x".repeat(201)})),
            "action.reply",
            "longer than 200",
        ),
    ] {
        let fault = fault(written.clone());
        let (found, message) = fault.split_once(": ").unwrap();
        assert_eq!(found, place, "{written}: {fault}");
        assert!(message.contains(reason), "{written}: {fault}");
        assert!(!message.contains('\n'), "{fault}");
    }
}

#[test]
fn every_fault_is_reported_at_once_and_the_number_of_conditions_is_bounded() {
    let written = json!({
        "name": "", "scope": {"organization": true}, "action": {"type": "block", "reply": "\n"},
        "conditions": [{"field": "subject", "op": "matches", "value": "["}, {"field": "size_bytes", "op": "is", "value": "1"}]
    });
    let rule: Rule = serde_json::from_value(written).unwrap();
    let places: Vec<_> = Compiled::new(&rule).unwrap_err().into_iter().map(|fault| fault.field).collect();
    assert_eq!(places, ["name", "conditions[0].value", "conditions[1].value", "action.reply"]);
    let many = |count: usize| {
        with(
            "conditions",
            json!(vec![json!({"field": "subject", "op": "is", "value": "x"}); count]),
        )
    };
    assert!(Compiled::new(&serde_json::from_value(many(50)).unwrap()).is_ok());
    assert!(fault(many(51)).contains("more than 50"));
}

#[test]
fn ordinary_regular_expressions_fit_within_the_bounds() {
    for pattern in [
        r"\w+@\w+\.\w+",
        r"(?i)\b(viagra|casino|lottery|winner)\b",
        r"^\[[^\]]{1,100}\]",
        r"\p{Han}{3,}",
        r"(?i)^(re|aw|fwd?):\s*(.{0,80})invoice\s+#?\d{4,10}$",
        r"^[A-Za-z0-9._%+-]{1,64}@(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,63}$",
        r"\w{1,20}\s\w{1,20}",
    ] {
        Compiled::new(&serde_json::from_value(condition("subject", "matches", json!(pattern))).unwrap())
            .unwrap_or_else(|faults| panic!("{pattern}: {faults:?}"));
    }
}
