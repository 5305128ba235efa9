//! Domains: claiming a name, the DNS records it needs, proving it, and its signing keys.

mod incoming;
mod keys;
mod records;

use crate::{
    ApiError, FieldError,
    access::Caller,
    app::App,
    extract::{Body, Creating, Id, Query},
    idempotency::{Begun, Once},
    paging::{Page, Paging},
};
use auth::scopes::Scope;
use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{
    domains::{self, DomainChange},
    ids::DomainId,
    models::{DkimAlgorithm, DmarcFailure, DomainStatus},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use incoming::{CatchAll, IncomingView};
use records::DnsRecords;

const READ: Scope = Scope::Read("domains");
const WRITE: Scope = Scope::Write("domains");

/// A domain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Domain {
    /// Its id.
    #[schema(value_type = String)]
    id: DomainId,
    /// Its name, in A-labels.
    name: String,
    /// `pending`, `active` or `failing`.
    #[schema(value_type = String)]
    status: DomainStatus,
    /// Whether what leaves for it is signed.
    sign: bool,
    /// `<label>.<name>` takes bounces.
    return_path_label: String,
    /// When ownership was first proved.
    verified_at: Option<DateTime<Utc>>,
    /// Since when a required record has been gone.
    failing_since: Option<DateTime<Utc>>,
    /// The last check of its records.
    last_checked_at: Option<DateTime<Utc>>,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// What it does with mail that comes in.
    #[serde(flatten)]
    incoming: IncomingView,
    /// The records it needs; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_records: Option<DnsRecords>,
}

impl Domain {
    fn of(row: domains::Domain, incoming: IncomingView) -> Self {
        Self {
            id: row.id,
            name: row.name,
            status: row.status,
            sign: row.sign,
            return_path_label: row.return_path_label,
            verified_at: row.verified_at,
            failing_since: row.failing_since,
            last_checked_at: row.last_checked_at,
            created_at: row.created_at,
            incoming,
            dns_records: None,
        }
    }
}

/// A domain to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDomain {
    /// Its name; U-labels are accepted.
    name: String,
}

impl NewDomain {
    fn read(&self) -> Result<String, ApiError> {
        let fault = |message: &str| ApiError::field("name", message);
        let name = mail::Domain::parse(self.name.trim_matches(' ')).map_err(|error| fault(&error.to_string()))?;
        let name = name.to_string();
        // What is published below it must be a name too.
        if !name.contains('.') || name.contains('_') || name.len() > 200 {
            return Err(fault("must be a domain name of at least two labels and at most 200 characters"));
        }
        Ok(name)
    }
}

/// What may be changed of a domain; what is not given stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DomainPatch {
    /// Whether what leaves for it is signed.
    sign: Option<bool>,
    /// One DNS label: `<label>.<name>` takes bounces.
    return_path_label: Option<String>,
    /// What takes mail that no alias does; `null`: it is refused.
    #[serde(default, deserialize_with = "crate::resources::aliases::present")]
    #[schema(value_type = Option<CatchAll>)]
    catch_all: Option<Option<CatchAll>>,
    /// Whether `local+tag` is `local`.
    subaddressing: Option<bool>,
    /// What a paused alias answers, one line of at most 200 characters; `null`: the standard refusal.
    #[serde(default, deserialize_with = "crate::resources::aliases::present")]
    #[schema(value_type = Option<String>)]
    paused_reply: Option<Option<String>>,
    /// What becomes of mail that fails DMARC: `as_published`, `accept`, `quarantine` or `refuse`.
    #[schema(value_type = Option<String>)]
    dmarc_fail: Option<DmarcFailure>,
}

impl DomainPatch {
    fn check(&self, faults: &mut Vec<FieldError>) {
        let fine = |label: &str| {
            (1..=30).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if self.return_path_label.as_deref().is_some_and(|label| !fine(label)) {
            let message = "must be one DNS label of at most 30 lower-case letters, digits and hyphens";
            faults.push(FieldError::new("return_path_label", message));
        }
    }
}

/// Which domains to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// 1 to 100, 25 unless given.
    limit: Option<u32>,
    /// The cursor of the former page.
    after: Option<String>,
    /// Only the one of this name.
    name: Option<String>,
    /// Only `pending`, `active` or `failing` ones.
    status: Option<String>,
}

/// List domains, the newest first.
#[utoipa::path(get, path = "/domains", tag = "domains", params(Filter),
    security(("api_key" = ["domains.read"])), responses((status = 200, body = Page<Domain>)))]
