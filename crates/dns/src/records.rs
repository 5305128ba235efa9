//! The DNS records a customer's domain needs, and whether they are there.
//!
//! [`wanted`] is pure: domain, our host name and keys give the records to publish. [`check`] looks each of them up. What the customer has is
//! judged by what it does, not by its spelling: any SPF record that lets us send is right, and so is any valid DMARC policy. A look-up that
//! fails says nothing about the record: it is [`Status::Unchecked`], never missing.
//!
//! What follows from the results for the domain is not decided here.

mod judge;
mod spf;

use crate::Resolver;
use futures_util::future::join_all;
use std::time::Duration;

/// The label below which ownership is proved.
pub const OWNERSHIP_LABEL: &str = "_postroad";

/// The longest the check of one record takes, whatever it includes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Proves who controls the domain.
    Ownership,
    /// Brings the domain's mail here.
    Mx,
    /// Lets this instance send for the domain (RFC 7208).
    Spf,
    /// Publishes a signing key (RFC 6376).
    Dkim,
    /// Says what to do with unauthenticated mail (RFC 7489).
    Dmarc,
    /// Brings bounces here, and lets this instance send with that return path.
    ReturnPath,
}

/// The type of a wanted record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// TXT.
    Txt,
    /// MX.
    Mx,
}

/// A record to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRecord {
    /// Its type.
    pub kind: RecordKind,
    /// Its full name.
    pub name: String,
    /// The text, or the exchange's name.
    pub value: String,
    /// Of an MX.
    pub priority: Option<u16>,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether the domain cannot be used without it.
    pub required: bool,
    /// The index of the key in [`Facts::keys`] that it publishes.
    pub key: Option<usize>,
}

/// What the records follow from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The domain's name, in A-labels.
    pub domain: &'a str,
    /// The host name under which we send and receive.
    pub hostname: &'a str,
    /// The text that proves ownership.
    pub ownership_token: &'a str,
    /// `<label>.<domain>` takes bounces.
    pub return_path_label: &'a str,
    /// The domain's keys, in the order in which they were made.
    pub keys: &'a [Key<'a>],
}

/// A key to publish.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// The label under `_domainkey`.
    pub selector: &'a str,
    /// The `k=` tag: `rsa` or `ed25519`.
    pub algorithm: &'a str,
    /// The `p=` tag.
    pub public_key: &'a str,
    /// Whether mail is signed with it, so that it must be there.
    pub required: bool,
}

/// What a check found for a wanted record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The verdict.
    pub status: Status,
    /// What is there, shortened and without control characters.
    pub found: Vec<String>,
}

/// The verdict about one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As wanted.
    Ok,
    /// Nothing of the kind is there.
    Missing,
    /// Something else is there.
    Wrong,
    /// The look-up failed.
    Unchecked,
}

/// The records a domain needs, the most important first.
#[must_use]
pub fn wanted(facts: &Facts<'_>) -> Vec<WantedRecord> {
    let Facts { domain, hostname, .. } = *facts;
    let text = |purpose, name: String, value: String, required| WantedRecord {
        kind: RecordKind::Txt,
        name,
        value,
        priority: None,
        purpose,
        required,
        key: None,
    };
    let exchange = |purpose, name: String| WantedRecord {
        kind: RecordKind::Mx,
        name,
        value: hostname.to_owned(),
        priority: Some(10),
        purpose,
        required: false,
        key: None,
    };
    let return_path = format!("{}.{domain}", facts.return_path_label);
    let mut records = vec![text(
        Purpose::Ownership,
        format!("{OWNERSHIP_LABEL}.{domain}"),
        ownership_value(facts.ownership_token),
        true,
    )];
    records.extend(facts.keys.iter().enumerate().map(|(index, key)| WantedRecord {
        key: Some(index),
        ..text(
            Purpose::Dkim,
            format!("{}._domainkey.{domain}", key.selector),
            format!("v=DKIM1; k={}; p={}", key.algorithm, key.public_key),
            key.required,
        )
    }));
    records.extend([
        text(Purpose::Spf, domain.to_owned(), format!("v=spf1 mx a:{hostname} ~all"), false),
        exchange(Purpose::ReturnPath, return_path.clone()),
        text(Purpose::ReturnPath, return_path, format!("v=spf1 a:{hostname} -all"), false),
        text(Purpose::Dmarc, format!("_dmarc.{domain}"), "v=DMARC1; p=none".to_owned(), false),
        exchange(Purpose::Mx, domain.to_owned()),
    ]);
    records
}

/// The text of the ownership record.
#[must_use]
pub fn ownership_value(token: &str) -> String {
    format!("postroad-verification={token}")
}

/// Looks the wanted records up, all at once. One result each, in order. For an answer as of now, give a resolver without memory
/// ([`Resolver::fresh`]).
pub async fn check(resolver: &dyn Resolver, hostname: &str, wanted: &[WantedRecord]) -> Vec<Checked> {
    join_all(wanted.iter().map(|record| async move {
        tokio::time::timeout(PATIENCE, judge::record(resolver, hostname, record))
            .await
            .unwrap_or_else(|_| Checked::unchecked())
    }))
    .await
}

const MOST_FOUND: usize = 10;
const LONGEST_FOUND: usize = 600;

impl Checked {
    fn new(status: Status, found: impl IntoIterator<Item = String>) -> Self {
        let clean = |text: String| {
            let mut clean: String = text
                .chars()
                .take(LONGEST_FOUND)
                .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                .collect();
            if text.chars().nth(LONGEST_FOUND).is_some() {
                clean.push('…');
            }
            clean
        };
        Self {
            status,
            found: found.into_iter().take(MOST_FOUND).map(clean).collect(),
        }
    }

    const fn unchecked() -> Self {
        Self {
            status: Status::Unchecked,
            found: Vec::new(),
        }
    }
}

#[cfg(test)]
#[path = "records/tests.rs"]
mod tests;
