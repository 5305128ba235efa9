//! DMARC (RFC 9989, which replaces RFC 7489): does what passed belong to the author, and what does the author's domain ask for otherwise?
//!
//! Two choices. The organizational domain comes from the Public Suffix List (RFC 7489 §3.2) and not from RFC 9989's tree walk: no look-up is
//! needed to compare two names, private suffixes (`github.io`) keep their customers apart, and both agree but where a domain in the middle of a
//! tree publishes the only record or says `psd=`. `pct=` is ignored, as RFC 9989 removes it; its `t=` and `np=` are followed.
//!
//! A message with several authors (more than one From field, or several addresses in one) is judged for the domain of each, and the
//! worst verdict counts: otherwise a second From would be a way around. The decisions about what to do are pure functions.

mod record;

use crate::verify::{DkimResult, DkimVerdict, DmarcResult, DmarcVerdict, Policy, SpfResult, SpfVerdict};
use dns::{LookupError, Resolver};
use mail::{
    Domain,
    header::{Headers, authors, unfold},
};
use record::Record;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

/// Domains of authors that are judged.
const MAX_AUTHORS: usize = 4;
/// From fields that are read.
const MAX_FROM_FIELDS: usize = 16;

/// What a hosted domain does with mail that fails DMARC (`dmarc_fail`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFail {
    /// What the author's domain asks for.
    #[default]
    AsPublished,
    /// Forward it all the same, unchanged.
    Accept,
    /// Keep it until someone looks.
    Quarantine,
    /// 550 5.7.1 after the dot.
    Refuse,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Take it on its way.
    Accept,
    /// Keep it until someone looks.
    Quarantine,
    /// 550 5.7.1 after the dot.
    Refuse,
}

/// What DMARC decides about a message that arrives for a hosted domain. Only a failure is acted on (and too many authors to tell, which are
/// taken for one): a name server that was silent is nobody's proof.
#[must_use]
pub const fn disposition(verdict: &DmarcVerdict, on_fail: OnFail) -> Disposition {
    match (verdict.result, on_fail, verdict.policy) {
        (DmarcResult::Pass | DmarcResult::None | DmarcResult::TempError, _, _) | (_, OnFail::Accept, _) => Disposition::Accept,
        (_, OnFail::AsPublished, Policy::None) => Disposition::Accept,
        (_, OnFail::AsPublished, Policy::Quarantine) | (_, OnFail::Quarantine, _) => Disposition::Quarantine,
        (_, OnFail::AsPublished, Policy::Reject) | (_, OnFail::Refuse, _) => Disposition::Refuse,
    }
}

/// Whether forwarding would make the message fail, so that its From has to become ours: it passed by SPF alone under a strict policy. Never
/// where the author's own signature does it, and never what failed: nothing spoofed leaves authenticated as us.
#[must_use]
pub const fn rewrite_from(verdict: &DmarcVerdict) -> bool {
    matches!(verdict.result, DmarcResult::Pass)
        && verdict.aligned_spf
        && !verdict.aligned_dkim
        && matches!(verdict.policy, Policy::Quarantine | Policy::Reject)
}

/// The organizational domain of a name (lower-case A-labels): one label below its public suffix, or the name itself where it is one.
#[must_use]
pub fn organizational(name: &str) -> &str {
    psl::domain_str(name).unwrap_or(name)
}

/// Whether two domains are aligned (RFC 9989 §4.4): equal, or in relaxed mode of one organization.
#[must_use]
pub fn is_aligned(one: &str, other: &str, strict: bool) -> bool {
    !one.is_empty() && (one == other || (!strict && organizational(one) == organizational(other)))
}

/// What applies to mail of an author's domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    policy: Policy,
    strict_dkim: bool,
    strict_spf: bool,
}

/// Nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silent;

/// Finds the policy for an author's domain: its own record, else its organization's.
pub(crate) async fn published(resolver: &dyn Resolver, author: &str, deadline: Instant) -> Result<Option<Published>, Silent> {
    let found = timeout_at(deadline, Box::pin(find(resolver, author))).await;
    found.unwrap_or(Err(Silent))
}

async fn find(resolver: &dyn Resolver, author: &str) -> Result<Option<Published>, Silent> {
    let published = |record: Record, policy| Published {
        policy: record.applied(policy),
        strict_dkim: record.strict_dkim,
        strict_spf: record.strict_spf,
    };
    if let Some(record) = record_at(resolver, author).await? {
        return Ok(Some(published(record, record.policy)));
    }
    let organization = organizational(author);
    if organization == author {
        return Ok(None);
    }
    let Some(record) = record_at(resolver, organization).await? else {
        return Ok(None);
    };
    let is_absent =
        record.absent_subdomains != record.subdomains && matches!(resolver.a(author).await, Err(LookupError::NotFound { nx: true }));
    let policy = if is_absent { record.absent_subdomains } else { record.subdomains };
    Ok(Some(published(record, policy)))
}

