//! What is wrong with a configuration: every fault, each with its cure.

use std::fmt;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable, or the key with its file.
    pub name: String,
    /// The value, `[redacted]` for a secret; nothing when none was given.
    pub value: Option<String>,
    /// What is wrong with it.
    pub fault: String,
    /// What to do.
    pub cure: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(value) = &self.value {
            write!(f, " = {}", quoted(value))?;
        }
        write!(f, ": {}.", self.fault)?;
        if self.cure.is_empty() {
            Ok(())
        } else {
            write!(f, " {}.", self.cure)
        }
    }
}

/// One line of bounded length, whatever the value holds.
fn quoted(value: &str) -> String {
    let shown: String = value.chars().take(120).collect();
    let more = if shown.len() < value.len() { "…" } else { "" };
    if value == "[redacted]" {
        value.to_owned()
    } else {
        format!("{shown:?}{more}")
    }
}

/// The configuration cannot be used. Displays every fault on its own line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// All faults, in the order of the documentation. Never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "the configuration has a problem:")?,
            count => write!(f, "the configuration has {count} problems:")?,
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Invalid {}
