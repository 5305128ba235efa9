//! No message and no rule makes evaluation panic, and its time grows with the message, not faster.

#![expect(clippy::unwrap_used, reason = "a test: what cannot be made fails it")]

use mail::{Address, ReversePath};
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use rules::{Compiled, Definition, Field, Incoming, Rule, SenderList, SenderPattern, Verdicts, evaluate};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

fn definition(conditions: &Value) -> Definition {
    serde_json::from_value(json!({"match": "any", "conditions": conditions, "action": {"type": "discard"}})).unwrap()
}

fn matches(rule: &Compiled, raw: &[u8]) -> bool {
    let (from, to) = (ReversePath::Null, Address::parse("x@mine.example").unwrap());
    let incoming = Incoming::new(raw, &from, Verdicts::default());
    evaluate([rule], &incoming.to(&to)).is_some()
}

/// Bytes that look like mail often enough to get past the first lines of the readers.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::sample::select(vec![
            "Subject: ",
            "From: ",
            "a@b.example",
            "<",
            ">",
            "\"",
            "=?utf-8?Q?",
            "?=",
            "\r\n",
            "\r\n\r\n",
            "\r\n ",
            "--b",
            "--b--",
            "--c",
            "Content-Type: multipart/mixed; boundary=b",
            "Content-Type: multipart/related; boundary=\"c\"",
            "Content-Type: application/zip",
            "Content-Disposition: inline; filename*0*=",
            "utf-8''%e2",
            ";",
            "boundary=",
            "X-A:",
            ",",
            "(",
            ")",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Conditions on everything, none of which is easily satisfied, so that all are asked.
static EVERYTHING: LazyLock<Compiled> = LazyLock::new(|| {
    let conditions = json!([
        {"field": "sender", "op": "matches", "value": "(x+x+)+y"},
        {"field": "sender_domain", "op": "ends_with", "value": ".never"},
        {"field": "recipient", "op": "equals", "value": "never"},
        {"field": "envelope_sender", "op": "starts_with", "value": "never"},
        {"field": "subject", "op": "matches", "value": r"^(\w+\s?)*never$"},
        {"field": "header:X-A", "op": "contains", "value": "aaaaaaaaab"},
        {"field": "header:Received", "op": "matches", "value": "(a*)*b.{0,50}c"},
        {"field": "size_bytes", "op": "greater_than", "value": 4_000_000_000_u32},
        {"field": "dmarc", "op": "is", "value": "fail"},
        {"field": "has_attachments", "op": "is", "value": true}
    ]);
    Compiled::of(&definition(&conditions), true).unwrap()
});

proptest! {
    #[test]
    fn any_message_can_be_evaluated(raw in messages()) {
        matches(&EVERYTHING, &raw);
    }

    #[test]
    fn any_text_as_a_value_compiles_or_is_refused_with_a_reason(
        value in "\\PC{0,60}",
        op in prop::sample::select(vec!["equals", "not_equals", "contains", "starts_with", "ends_with", "matches", "is"]),
        raw in messages(),
    ) {
        let definition = definition(&json!([{"field": "subject", "op": op, "value": value}]));
        match Compiled::of(&definition, true) {
            Ok(rule) => { matches(&rule, &raw); }
            Err(faults) => prop_assert!(faults.iter().all(|fault| fault.field == "conditions[0].value" && !fault.message.is_empty())),
        }
    }

    #[test]
    fn equality_and_inequality_never_agree(value in "[a-cß ]{1,3}", subject in "[a-cA-Cß ]{0,3}") {
        let raw = format!("Subject: {subject}\r\n\r\n");
        let rule = |op: &str| Compiled::of(&definition(&json!([{"field": "subject", "op": op, "value": value}])), true).unwrap();
        prop_assert!(matches(&rule("equals"), raw.as_bytes()) != matches(&rule("not_equals"), raw.as_bytes()));
    }

    #[test]
    fn a_field_is_written_as_it_was_read(text in "(header:)?[!-~]{1,12}") {
        if let Ok(field) = text.parse::<Field>() {
            prop_assert_eq!(field.to_string(), text);
        }
    }

    #[test]
    fn any_json_is_a_rule_or_an_error(text in "[\\[\\]{}\":,a-z0-9 ]{0,60}") {
        let _ = serde_json::from_str::<Rule>(&text);
    }

    #[test]
    fn an_entry_of_a_sender_list_is_read_back_as_it_is_shown(text in "[*@.a-cA-C\" ]{0,12}") {
        if let Ok(pattern) = text.parse::<SenderPattern>() {
            prop_assert_eq!(&pattern.to_string().parse::<SenderPattern>().unwrap(), &pattern);
            let _ = SenderList::new([pattern], []).decide(&Address::parse("a@b.c").unwrap());
        }
    }
}

