//! One condition made ready: checked against its field, its text folded, its regular expression compiled.

use regex::{Regex, RegexBuilder};

use crate::definition::{Condition, MAX_VALUE_CHARACTERS, Op, Value};
use crate::facts::{Facts, Text};
use crate::field::Field;
use crate::fold::fold;

/// Octets one compiled regular expression may take, and again as much for its search tables. Bounds memory, and the time a search
/// takes, which is at most their product with the text.
pub const MAX_PATTERN_BYTES: usize = 2 * 1024 * 1024;

/// A condition that can be tested.
#[derive(Debug)]
pub(crate) enum Test {
    Text(Field, TextTest),
    Size(NumberTest),
    Attachments(bool),
    Verdict { field: Field, word: &'static str, expected: bool },
}

#[derive(Debug)]
pub(crate) enum TextTest {
    Equals(String),
    NotEquals(String),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
    Matches(Regex),
}

#[derive(Debug)]
pub(crate) enum NumberTest {
    Equals(u64),
    NotEquals(u64),
    GreaterThan(u64),
    LessThan(u64),
}

/// What is wrong with a condition: in which of its members, and what.
pub(crate) type Fault = (&'static str, String);

impl Test {
    pub(crate) fn new(condition: &Condition) -> Result<Self, Fault> {
        let Condition { field, op, value } = condition;
        match field {
            Field::SizeBytes => size(*op, value).map(Self::Size),
            Field::HasAttachments => attachments(*op, value).map(Self::Attachments),
            Field::Spf | Field::Dkim | Field::Dmarc => verdict(field, *op, value),
            Field::Sender | Field::SenderDomain | Field::Recipient | Field::Subject | Field::Header(_) | Field::EnvelopeSender => {
                text(field, *op, value).map(|test| Self::Text(field.clone(), test))
            }
        }
    }

    pub(crate) fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Text(field, test) => test.holds(field, facts),
            Self::Size(test) => test.holds(facts.size_bytes()),
            Self::Attachments(expected) => facts.has_attachments() == *expected,
            Self::Verdict { field, word, expected } => {
                let verdicts = facts.verdicts();
                let found = match field {
                    Field::Spf => verdicts.spf,
                    Field::Dkim => verdicts.dkim,
                    _ => verdicts.dmarc,
                };
                let found = if found.is_empty() { "none" } else { found };
                found.eq_ignore_ascii_case(word) == *expected
            }
        }
    }
}

impl TextTest {
    fn holds(&self, field: &Field, facts: &Facts<'_>) -> bool {
        if let Self::NotEquals(value) = self {
            return !any(field, facts, |text| text.folded == *value);
        }
        any(field, facts, |text| match self {
            Self::Equals(value) | Self::NotEquals(value) => text.folded == *value,
            Self::Contains(value) => text.folded.contains(value.as_str()),
            Self::StartsWith(value) => text.folded.starts_with(value.as_str()),
            Self::EndsWith(value) => text.folded.ends_with(value.as_str()),
            Self::Matches(pattern) => pattern.is_match(&text.plain),
        })
    }
}

/// Does any value of the field satisfy the test? A field that is not there has one value, the empty one.
fn any(field: &Field, facts: &Facts<'_>, test: impl Fn(&Text) -> bool) -> bool {
    match field {
        Field::Header(name) => facts.any_header(name, test),
        Field::Subject => facts.any_header("Subject", test),
        Field::Sender => facts.sender_texts().iter().any(test),
        Field::SenderDomain => facts.sender_domain_texts().iter().any(test),
        Field::EnvelopeSender => facts.envelope_sender_texts().iter().any(test),
        Field::Recipient => facts.recipient_texts().iter().any(test),
        // `Test::new` makes text tests of the fields above only.
        Field::SizeBytes | Field::HasAttachments | Field::Spf | Field::Dkim | Field::Dmarc => false,
    }
}

impl NumberTest {
    fn holds(&self, number: u64) -> bool {
        match self {
            Self::Equals(value) => number == *value,
            Self::NotEquals(value) => number != *value,
            Self::GreaterThan(value) => number > *value,
            Self::LessThan(value) => number < *value,
        }
    }
}

fn unfit(field: &Field, op: Op, fitting: &str) -> Fault {
    ("op", format!("{} does not fit the field {field}; use {fitting}", op.as_str()))
}

