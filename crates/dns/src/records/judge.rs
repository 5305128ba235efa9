//! Whether what is found at a name does what the wanted record is for.

use super::{Checked, Purpose, RecordKind, Status, WantedRecord, spf};
use crate::{LookupError, Resolver};

/// Looks one wanted record up.
pub(super) async fn record(resolver: &dyn Resolver, hostname: &str, wanted: &WantedRecord) -> Checked {
    let judged = match (wanted.kind, wanted.purpose) {
        (RecordKind::Mx, _) => exchange(resolver, wanted).await,
        (RecordKind::Txt, Purpose::Spf | Purpose::ReturnPath) => sender_policy(resolver, hostname, wanted).await,
        (RecordKind::Txt, Purpose::Dmarc) => dmarc(resolver, &wanted.name).await,
        (RecordKind::Txt, Purpose::Dkim) => key(resolver, wanted).await,
        (RecordKind::Txt, Purpose::Ownership | Purpose::Mx) => token(resolver, wanted).await,
    };
    judged.unwrap_or_else(|LookupFailed| Checked::unchecked())
}

/// Nobody can say what is there.
pub(super) struct LookupFailed;

/// No records is an answer; a failure is none.
pub(super) fn settled<T>(answer: Result<crate::Answer<T>, LookupError>) -> Result<Vec<T>, LookupFailed> {
    match answer {
        Ok(answer) => Ok(answer.records),
        Err(LookupError::Temporary(_)) => Err(LookupFailed),
        Err(LookupError::NotFound { .. } | LookupError::InvalidName(_)) => Ok(Vec::new()),
    }
}

fn verdict(found: Vec<String>, right: impl Fn(&str) -> bool) -> Checked {
    let status = match found.as_slice() {
        [] => Status::Missing,
        texts if texts.iter().any(|text| right(text)) => Status::Ok,
        _ => Status::Wrong,
    };
    Checked::new(status, found)
}

async fn token(resolver: &dyn Resolver, wanted: &WantedRecord) -> Result<Checked, LookupFailed> {
    let texts = settled(resolver.txt(&wanted.name).await)?;
    Ok(verdict(texts, |text| text.trim() == wanted.value))
}

async fn exchange(resolver: &dyn Resolver, wanted: &WantedRecord) -> Result<Checked, LookupFailed> {
    let found = settled(resolver.mx(&wanted.name).await)?;
    let right = found.iter().any(|mx| mx.exchange.eq_ignore_ascii_case(&wanted.value));
    let shown = found.iter().map(|mx| format!("{} {}", mx.preference, mx.exchange));
    let status = match (found.is_empty(), right) {
        (true, _) => Status::Missing,
        (false, true) => Status::Ok,
        (false, false) => Status::Wrong,
    };
    Ok(Checked::new(status, shown))
}

/// Keys are compared by algorithm and `p=`: other tags do not change what verifies.
async fn key(resolver: &dyn Resolver, wanted: &WantedRecord) -> Result<Checked, LookupFailed> {
    let texts = settled(resolver.txt(&wanted.name).await)?;
    let public = tag(&wanted.value, "p");
    let algorithm = tag(&wanted.value, "k");
    Ok(verdict(texts, |text| {
        let version = tag(text, "v").is_none_or(|version| version == "DKIM1");
        version && tag(text, "p") == public && tag(text, "k").unwrap_or_else(|| "rsa".to_owned()) == algorithm.clone().unwrap_or_default()
    }))
}

/// The value of a tag in a `tag=value; …` list, without white space (RFC 6376 §3.2: it may be folded).
fn tag(list: &str, name: &str) -> Option<String> {
    list.split(';').find_map(|part| {
        let (tag, value) = part.split_once('=')?;
        (tag.trim() == name).then(|| value.chars().filter(|c| !c.is_whitespace()).collect())
    })
}

async fn sender_policy(resolver: &dyn Resolver, hostname: &str, wanted: &WantedRecord) -> Result<Checked, LookupFailed> {
    let policies = spf::policies(resolver, &wanted.name).await?;
    let status = match policies.as_slice() {
        [] => Status::Missing,
        [_] if spf::authorizes(resolver, &wanted.name, hostname).await? => Status::Ok,
        _ => Status::Wrong, // more than one is an error for every receiver (RFC 7208 §4.5)
    };
    Ok(Checked::new(status, policies))
}

/// The domain's own policy, or the nearest one above it, which then holds for it.
async fn dmarc(resolver: &dyn Resolver, name: &str) -> Result<Checked, LookupFailed> {
    let mut domain = name.strip_prefix("_dmarc.").unwrap_or(name);
    loop {
        let mut texts = settled(resolver.txt(&format!("_dmarc.{domain}")).await)?;
        texts.retain(|text| tag(text, "v").is_some_and(|version| version == "DMARC1"));
        if !texts.is_empty() {
            let one = texts.len() == 1;
            return Ok(verdict(texts, |text| {
                one && text.trim_start().starts_with('v') && tag(text, "p").is_some_and(|p| is_policy(&p))
            }));
        }
        match domain.split_once('.') {
            Some((_, above)) if above.contains('.') => domain = above,
            _ => return Ok(Checked::new(Status::Missing, [])),
        }
    }
}

fn is_policy(text: &str) -> bool {
    ["none", "quarantine", "reject"]
        .iter()
        .any(|policy| text.eq_ignore_ascii_case(policy))
}
