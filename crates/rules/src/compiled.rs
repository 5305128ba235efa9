//! Rules made ready, and the decision.

use crate::FieldError;
use crate::action::Action;
use crate::condition::Test;
use crate::definition::{Definition, MAX_CONDITIONS, Match};
use crate::facts::Facts;
use crate::rule::Rule;

/// A rule that is well formed and ready to be evaluated. Worth keeping: making it compiles its regular expressions.
#[derive(Debug)]
pub struct Compiled {
    enabled: bool,
    matching: Match,
    tests: Vec<Test>,
    action: Action,
}

impl Compiled {
    /// Checks a rule as its owner wrote it.
    ///
    /// # Errors
    /// Every fault found, at least one.
    pub fn new(rule: &Rule) -> Result<Self, Vec<FieldError>> {
        let mut faults = rule.faults();
        match Self::of(&rule.definition, rule.enabled) {
            Ok(compiled) if faults.is_empty() => Ok(compiled),
            Ok(_) => Err(faults),
            Err(more) => {
                faults.extend(more);
                Err(faults)
            }
        }
    }

    /// Checks what a rule says, as it was kept.
    ///
    /// # Errors
    /// Every fault found, at least one.
    pub fn of(definition: &Definition, enabled: bool) -> Result<Self, Vec<FieldError>> {
        let mut faults = Vec::new();
        let conditions = &definition.conditions;
        if conditions.len() > MAX_CONDITIONS {
            // The rest is not looked at: it could be any amount of work.
            return Err(vec![FieldError::new(
                "conditions",
                format!("has more than {MAX_CONDITIONS} entries"),
            )]);
        }
        if conditions.is_empty() && definition.matching == Match::Any {
            let cure = "is empty, so that none can hold; add a condition, or use \"match\": \"all\" for every message";
            faults.push(FieldError::new("conditions", cure));
        }
        let mut tests = Vec::with_capacity(conditions.len());
        for (index, condition) in conditions.iter().enumerate() {
            match Test::new(condition) {
                Ok(test) => tests.push(test),
                Err((member, message)) => faults.push(FieldError::new(format!("conditions[{index}].{member}"), message)),
            }
        }
        faults.extend(definition.action.faults());
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            enabled,
            matching: definition.matching,
            tests,
            action: definition.action.clone(),
        })
    }

    /// Do the conditions hold? Asks nothing of whether the rule is enabled: a trial may be of one that is not.
    #[must_use]
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        match self.matching {
            Match::All => self.tests.iter().all(|test| test.holds(facts)),
            Match::Any => self.tests.iter().any(|test| test.holds(facts)),
        }
    }

    /// Is it in force?
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// What it does.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }
}

/// The rule that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<'r> {
    /// Its index in the sequence that was evaluated.
    pub index: usize,
    /// What it says to do.
    pub action: &'r Action,
}

/// The first enabled rule that matches, if any. The caller has brought them in order: by [`crate::Level`], then position, then id.
pub fn evaluate<'r>(rules: impl IntoIterator<Item = &'r Compiled>, facts: &Facts<'_>) -> Option<Matched<'r>> {
    rules
        .into_iter()
        .enumerate()
        .find(|(_, rule)| rule.enabled && rule.matches(facts))
        .map(|(index, rule)| Matched {
            index,
            action: &rule.action,
        })
}
