//! A customer's domain and its DNS: which records it wants, and a check of them in the form the store keeps.
//!
//! One place for the API, where somebody asks for a check, and the worker, which checks on a schedule. Joins the pure rules of
//! [`dns::records`] to the rows of [`store::domains`]. It decides nothing about the domain's status: the store does, with the result.

use dns::{
    Resolver,
    records::{self, Facts, Key, Purpose, RecordKind, Status, WantedRecord},
};
use std::time::Duration;
use store::{
    PgPool,
    dkim_keys::{self, DkimKey},
    domains::{CheckedRecord, Checks, Domain, Occasion},
    models::{DkimAlgorithm, DkimKeyState, RecordPurpose, RecordStatus, RecordType},
};

/// The records a domain wants, given its keys and the name of this instance's mail server.
#[must_use]
pub fn wanted(domain: &Domain, keys: &[DkimKey], hostname: &str) -> Vec<WantedRecord> {
    let signing = keys.iter().any(|key| key.state == DkimKeyState::Active);
    let first_pending = keys.iter().position(|key| key.state == DkimKeyState::Pending);
    let facts: Vec<Key<'_>> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| Key {
            selector: &key.selector,
            algorithm: key_type(key.algorithm),
            public_key: &key.public_key,
            required: domain.sign && (key.state == DkimKeyState::Active || (!signing && Some(index) == first_pending)),
        })
        .collect();
    records::wanted(&Facts {
        domain: &domain.name,
        hostname,
        ownership_token: &domain.ownership_token,
        return_path_label: &domain.return_path_label,
        keys: &facts,
    })
}

/// Looks a domain's records up, past every cache. A look-up that gets no answer leaves its record `unchecked`.
///
/// # Errors
/// When the database is out of reach.
pub async fn check(
    pool: &PgPool,
    resolver: &dyn Resolver,
    hostname: &str,
    domain: &Domain,
    occasion: Occasion,
    interval: Duration,
) -> store::Result<Checks> {
    let keys = dkim_keys::of_domain(pool, domain.organization, domain.id).await?;
    let wanted = wanted(domain, &keys, hostname);
    let found = records::check(resolver.fresh().as_ref(), hostname, &wanted).await;
    let records = wanted.into_iter().zip(found).map(|(wanted, found)| CheckedRecord {
        purpose: stored_purpose(wanted.purpose),
        kind: stored_type(wanted.kind),
        key: wanted.key.and_then(|index| keys.get(index)).map(|key| key.id),
        name: wanted.name,
        required: wanted.required,
        status: stored_status(found.status),
        found: found.found,
    });
    Ok(Checks {
        occasion,
        interval,
        records: records.collect(),
    })
}

/// The `k=` tag of RFC 6376 and RFC 8463.
#[must_use]
pub const fn key_type(algorithm: DkimAlgorithm) -> &'static str {
    match algorithm {
        DkimAlgorithm::RsaSha256 => "rsa",
        DkimAlgorithm::Ed25519Sha256 => "ed25519",
    }
}

/// The store's word for what a record is for.
#[must_use]
pub const fn stored_purpose(purpose: Purpose) -> RecordPurpose {
    match purpose {
        Purpose::Ownership => RecordPurpose::Ownership,
        Purpose::Mx => RecordPurpose::Mx,
        Purpose::Spf => RecordPurpose::Spf,
        Purpose::Dkim => RecordPurpose::Dkim,
        Purpose::Dmarc => RecordPurpose::Dmarc,
        Purpose::ReturnPath => RecordPurpose::ReturnPath,
    }
}

/// The store's word for a record's type.
#[must_use]
pub const fn stored_type(kind: RecordKind) -> RecordType {
    match kind {
        RecordKind::Txt => RecordType::Txt,
        RecordKind::Mx => RecordType::Mx,
    }
}

const fn stored_status(status: Status) -> RecordStatus {
    match status {
        Status::Ok => RecordStatus::Ok,
        Status::Missing => RecordStatus::Missing,
        Status::Wrong => RecordStatus::Wrong,
        Status::Unchecked => RecordStatus::Unchecked,
    }
}
