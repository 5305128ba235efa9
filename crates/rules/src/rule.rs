//! A rule as the API takes and shows it.

use serde::{Deserialize, Serialize};

use crate::FieldError;
use crate::action::Action;
use crate::definition::{Condition, Definition, Match};

/// Characters a rule's name may have.
pub const MAX_NAME_CHARACTERS: usize = 200;

/// A rule: for whom, in which order, and what it says. Its JSON form is flat: the members of [`Definition`] stand beside the others,
/// and an unknown one is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Rule {
    /// What its owner calls it.
    pub name: String,
    /// Whose mail it is about.
    pub scope: Scope,
    /// Its place among the rules of its scope, lowest first; absent, it goes to the end.
    pub position: Option<i32>,
    /// A disabled rule is kept and never matches.
    pub enabled: bool,
    /// What it looks for and what it does.
    pub definition: Definition,
}

impl Rule {
    /// Everything wrong with what is not in the definition.
    pub(crate) fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        if self.name.trim().is_empty() {
            faults.push(FieldError::new("name", "is empty: give the rule a name"));
        } else if self.name.chars().count() > MAX_NAME_CHARACTERS {
            faults.push(FieldError::new("name", format!("is longer than {MAX_NAME_CHARACTERS} characters")));
        }
        if self.name.chars().any(char::is_control) {
            faults.push(FieldError::new("name", "holds a control character; write it on one line"));
        }
        if self.position.is_some_and(|position| position < 0) {
            faults.push(FieldError::new("position", "is negative; positions count from 0"));
        }
        faults
    }
}

/// [`Rule`] as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    scope: Scope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<i32>,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(rename = "match", default)]
    matching: Match,
    conditions: Vec<Condition>,
    action: Action,
}

fn yes() -> bool {
    true
}

impl From<Written> for Rule {
    fn from(written: Written) -> Self {
        Self {
            name: written.name,
            scope: written.scope,
            position: written.position,
            enabled: written.enabled,
            definition: Definition {
                matching: written.matching,
                conditions: written.conditions,
                action: written.action,
            },
        }
    }
}

impl From<Rule> for Written {
    fn from(rule: Rule) -> Self {
        Self {
            name: rule.name,
            scope: rule.scope,
            position: rule.position,
            enabled: rule.enabled,
            matching: rule.definition.matching,
            conditions: rule.definition.conditions,
            action: rule.definition.action,
        }
    }
}

/// Whose mail a rule or a list entry is about: `{"alias":"als_…"}`, `{"domain":"example.org"}` or `{"organization":true}`.
/// Whether there is such an alias or domain is for the caller to find out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "WrittenScope", into = "WrittenScope")]
pub enum Scope {
    /// Mail for one alias, by its id.
    Alias(String),
    /// Mail for one domain, by its name or id, as written.
    Domain(String),
    /// All mail.
    Organization,
}

impl Scope {
    /// Where the scope stands in the order of evaluation.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Alias(_) => Level::Alias,
            Self::Domain(_) => Level::Domain,
            Self::Organization => Level::Organization,
        }
    }
}

/// How specific a rule or a list is; ordered as they are asked, the most specific first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Of one alias.
    Alias,
    /// Of one domain.
    Domain,
    /// Of the whole organization.
    Organization,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenScope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organization: Option<bool>,
}

impl TryFrom<WrittenScope> for Scope {
    type Error = &'static str;

    fn try_from(written: WrittenScope) -> Result<Self, Self::Error> {
        match (written.alias, written.domain, written.organization) {
            (Some(alias), None, None) => Ok(Self::Alias(alias)),
            (None, Some(domain), None) => Ok(Self::Domain(domain)),
            (None, None, Some(true)) => Ok(Self::Organization),
            (None, None, Some(false)) => Err("`organization` can only be true; name an `alias` or a `domain` instead"),
            _ => Err("a scope names exactly one of `alias`, `domain` and `organization`"),
        }
    }
}

impl From<Scope> for WrittenScope {
    fn from(scope: Scope) -> Self {
        let mut written = Self::default();
        match scope {
            Scope::Alias(alias) => written.alias = Some(alias),
            Scope::Domain(domain) => written.domain = Some(domain),
            Scope::Organization => written.organization = Some(true),
        }
        written
    }
}
