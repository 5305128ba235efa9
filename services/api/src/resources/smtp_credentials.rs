//! Programs' access to the SMTP listener.

use crate::{
    ApiError, FieldError,
    access::Caller,
    app::App,
    extract::{Body, Creating, Id, Query},
    idempotency::{Begun, Once},
    paging::{Page, Paging},
    resources::names,
};
use auth::{
    scopes::Scope,
    smtp_credentials::{self, CreateError, Wanted},
};
use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use ipnet::IpNet;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{
    events::NewEvent,
    ids::SmtpCredentialId,
    smtp_credentials::{SmtpCredentialChange, SmtpCredentialType},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const READ: Scope = Scope::Read("smtp-credentials");
const WRITE: Scope = Scope::Write("smtp-credentials");

/// A credential, without its password.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SmtpCredential {
    /// Its id.
    #[schema(value_type = String)]
    id: SmtpCredentialId,
    /// What its people call it.
    name: String,
    /// `password` or `network`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: SmtpCredentialType,
    /// What to log in as.
    username: String,
    /// `password`: from where, empty being anywhere. `network`: the peers it admits without a login.
    #[schema(value_type = Vec<String>)]
    networks: Vec<IpNet>,
    /// Addresses or `@domains` it may send as; empty: every domain of the organization.
    allowed_from: Vec<String>,
    /// The stream of what it sends.
    stream: String,
    /// Its last use, to the minute.
    last_used_at: Option<DateTime<Utc>>,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// A credential with its password, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct SmtpCredentialWithPassword {
    #[serde(flatten)]
    details: SmtpCredential,
    /// The password: it is not kept and cannot be shown again. A network credential has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

impl From<store::smtp_credentials::SmtpCredential> for SmtpCredential {
    fn from(row: store::smtp_credentials::SmtpCredential) -> Self {
        Self {
            id: row.id,
            name: row.name,
            kind: row.kind,
            username: row.username,
            networks: row.networks,
            allowed_from: row.allowed_from,
            stream: row.stream,
            last_used_at: row.last_used_at,
            created_at: row.created_at,
        }
    }
}

/// What a new credential shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSmtpCredential {
    /// What its people call it, 1 to 200 characters.
    name: String,
    /// `password` (unless given) or `network`.
    #[serde(rename = "type")]
    #[schema(value_type = Option<String>)]
    kind: Option<SmtpCredentialType>,
    /// In CIDR notation. A `network` credential needs at least one, none wider than a /8; loopback only by name.
    networks: Option<Vec<String>>,
    /// Addresses or `@domains` it may send as.
    allowed_from: Option<Vec<String>>,
    /// `transactional` (unless given) or `bulk`.
    stream: Option<String>,
}

impl NewSmtpCredential {
    fn read(self, caller: &Caller) -> Result<Wanted, ApiError> {
        let mut faults = Vec::new();
        let wanted = Wanted {
            name: names::name(self.name, &mut faults),
            kind: self.kind.unwrap_or(SmtpCredentialType::Password),
            networks: names::networks(self.networks, &mut faults),
            allowed_from: names::allowed_from(self.allowed_from, &mut faults),
            stream: names::stream(self.stream, &mut faults).unwrap_or_else(|| names::STREAMS[0].to_owned()),
        };
        if wanted.kind == SmtpCredentialType::Network {
            check_admitting(&wanted.networks, &mut faults);
        }
        if !faults.is_empty() {
            return Err(ApiError::invalid(faults));
        }
        require_senders(caller, &wanted.allowed_from)?;
        Ok(wanted)
    }
}

fn check_admitting(networks: &[IpNet], faults: &mut Vec<FieldError>) {
    if networks.is_empty() && faults.is_empty() {
        faults.push(FieldError::new("networks", CreateError::NoNetworks));
    }
    for (index, network) in networks.iter().enumerate() {
        if let Err(error) = auth::networks::check_admitting(*network) {
            faults.push(FieldError::new(format!("networks[{index}]"), error));
        }
    }
}

/// A caller limited to domains gives nobody more than it has.
fn require_senders(caller: &Caller, allowed_from: &[String]) -> Result<(), ApiError> {
    let own = |entry: &String| entry.rsplit_once('@').is_some_and(|(_, domain)| caller.may_use_domain(domain));
    if caller.domains.is_empty() || (!allowed_from.is_empty() && allowed_from.iter().all(own)) {
        return Ok(());
    }
    let message = "a key limited to domains makes only credentials limited to them: give allowed_from";
    Err(ApiError::new(StatusCode::FORBIDDEN, "domain_not_allowed", message))
}

/// What may be changed of a credential; what is not given stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SmtpCredentialPatch {
    /// What its people call it.
    name: Option<String>,
    /// In CIDR notation.
    networks: Option<Vec<String>>,
    /// Addresses or `@domains` it may send as.
    allowed_from: Option<Vec<String>>,
    /// `transactional` or `bulk`.
    stream: Option<String>,
}