fn text(field: &Field, op: Op, value: &Value) -> Result<TextTest, Fault> {
    if matches!(op, Op::GreaterThan | Op::LessThan) {
        return Err(unfit(field, op, "equals, not_equals, contains, starts_with, ends_with or matches"));
    }
    let fault = |message: &str| Err(("value", message.to_owned()));
    let Value::Text(value) = value else {
        return fault("must be a string, in quotation marks, for this field");
    };
    if value.chars().count() > MAX_VALUE_CHARACTERS {
        return Err(("value", format!("is longer than {MAX_VALUE_CHARACTERS} characters")));
    }
    if value.is_empty() && !matches!(op, Op::Equals | Op::NotEquals | Op::Is) {
        return fault("is empty, which every message satisfies; compare with equals or not_equals to test for an empty field");
    }
    if value.chars().any(char::is_control) {
        return fault("holds a control character, which no field that rules see contains");
    }
    if *field == Field::SenderDomain && op != Op::Matches && value.contains('@') {
        return fault("holds an @, which no domain contains; write the domain alone, or use the field sender");
    }
    let folded = || fold(value);
    Ok(match op {
        Op::NotEquals => TextTest::NotEquals(folded()),
        Op::Contains => TextTest::Contains(folded()),
        Op::StartsWith => TextTest::StartsWith(folded()),
        Op::EndsWith => TextTest::EndsWith(folded()),
        Op::Matches => TextTest::Matches(pattern(value).map_err(|message| ("value", message))?),
        Op::Equals | Op::Is | Op::GreaterThan | Op::LessThan => TextTest::Equals(folded()),
    })
}

/// What blows an expression up is nearly always a repeated class of all Unicode.
const TOO_LARGE: &str = r"is too large a regular expression once compiled; use smaller repetition counts, or [A-Za-z0-9_] in place of \w, which stands for the letters of every language";

/// Linear time is the engine's promise (no back-references, no look-around); the bounds keep the factor small.
fn pattern(written: &str) -> Result<Regex, String> {
    RegexBuilder::new(written)
        .size_limit(MAX_PATTERN_BYTES)
        .dfa_size_limit(MAX_PATTERN_BYTES)
        .nest_limit(50)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => TOO_LARGE.to_owned(),
            other => {
                // The engine draws the place over several lines; the last one says what it is.
                let drawn = other.to_string();
                let reason = drawn.lines().last().unwrap_or_default().trim();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                format!("is not a valid regular expression: {reason}")
            }
        })
}

fn size(op: Op, value: &Value) -> Result<NumberTest, Fault> {
    let test = match op {
        Op::Equals | Op::Is => NumberTest::Equals,
        Op::NotEquals => NumberTest::NotEquals,
        Op::GreaterThan => NumberTest::GreaterThan,
        Op::LessThan => NumberTest::LessThan,
        Op::Contains | Op::StartsWith | Op::EndsWith | Op::Matches => {
            return Err(unfit(&Field::SizeBytes, op, "greater_than, less_than, equals or not_equals"));
        }
    };
    match value {
        Value::Number(number) => Ok(test(*number)),
        Value::Text(_) | Value::Truth(_) => Err(("value", "must be a number of octets, without quotation marks".to_owned())),
    }
}

fn attachments(op: Op, value: &Value) -> Result<bool, Fault> {
    let wanted = equality(&Field::HasAttachments, op)?;
    match value {
        Value::Truth(truth) => Ok(*truth == wanted),
        Value::Text(_) | Value::Number(_) => Err(("value", "must be true or false, without quotation marks".to_owned())),
    }
}

/// `true` for the operators that ask for the same, `false` for the one that asks for another.
fn equality(field: &Field, op: Op) -> Result<bool, Fault> {
    match op {
        Op::Equals | Op::Is => Ok(true),
        Op::NotEquals => Ok(false),
        Op::Contains | Op::StartsWith | Op::EndsWith | Op::Matches | Op::GreaterThan | Op::LessThan => {
            Err(unfit(field, op, "is, equals or not_equals"))
        }
    }
}

fn verdict(field: &Field, op: Op, value: &Value) -> Result<Test, Fault> {
    let expected = equality(field, op)?;
    let known = words(field);
    let found = match value {
        Value::Text(word) => known.iter().find(|known| known.eq_ignore_ascii_case(word)),
        Value::Number(_) | Value::Truth(_) => None,
    };
    match found {
        Some(word) => Ok(Test::Verdict {
            field: field.clone(),
            word,
            expected,
        }),
        None => Err(("value", format!("is no result of {field}; use one of {}", known.join(", ")))),
    }
}

/// The results a check can have (RFC 8601 §2.7).
fn words(field: &Field) -> &'static [&'static str] {
    match field {
        Field::Spf => &["none", "neutral", "pass", "fail", "softfail", "policy", "temperror", "permerror"],
        Field::Dkim => &["none", "pass", "fail", "policy", "neutral", "temperror", "permerror"],
        _ => &["none", "pass", "fail", "temperror", "permerror"],
    }
}
