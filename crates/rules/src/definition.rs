//! What a rule says: its conditions and its action. This is what is kept of it as one document.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::action::Action;
use crate::field::Field;

/// Conditions a rule may have.
pub const MAX_CONDITIONS: usize = 50;
/// Characters the value of a condition may have.
pub const MAX_VALUE_CHARACTERS: usize = 1000;

/// Conditions, how they are joined, and what follows when they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Must all conditions hold, or is one enough?
    #[serde(rename = "match", default)]
    pub matching: Match,
    /// At most [`MAX_CONDITIONS`]. With [`Match::All`] none at all is a rule for every message.
    pub conditions: Vec<Condition>,
    /// What becomes of a message that matches.
    pub action: Action,
}

/// How conditions are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// Every condition holds.
    #[default]
    All,
    /// At least one does.
    Any,
}

/// One test of one property of a message. Which operators and values fit which field is checked by [`crate::Compiled`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// What is looked at.
    pub field: Field,
    /// How.
    pub op: Op,
    /// What it is compared with.
    pub value: Value,
}

/// How a field is compared with a value. Comparisons of text ignore case; a regular expression says `(?i)` for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// The same.
    Equals,
    /// Not the same: of a field that occurs several times, none is.
    NotEquals,
    /// The value occurs in it.
    Contains,
    /// It begins with the value.
    StartsWith,
    /// It ends with the value.
    EndsWith,
    /// The regular expression matches somewhere in it.
    Matches,
    /// A larger number.
    GreaterThan,
    /// A smaller number.
    LessThan,
    /// Reads better than `equals` where the value is a word or a truth; the same.
    Is,
}

impl Op {
    /// The word for it in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equals => "equals",
            Self::NotEquals => "not_equals",
            Self::Contains => "contains",
            Self::StartsWith => "starts_with",
            Self::EndsWith => "ends_with",
            Self::Matches => "matches",
            Self::GreaterThan => "greater_than",
            Self::LessThan => "less_than",
            Self::Is => "is",
        }
    }
}

/// What a condition compares with: a JSON string, a whole number from 0, `true` or `false`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Text, or a regular expression.
    Text(String),
    /// Octets.
    Number(u64),
    /// Yes or no.
    Truth(bool),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

const WHOLE_NUMBER: &str = "a number must be whole and not negative";

impl Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, a whole number, true or false")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Truth(truth))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        u64::try_from(number).map(Value::Number).map_err(|_| E::custom(WHOLE_NUMBER))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value, E> {
        Err(E::custom(WHOLE_NUMBER))
    }
}