async fn list(State(app): State<Arc<App>>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Page<Domain>>, ApiError> {
    caller.require(READ)?;
    let paging = Paging::read(&app, "domains", filter.limit, filter.after.as_deref())?;
    let status = filter
        .status
        .map(|text| text.parse().map_err(|error| ApiError::field("status", error)))
        .transpose()?;
    let name = filter.name.map(|name| name.to_lowercase());
    let wanted = domains::DomainFilter {
        name: name.as_deref(),
        status,
        within: &caller.domains,
    };
    let rows = domains::list(&app.pool, caller.organization, wanted, paging.after(DomainId), paging.fetch()).await?;
    let ids: Vec<DomainId> = rows.iter().map(|row| row.id).collect();
    let mut incoming = store::incoming::of_domains(&app.pool, caller.organization, &ids).await?;
    // one that is being deleted just now has none any more
    let view = |row: domains::Domain| {
        let incoming = incoming.remove(&row.id).map(IncomingView::from).unwrap_or_default();
        Domain::of(row, incoming)
    };
    Ok(Json(paging.page(&app, rows, |row| row.id.0, view)))
}

/// Add a domain. Publish its records, then verify it.
#[utoipa::path(post, path = "/domains", tag = "domains", request_body = NewDomain,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    security(("api_key" = ["domains.write"])), responses((status = 201, body = Domain), (status = 409, body = crate::error::ErrorBody)))]
async fn create(State(app): State<Arc<App>>, caller: Caller, request: Creating<NewDomain>) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let name = request.value.read()?;
    caller.require_domain(&name)?;
    let key = keys::generate(&app, DkimAlgorithm::RsaSha256).await?;
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    if domains::proved_by_another(once.transaction(), caller.organization, &name).await? {
        return Err(taken());
    }
    let token = hex::encode(rand::random::<[u8; 16]>());
    let made = domains::insert(once.transaction(), caller.organization, &name, &token)
        .await
        .map_err(|error| match error.violates("domain_name_in_organization_key") {
            true => ApiError::conflict("domain_exists", "this domain was added already"),
            false => error.into(),
        })?;
    store::dkim_keys::insert(once.transaction(), caller.organization, made.id, key.row()).await?;
    let dns_records = records::view(&app, once.transaction(), &made).await?;
    let incoming = incoming::view(once.transaction(), caller.organization, made.id).await?;
    let view = Domain {
        dns_records: Some(dns_records),
        ..Domain::of(made, incoming)
    };
    once.answer(StatusCode::CREATED, &view).await
}

/// Look at a domain.
#[utoipa::path(get, path = "/domains/{id}", tag = "domains", params(("id" = String, Path)),
    security(("api_key" = ["domains.read"])), responses((status = 200, body = Domain), (status = 404, body = crate::error::ErrorBody)))]
async fn get(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<DomainId>) -> Result<Json<Domain>, ApiError> {
    caller.require(READ)?;
    let domain = own(&app, &caller, id).await?;
    whole(&app, domain).await
}

/// Change a domain.
#[utoipa::path(patch, path = "/domains/{id}", tag = "domains", params(("id" = String, Path)), request_body = DomainPatch,
    security(("api_key" = ["domains.write"])), responses((status = 200, body = Domain), (status = 404, body = crate::error::ErrorBody)))]
async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<DomainId>,
    Body(mut patch): Body<DomainPatch>,
) -> Result<Json<Domain>, ApiError> {
    caller.require(WRITE)?;
    own(&app, &caller, id).await?;
    let mut faults = Vec::new();
    patch.check(&mut faults);
    let incoming = incoming::read(&app, &mut patch, &mut faults);
    if !faults.is_empty() {
        return Err(ApiError::invalid(faults));
    }
    let change = DomainChange {
        sign: patch.sign,
        return_path_label: patch.return_path_label.as_deref(),
    };
    let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
    let domain = domains::update(&mut *transaction, caller.organization, id, change).await?;
    let ensured = incoming::save(&app, &mut transaction, caller.organization, id, incoming).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    ensured.wake(&app);
    whole(&app, domain).await
}

/// Give a domain up, with its keys.
#[utoipa::path(delete, path = "/domains/{id}", tag = "domains", params(("id" = String, Path)),
    security(("api_key" = ["domains.write"])), responses((status = 204), (status = 404, body = crate::error::ErrorBody)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<DomainId>) -> Result<StatusCode, ApiError> {
    caller.require(WRITE)?;
    own(&app, &caller, id).await?;
    let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
    domains::delete(&mut transaction, caller.organization, id).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Look up a domain's records now, past every cache.
#[utoipa::path(post, path = "/domains/{id}/verify", tag = "domains", params(("id" = String, Path)), security(("api_key" = ["domains.write"])),
    responses((status = 200, body = Domain), (status = 404, body = crate::error::ErrorBody), (status = 409, body = crate::error::ErrorBody)))]
async fn verify(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<DomainId>) -> Result<Json<Domain>, ApiError> {
    caller.require(WRITE)?;
    let domain = own(&app, &caller, id).await?;
    let checks = records::check(&app, &domain).await?;
    let domain = domains::save_check(&app.pool, caller.organization, id, &checks)
        .await
        .map_err(|error| {
            if error.violates(domains::VERIFIED_NAME) {
                taken()
            } else {
                error.into()
            }
        })?;
    whole(&app, domain).await
}

/// The DNS records a domain needs, and what the last check found.
#[utoipa::path(get, path = "/domains/{id}/dns-records", tag = "domains", params(("id" = String, Path)),
    security(("api_key" = ["domains.read"])), responses((status = 200, body = DnsRecords), (status = 404, body = crate::error::ErrorBody)))]
async fn dns_records(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<DomainId>) -> Result<Json<DnsRecords>, ApiError> {
    caller.require(READ)?;
    let domain = own(&app, &caller, id).await?;
    let mut connection = app.pool.acquire().await.map_err(store::Error::from)?;
    Ok(Json(records::view(&app, &mut connection, &domain).await?))
}

async fn own(app: &App, caller: &Caller, id: DomainId) -> Result<domains::Domain, ApiError> {
    let domain = domains::find(&app.pool, caller.organization, id).await?;
    caller.require_domain(&domain.name)?;
    Ok(domain)
}

async fn whole(app: &App, domain: domains::Domain) -> Result<Json<Domain>, ApiError> {
    let mut connection = app.pool.acquire().await.map_err(store::Error::from)?;
    let dns_records = records::view(app, &mut connection, &domain).await?;
    let incoming = incoming::view(&mut connection, domain.organization, domain.id).await?;
    Ok(Json(Domain {
        dns_records: Some(dns_records),
        ..Domain::of(domain, incoming)
    }))
}

fn taken() -> ApiError {
    ApiError::conflict("domain_taken", "another organization has proved that it owns this domain")
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
        .routes(routes!(verify))
        .routes(routes!(dns_records))
        .merge(keys::router())
}
