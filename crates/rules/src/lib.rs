//! Rules about incoming mail, and lists of senders: what they are, whether they are well formed, and what they decide. Pure.
//!
//! Promises: nothing here does I/O or reads a clock. A rule that compiles can be evaluated on any message, however broken: rules
//! see what could be read, and what could not is empty. Evaluation takes time proportional to the message (regular expressions
//! included), never panics and changes nothing, so that a trial is the same call as the real thing.
//!
//! Order. Rules and lists belong to an alias, a domain or the organization. The more specific [`Level`] is asked first, because
//! whoever writes a rule for one alias means it to be an exception; within a level the rules' positions decide, then their age
//! (their ids). So the caller sorts by `(level, position, id)`, and the first rule that matches wins.
//!
//! Not here: where rules are kept, whose destinations a redirect may name, and what an action does (`intake`).

mod action;
mod attachments;
mod compiled;
mod condition;
mod definition;
mod facts;
mod field;
mod fold;
mod rule;
mod senders;

pub use action::{Action, MAX_DESTINATIONS, MAX_REPLY_CHARACTERS};
pub use compiled::{Compiled, Matched, evaluate};
pub use condition::MAX_PATTERN_BYTES;
pub use definition::{Condition, Definition, MAX_CONDITIONS, MAX_VALUE_CHARACTERS, Match, Op, Value};
pub use facts::{Facts, Incoming, MAX_TEXT_OCTETS, Verdicts};
pub use field::{Field, FieldNameError, MAX_HEADER_NAME_CHARACTERS};
pub use rule::{Level, MAX_NAME_CHARACTERS, Rule, Scope};
pub use senders::{Listed, SenderList, SenderLists, SenderPattern, SenderPatternError};

/// What is wrong with one member of a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// Where, as a path from the rule: `name`, `conditions[0].value`, `action.reply`.
    pub field: String,
    /// What, and how to put it right, in words for the API's user.
    pub message: String,
}

impl FieldError {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}
