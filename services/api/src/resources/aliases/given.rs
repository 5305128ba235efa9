//! An alias as requests and files give it, read into what it means.

use crate::{
    FieldError,
    app::Settings,
    resources::destinations::given::{self, Given},
};
use chrono::{DateTime, Utc};
use mail::{Address, Domain};
use serde::{Deserialize, Deserializer};
use store::models::{AliasState, RepliesAs};
use utoipa::ToSchema;

const MOST_DESCRIPTION: usize = 1000;

/// `*` in a pattern: each makes every recipient that no plain alias takes cost more.
const MOST_WILDCARDS: usize = 3;

/// Local parts that are ours: return paths, reverse addresses, and the rewritten senders of others (SRS).
const RESERVED: [&str; 4] = [mail::return_path::PREFIX, store::contacts::PREFIX, "srs0", "srs1"];

/// An alias to make.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAliasBody {
    /// A verified domain of yours.
    pub domain: String,
    /// What stands before the `@`, 1 to 64 characters; `*` stands for anything.
    pub local_part: String,
    /// Where its mail goes: mailboxes or `https` URLs, 1 to 20.
    pub destinations: Vec<String>,
    /// Free text, at most 1,000 characters.
    pub description: Option<String>,
    /// It refuses mail from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// It refuses mail after so many messages.
    pub max_messages: Option<i64>,
    /// `direct` (unless given) or `as_alias`.
    #[schema(value_type = Option<String>)]
    pub replies: Option<RepliesAs>,
    /// `active` (unless given) or `paused`.
    #[schema(value_type = Option<String>)]
    pub state: Option<AliasState>,
}

/// What may be changed of an alias; what is not given stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AliasPatch {
    /// Where its mail goes.
    pub destinations: Option<Vec<String>>,
    /// Free text.
    pub description: Option<String>,
    /// It refuses mail from then on; `null`: never.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub expires_at: Option<Option<DateTime<Utc>>>,
    /// It refuses mail after so many messages; `null`: never.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    pub max_messages: Option<Option<i64>>,
    /// `direct` or `as_alias`.
    #[schema(value_type = Option<String>)]
    pub replies: Option<RepliesAs>,
    /// `active` or `paused`.
    #[schema(value_type = Option<String>)]
    pub state: Option<AliasState>,
}

/// Tells `null` from a member that is not there.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// A well-formed alias.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) domain: Domain,
    pub(super) local_part: String,
    pub(super) destinations: Vec<Given>,
    pub(super) description: String,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) max_messages: Option<i32>,
    pub(super) replies: RepliesAs,
    pub(super) state: AliasState,
}

impl Wanted {
    pub(super) fn pattern(&self) -> bool {
        self.local_part.contains('*')
    }
}

impl NewAliasBody {
    /// Reads it.
    ///
    /// # Errors
    /// Every fault, at least one.
    pub(super) fn read(self, settings: &Settings) -> Result<Wanted, Vec<FieldError>> {
        let mut faults = Vec::new();
        let domain = Domain::parse(self.domain.trim())
            .map_err(|error| faults.push(FieldError::new("domain", error)))
            .ok();
        let local_part = local_part(&self.local_part).unwrap_or_else(|fault| {
            faults.push(FieldError::new("local_part", fault));
            String::new()
        });
        let destinations = given::read_list("destinations", &self.destinations, settings, &mut faults);
        let description = description(self.description.unwrap_or_default(), &mut faults);
        let max_messages = max_messages(self.max_messages, &mut faults);
        match domain {
            Some(domain) if faults.is_empty() => Ok(Wanted {
                domain,
                local_part,
                destinations,
                description,
                expires_at: self.expires_at,
                max_messages,
                replies: self.replies.unwrap_or(RepliesAs::Direct),
                state: self.state.unwrap_or(AliasState::Active),
            }),
            _ => Err(faults),
        }
    }
}

/// Reads a local part into the form in which it is looked for.
///
/// # Errors
/// What is wrong with it.
pub(super) fn local_part(text: &str) -> Result<String, String> {
    let folded = text.to_lowercase();
    if folded.is_empty() || folded.len() > mail::address::MAX_LOCAL_PART_OCTETS {
        return Err(format!("must be 1 to {} characters", mail::address::MAX_LOCAL_PART_OCTETS));
    }
    if folded.contains(['@', '"']) {
        return Err("must be what stands before the @, without quotation marks".to_owned());
    }
    Address::parse(&format!("{folded}@example.org"))
        .map_err(|_| "must be letters, digits and !#$%&'*+-/=?^_`{|}~, with single dots between them".to_owned())?;
    if RESERVED.iter().any(|prefix| folded.starts_with(prefix)) {
        return Err("begins as addresses do that this service makes itself".to_owned());
    }
    let wildcards = folded.matches('*').count();
    if wildcards > 0 && folded.trim_matches('*').is_empty() {
        return Err("stands for everything: set the domain's catch_all instead".to_owned());
    }
    if wildcards > MOST_WILDCARDS {
        return Err(format!("must not have more than {MOST_WILDCARDS} wildcards"));
    }
    Ok(folded)
}

/// Checks a description.
pub(super) fn description(text: String, faults: &mut Vec<FieldError>) -> String {
    if text.chars().count() > MOST_DESCRIPTION || text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        faults.push(FieldError::new(
            "description",
            format_args!("must be at most {MOST_DESCRIPTION} characters, none of them a control character"),
        ));
    }
    text
}

/// Checks a number of messages.
pub(super) fn max_messages(number: Option<i64>, faults: &mut Vec<FieldError>) -> Option<i32> {
    let number = number?;
    match i32::try_from(number) {
        Ok(fine) if fine > 0 => Some(fine),
        _ => {
            faults.push(FieldError::new("max_messages", format_args!("must be between 1 and {}", i32::MAX)));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_part_is_one_that_mail_can_be_addressed_to_and_that_is_not_ours() {
        for (text, folded) in [
            ("Shop", "shop"),
            ("a.b-c_d+e", "a.b-c_d+e"),
            ("shop-*", "shop-*"),
            ("*-news", "*-news"),
            ("b", "b"),
            ("bills+x", "bills+x"),
            ("o'hara", "o'hara"),
            ("Bücher", "bücher"),
        ] {
            assert_eq!(local_part(text).as_deref(), Ok(folded));
        }
        let long = "a".repeat(65);
        for text in [
            "",
            "two words",
            " shop",
            "shop ",
            long.as_str(),
            "a..b",
            ".a",
            "a.",
            "a@b",
            "\"a b\"",
            "a\r\nb",
            "a\tb",
            "a\0",
            "a,b",
            "a<b>",
            "b+x",
            "B+X",
            "r+abc",
            "SRS0=x",
            "*",
            "**",
            "a*b*c*d*e",
            "a\u{85}b",
        ] {
            assert!(local_part(text).is_err(), "{text:?}");
        }
    }
}