/// Which page to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// 1 to 100, 25 unless given.
    limit: Option<u32>,
    /// The cursor of the former page.
    after: Option<String>,
}

/// List SMTP credentials, the newest first.
#[utoipa::path(get, path = "/smtp-credentials", tag = "smtp-credentials", params(Filter),
    security(("api_key" = ["smtp-credentials.read"])), responses((status = 200, body = Page<SmtpCredential>)))]
async fn list(State(app): State<Arc<App>>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Page<SmtpCredential>>, ApiError> {
    caller.require(READ)?;
    let paging = Paging::read(&app, "smtp-credentials", filter.limit, filter.after.as_deref())?;
    let after = paging.after(SmtpCredentialId);
    let rows = store::smtp_credentials::list(&app.pool, caller.organization, after, paging.fetch()).await?;
    Ok(Json(paging.page(&app, rows, |row| row.id.0, SmtpCredential::from)))
}

/// Make an SMTP credential. Its password is shown this once.
#[utoipa::path(post, path = "/smtp-credentials", tag = "smtp-credentials", request_body = NewSmtpCredential,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    security(("api_key" = ["smtp-credentials.write"])), responses((status = 201, body = SmtpCredentialWithPassword)))]
async fn create(State(app): State<Arc<App>>, caller: Caller, request: Creating<NewSmtpCredential>) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let wanted = request.value.read(&caller)?;
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let (credential, password) = smtp_credentials::create(once.transaction(), &app.secrets, caller.organization, &wanted)
        .await
        .map_err(|error| match error {
            CreateError::Store(error) => error.into(),
            refused => ApiError::field("networks", refused),
        })?;
    let view = SmtpCredentialWithPassword {
        details: credential.into(),
        password: password.map(|password| password.expose_secret().to_owned()),
    };
    once.answer(StatusCode::CREATED, &view).await
}

/// Look at an SMTP credential.
#[utoipa::path(get, path = "/smtp-credentials/{id}", tag = "smtp-credentials", params(("id" = String, Path)),
    security(("api_key" = ["smtp-credentials.read"])), responses((status = 200, body = SmtpCredential), (status = 404, body = crate::error::ErrorBody)))]
async fn get(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<SmtpCredentialId>) -> Result<Json<SmtpCredential>, ApiError> {
    caller.require(READ)?;
    let found = store::smtp_credentials::find(&app.pool, caller.organization, id).await?;
    if found.revoked_at.is_some() {
        return Err(ApiError::not_found());
    }
    Ok(Json(found.into()))
}

/// Change an SMTP credential. It holds within two seconds.
#[utoipa::path(patch, path = "/smtp-credentials/{id}", tag = "smtp-credentials", params(("id" = String, Path)), request_body = SmtpCredentialPatch,
    security(("api_key" = ["smtp-credentials.write"])), responses((status = 200, body = SmtpCredential), (status = 404, body = crate::error::ErrorBody)))]
async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SmtpCredentialId>,
    Body(patch): Body<SmtpCredentialPatch>,
) -> Result<Json<SmtpCredential>, ApiError> {
    caller.require(WRITE)?;
    let former = store::smtp_credentials::find(&app.pool, caller.organization, id).await?;
    let mut faults = Vec::new();
    let name = patch.name.map(|name| names::name(name, &mut faults));
    let networks = patch.networks.map(|texts| names::networks(Some(texts), &mut faults));
    if let (SmtpCredentialType::Network, Some(networks)) = (former.kind, &networks) {
        check_admitting(networks, &mut faults);
    }
    let allowed_from = patch.allowed_from.map(|texts| names::allowed_from(Some(texts), &mut faults));
    let stream = names::stream(patch.stream, &mut faults);
    if !faults.is_empty() {
        return Err(ApiError::invalid(faults));
    }
    require_senders(&caller, allowed_from.as_deref().unwrap_or(&former.allowed_from))?;
    let change = SmtpCredentialChange {
        name: name.as_deref(),
        networks: networks.as_deref(),
        allowed_from: allowed_from.as_deref(),
        stream: stream.as_deref(),
    };
    let changed = store::smtp_credentials::update(&app.pool, caller.organization, id, change).await?;
    Ok(Json(changed.into()))
}

/// Withdraw an SMTP credential. It stops within two seconds, on open sessions too.
#[utoipa::path(delete, path = "/smtp-credentials/{id}", tag = "smtp-credentials", params(("id" = String, Path)),
    security(("api_key" = ["smtp-credentials.write"])), responses((status = 204), (status = 404, body = crate::error::ErrorBody)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<SmtpCredentialId>) -> Result<StatusCode, ApiError> {
    caller.require(WRITE)?;
    let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
    store::smtp_credentials::revoke(&mut *transaction, caller.organization, id).await?;
    let event = NewEvent {
        kind: "credential.revoked",
        message: None,
        recipient: None,
        data: serde_json::json!({ "credential": id, "type": "smtp_credential" }),
    };
    store::events::insert(&mut *transaction, caller.organization, event).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
}
