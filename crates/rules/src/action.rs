//! What becomes of a message that a rule matches.

use mail::Address;
use serde::{Deserialize, Serialize};

use crate::FieldError;

/// Destinations a redirect may name.
pub const MAX_DESTINATIONS: usize = 20;
/// Characters the text of a refusal may have: one line of a reply, with room for the codes (RFC 5321 §4.5.3.1.5).
pub const MAX_REPLY_CHARACTERS: usize = 200;
const MAX_DESTINATION_OCTETS: usize = 2000;

/// An action. In JSON an object whose `type` says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Action {
    /// To the alias's destinations, as if there were no rule; later rules are not asked.
    Forward,
    /// To these destinations instead.
    Redirect {
        /// Addresses, `https` (or `http`) URLs or ids (`dst_…`). Whether they are the organization's and confirmed is for the caller.
        destinations: Vec<String>,
    },
    /// Refused at the end of DATA with 550.
    Block {
        /// The text after the codes, instead of the standard one.
        reply: Option<String>,
    },
    /// Accepted and dropped, recorded.
    Discard,
    /// Kept for the owner to look at.
    Quarantine,
}

impl Action {
    /// Everything wrong with it.
    pub(crate) fn faults(&self) -> Vec<FieldError> {
        match self {
            Self::Redirect { destinations } => destination_faults(destinations),
            Self::Block { reply: Some(reply) } => reply_fault(reply)
                .map(|message| FieldError::new("action.reply", message))
                .into_iter()
                .collect(),
            Self::Forward | Self::Block { reply: None } | Self::Discard | Self::Quarantine => Vec::new(),
        }
    }
}

fn destination_faults(destinations: &[String]) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if destinations.is_empty() {
        faults.push(FieldError::new("action.destinations", "is empty: name at least one destination"));
    }
    if destinations.len() > MAX_DESTINATIONS {
        faults.push(FieldError::new(
            "action.destinations",
            format!("has more than {MAX_DESTINATIONS} entries"),
        ));
    }
    let mut seen: Vec<String> = Vec::new();
    for (index, destination) in destinations.iter().enumerate().take(MAX_DESTINATIONS) {
        let at = || format!("action.destinations[{index}]");
        if !is_destination(destination) {
            faults.push(FieldError::new(
                at(),
                "is neither an address, a URL nor the id of a destination (dst_…)",
            ));
            continue;
        }
        let key = Address::parse(destination).map_or_else(|_| destination.clone(), |address| address.folded());
        if seen.contains(&key) {
            faults.push(FieldError::new(at(), "is listed twice"));
        } else {
            seen.push(key);
        }
    }
    faults
}

fn is_destination(text: &str) -> bool {
    let one_word = || text.len() <= MAX_DESTINATION_OCTETS && !text.chars().any(|character| character.is_control() || character == ' ');
    let prefixed = ["https://", "http://", "dst_"]
        .iter()
        .any(|prefix| text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()));
    Address::parse(text).is_ok() || (prefixed && one_word())
}

/// A reply's text is one line of printable ASCII (RFC 5321 §4.2, `textstring`): anything else could forge a second reply line or
/// is not understood by the client.
fn reply_fault(reply: &str) -> Option<String> {
    if reply.chars().any(char::is_control) {
        Some("holds a control character or line break; write it on one line".to_owned())
    } else if reply.trim().is_empty() {
        Some("is empty: leave it out for the standard text".to_owned())
    } else if !reply.is_ascii() {
        Some("holds a character that a mail server's reply cannot carry; use plain ASCII letters, digits and punctuation".to_owned())
    } else if reply.len() > MAX_REPLY_CHARACTERS {
        Some(format!("is longer than {MAX_REPLY_CHARACTERS} characters"))
    } else {
        None
    }
}

/// [`Action`] as it is written. One struct, so that a member that belongs to another type is named in the error.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destinations: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Forward,
    Redirect,
    Block,
    Discard,
    Quarantine,
}

impl TryFrom<Written> for Action {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        if written.destinations.is_some() && written.kind != Kind::Redirect {
            return Err("`destinations` belongs to the type `redirect` only");
        }
        if written.reply.is_some() && written.kind != Kind::Block {
            return Err("`reply` belongs to the type `block` only");
        }
        Ok(match written.kind {
            Kind::Forward => Self::Forward,
            Kind::Redirect => Self::Redirect {
                destinations: written.destinations.ok_or("the type `redirect` needs `destinations`, a list")?,
            },
            Kind::Block => Self::Block { reply: written.reply },
            Kind::Discard => Self::Discard,
            Kind::Quarantine => Self::Quarantine,
        })
    }
}

impl From<Action> for Written {
    fn from(action: Action) -> Self {
        let (kind, destinations, reply) = match action {
            Action::Forward => (Kind::Forward, None, None),
            Action::Redirect { destinations } => (Kind::Redirect, Some(destinations), None),
            Action::Block { reply } => (Kind::Block, None, reply),
            Action::Discard => (Kind::Discard, None, None),
            Action::Quarantine => (Kind::Quarantine, None, None),
        };
        Self { kind, destinations, reply }
    }
}
