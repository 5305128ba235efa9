//! A domain's DNS records: from the stored facts to what is wanted, checked and shown.

use crate::{
    ApiError,
    app::{App, Settings},
};
use dns::records::WantedRecord;
use serde::Serialize;
use store::{
    PgConnection, dkim_keys,
    domains::{self, Checks, Domain, Occasion, RecordState},
    models::{RecordPurpose, RecordStatus, RecordType},
};
use utoipa::ToSchema;

/// The records a domain needs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DnsRecords {
    /// The records, the most important first.
    data: Vec<DnsRecord>,
}

/// A record to publish.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DnsRecord {
    /// `TXT`, `MX` or `CNAME`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: RecordType,
    /// The full name.
    name: String,
    /// The text, or the exchange's name.
    value: String,
    /// Of an MX.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u16>,
    /// `ownership`, `mx`, `spf`, `dkim`, `dmarc` or `return_path`.
    #[schema(value_type = String)]
    purpose: RecordPurpose,
    /// Whether the domain cannot be used without it.
    required: bool,
    /// `ok`, `missing`, `wrong` or `unchecked`, at the last check that got an answer.
    #[schema(value_type = String)]
    status: RecordStatus,
    /// What was there.
    found: Vec<String>,
}

/// What a domain wants, with what the last check found.
pub(super) async fn view(app: &App, connection: &mut PgConnection, domain: &Domain) -> Result<DnsRecords, ApiError> {
    let keys = dkim_keys::of_domain(&mut *connection, domain.organization, domain.id).await?;
    let kept = domains::records(connection, domain.organization, domain.id).await?;
    let data = ::domains::wanted(domain, &keys, &app.settings.hostname)
        .into_iter()
        .map(|record| shown(record, &kept))
        .collect();
    Ok(DnsRecords { data })
}

fn shown(wanted: WantedRecord, kept: &[RecordState]) -> DnsRecord {
    let (purpose, kind) = (::domains::stored_purpose(wanted.purpose), ::domains::stored_type(wanted.kind));
    let last = kept
        .iter()
        .find(|record| (record.purpose, record.kind, &record.name) == (purpose, kind, &wanted.name));
    DnsRecord {
        kind,
        purpose,
        priority: wanted.priority,
        required: wanted.required,
        status: last.map_or(RecordStatus::Unchecked, |record| record.status),
        found: last.map(|record| record.found.clone()).unwrap_or_default(),
        name: wanted.name,
        value: wanted.value,
    }
}

/// Looks a domain's records up, past every cache.
pub(super) async fn check(app: &App, domain: &Domain) -> Result<Checks, ApiError> {
    let Settings {
        hostname, check_interval, ..
    } = &app.settings;
    Ok(::domains::check(&app.pool, &*app.resolver, hostname, domain, Occasion::Asked, *check_interval).await?)
}