/// The one record of a name; several are as none (RFC 9989 §4.10).
async fn record_at(resolver: &dyn Resolver, domain: &str) -> Result<Option<Record>, Silent> {
    let texts = match resolver.txt(&format!("_dmarc.{domain}")).await {
        Ok(answer) => answer.records,
        Err(LookupError::Temporary(_)) => return Err(Silent),
        Err(LookupError::NotFound { .. } | LookupError::InvalidName(_)) => return Ok(None),
    };
    let mut records = texts.iter().filter_map(|text| Record::parse(text));
    Ok(match (records.next(), records.next()) {
        (Some(record), None) => Some(record),
        _ => None,
    })
}

/// The domains of those who say that they wrote a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authors {
    /// Each once, lower-case A-labels.
    pub(crate) domains: Vec<String>,
    too_many: bool,
}

impl Authors {
    pub(crate) fn of(raw: &[u8]) -> Self {
        let mut domains: Vec<String> = Vec::new();
        let headers = Headers::scan(raw);
        let mut fields = headers.iter().filter(|field| field.is("From"));
        for field in fields.by_ref().take(MAX_FROM_FIELDS) {
            let addresses = authors(field.value);
            let found = if addresses.is_empty() {
                after_last_at(&unfold(field.value)).into_iter().collect()
            } else {
                addresses.iter().filter_map(|address| address.domain().cloned()).collect::<Vec<_>>()
            };
            for domain in found {
                if !domains.iter().any(|known| known == domain.as_str()) {
                    domains.push(domain.as_str().to_owned());
                }
            }
        }
        let too_many = domains.len() > MAX_AUTHORS || fields.next().is_some();
        domains.truncate(MAX_AUTHORS);
        Self { domains, too_many }
    }

    /// Judges the message for the domain of each author; `published` is in their order.
    pub(crate) fn assess(&self, published: &[Result<Option<Published>, Silent>], spf: &SpfVerdict, dkim: &[DkimVerdict]) -> DmarcVerdict {
        let none = DmarcVerdict {
            result: DmarcResult::None,
            domain: self.domains.first().cloned().unwrap_or_default(),
            policy: Policy::None,
            aligned_spf: false,
            aligned_dkim: false,
        };
        if self.too_many {
            return DmarcVerdict {
                result: DmarcResult::PermError,
                policy: Policy::Quarantine,
                ..none
            };
        }
        let verdicts = self
            .domains
            .iter()
            .zip(published)
            .map(|(domain, published)| assess(domain, *published, spf, dkim));
        // The last of equals is taken: they must not be reordered.
        verdicts.rev().max_by_key(severity).unwrap_or(none)
    }
}

/// How bad a verdict is, among those for several authors.
const fn severity(verdict: &DmarcVerdict) -> u8 {
    match (verdict.result, verdict.policy) {
        (DmarcResult::Fail, Policy::Reject) => 6,
        (DmarcResult::Fail, Policy::Quarantine) => 5,
        (DmarcResult::PermError | DmarcResult::TempError, _) => 4,
        (DmarcResult::Fail, Policy::None) => 3,
        (DmarcResult::None, _) => 2,
        (DmarcResult::Pass, _) => rewrite_from(verdict) as u8,
    }
}

fn assess(domain: &str, published: Result<Option<Published>, Silent>, spf: &SpfVerdict, dkim: &[DkimVerdict]) -> DmarcVerdict {
    let mut verdict = DmarcVerdict {
        result: DmarcResult::None,
        domain: domain.to_owned(),
        policy: Policy::None,
        aligned_spf: false,
        aligned_dkim: false,
    };
    let (strict_spf, strict_dkim) = published
        .ok()
        .flatten()
        .map_or((false, false), |policy| (policy.strict_spf, policy.strict_dkim));
    let spf_is = |result| spf.result == result && is_aligned(&spf.domain, domain, strict_spf);
    let dkim_is = |result| {
        let mut signatures = dkim.iter().filter(|signature| signature.result == result);
        signatures.any(|signature| is_aligned(&signature.domain, domain, strict_dkim))
    };
    match published {
        Err(Silent) => verdict.result = DmarcResult::TempError,
        Ok(None) => {
            verdict.aligned_spf = spf_is(SpfResult::Pass);
            verdict.aligned_dkim = dkim_is(DkimResult::Pass);
        }
        Ok(Some(policy)) => {
            verdict.policy = policy.policy;
            verdict.aligned_spf = spf_is(SpfResult::Pass);
            verdict.aligned_dkim = dkim_is(DkimResult::Pass);
            verdict.result = if verdict.aligned_spf || verdict.aligned_dkim {
                DmarcResult::Pass
            } else if spf_is(SpfResult::TempError) || dkim_is(DkimResult::TempError) {
                DmarcResult::TempError
            } else {
                DmarcResult::Fail
            };
        }
    }
    verdict
}

/// The domain after the last `@` of a From that holds no proper address: programs that show mail are not strict either.
fn after_last_at(text: &str) -> Option<Domain> {
    let (_, rest) = text.rsplit_once('@')?;
    let rest = rest.trim_start();
    let end = rest
        .find(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_.".contains(c))
        .unwrap_or(rest.len());
    Domain::parse(&rest[..end]).ok()
}