/// The best of three, so that a busy machine does not decide.
fn time(rule: &Compiled, raw: &[u8]) -> Duration {
    (0..3)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(matches(rule, raw));
            start.elapsed()
        })
        .min()
        .unwrap()
}

#[test]
fn ten_times_the_message_takes_about_ten_times_as_long() {
    let shapes: &[fn(usize) -> String] = &[
        |size| format!("Subject: {}\r\n\r\n", "x ".repeat(size / 2)),
        |size| format!("X-A: {}\r\n\r\n", "a".repeat(size)),
        |size| format!("{}\r\n", "Received: aaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(size / 36)),
        |size| format!("From: {}\r\n\r\n", "x@x.example, ".repeat(size / 13)),
        |size| format!("Subject: {}\r\n\r\n", "=?".repeat(size / 2)),
        |size| {
            format!(
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}",
                "--b\r\n\r\n".repeat(size / 7)
            )
        },
        |size| {
            format!(
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}",
                "--b\r\nX: y\r\n".repeat(size / 11)
            )
        },
        |size| {
            format!(
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{}",
                "X-A: y\r\n".repeat(size / 8)
            )
        },
        |size| {
            let parameters: String = (0..size / 20).map(|index| format!("; filename*{index}*=a")).collect();
            format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain{parameters}\r\n\r\n")
        },
    ];
    for (index, shape) in shapes.iter().enumerate() {
        let (small, large) = (
            time(&EVERYTHING, shape(20_000).as_bytes()),
            time(&EVERYTHING, shape(200_000).as_bytes()),
        );
        let allowed = small * 40 + Duration::from_millis(50);
        assert!(large < allowed, "shape {index}: {small:?}, then {large:?}");
    }
}

#[test]
fn the_worst_patterns_on_a_long_text_are_done_in_a_bounded_time() {
    // Letters without a pattern of their own, so that no state of the search can be forgotten early; every letter that the expressions
    // need occurs, so that its absence decides nothing.
    let mut seed = 1_u32;
    let letters: String = (0..1_000_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
            char::from(b"aaaabbbcd!"[(seed >> 16) as usize % 10])
        })
        .collect();
    for pattern in [
        "(a*)*b$",
        "(a|a)*be",
        "(.*)(.*)(.*)(.*)bbbbbbbbbbbb",
        "(?:a?){200}a{200}b",
        "[ab]*a[abcd]{500}!!!!!!!!",
        r"(\w*\s*)*!!!!!!!!",
        r"\w{0,20}a\w{0,15}\s",
        r"a[\w!]{35}(?:!!!!!!|\s)",
        "(?i)(.?){300}zz(.?){300}!",
        "(?:(?:a|b|c)[abc!]{1,60}d?){6}e",
    ] {
        let rule = Compiled::of(
            &definition(&json!([{"field": "header:X-A", "op": "matches", "value": pattern}])),
            true,
        )
        .unwrap();
        let took = time(&rule, format!("X-A: {letters}\r\n\r\n").as_bytes());
        eprintln!("{pattern}: {took:?}");
        assert!(took < Duration::from_secs(5), "{pattern}: {took:?}");
    }
}
