//! Programs' access to this API.
//!
//! A key creates only keys within its own scopes and its own domains.

use crate::{
    ApiError, FieldError,
    access::Caller,
    app::App,
    extract::{Creating, Id, Query, Unbodied},
    idempotency::{Begun, Once},
    paging::{Page, Paging},
    resources::names,
};
use auth::{
    api_keys::{self, Wanted},
    scopes::{Scope, Scopes},
};
use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{events::NewEvent, ids::ApiKeyId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const READ: Scope = Scope::Read("api-keys");
const WRITE: Scope = Scope::Write("api-keys");

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKey {
    /// Its id.
    #[schema(value_type = String)]
    id: ApiKeyId,
    /// What its people call it.
    name: String,
    /// The part that may be shown.
    prefix: String,
    /// What it may do.
    scopes: Vec<String>,
    /// From where, in CIDR notation; empty: from anywhere.
    #[schema(value_type = Vec<String>)]
    networks: Vec<IpNet>,
    /// For which domains it sends and manages; empty: all.
    domains: Vec<String>,
    /// When it ends by itself.
    expires_at: Option<DateTime<Utc>>,
    /// Its last use, to the minute.
    last_used_at: Option<DateTime<Utc>>,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// A key with its secret, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKeyWithSecret {
    #[serde(flatten)]
    details: ApiKey,
    /// The whole key: it is not kept and cannot be shown again.
    key: String,
}

impl From<store::api_keys::ApiKey> for ApiKey {
    fn from(row: store::api_keys::ApiKey) -> Self {
        Self {
            id: row.id,
            name: row.name,
            prefix: format!("pr_{}", row.prefix),
            scopes: row.scopes,
            networks: row.networks,
            domains: row.domains,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            created_at: row.created_at,
        }
    }
}

/// What a new key shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApiKey {
    /// What its people call it, 1 to 200 characters.
    name: String,
    /// What it may do: `<resource>.read`, `<resource>.write`, `messages.send`, `admin`. At least one, none beyond the creator's own;
    /// what the creator may do unless given.
    scopes: Option<Vec<String>>,
    /// From where, in CIDR notation; from anywhere unless given.
    networks: Option<Vec<String>>,
    /// For which domains; all unless given.
    domains: Option<Vec<String>>,
    /// When it ends by itself.
    expires_at: Option<DateTime<Utc>>,
}

impl NewApiKey {
    fn read(self, caller: &Caller) -> Result<Wanted, ApiError> {
        let mut faults = Vec::new();
        let name = names::name(self.name, &mut faults);
        let scopes = match &self.scopes {
            None => caller.scopes.grantable(),
            Some(texts) => Scopes::parse(texts).unwrap_or_else(|error| {
                faults.push(FieldError::new("scopes", error));
                Scopes::default()
            }),
        };
        if faults.is_empty() && scopes.is_empty() {
            faults.push(FieldError::new("scopes", "give at least one"));
        }
        let networks = names::networks(self.networks, &mut faults);
        let domains = names::domains(self.domains, &mut faults);
        if self.expires_at.is_some_and(|at| at <= Utc::now()) {
            faults.push(FieldError::new("expires_at", "is in the past"));
        }
        if !faults.is_empty() {
            return Err(ApiError::invalid(faults));
        }
        if !scopes.within(&caller.scopes) {
            let message = "a key creates only keys within its own scopes";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "insufficient_scope", message));
        }
        let own = |domain: &String| caller.may_use_domain(domain);
        if !caller.domains.is_empty() && (domains.is_empty() || !domains.iter().all(own)) {
            let message = "a key limited to domains creates only keys limited to them";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "domain_not_allowed", message));
        }
        Ok(Wanted {
            name,
            scopes,
            networks,
            domains,
            expires_at: self.expires_at,
        })
    }
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

/// List API keys, the newest first.
#[utoipa::path(get, path = "/api-keys", tag = "api-keys", params(Filter),
    security(("api_key" = ["api-keys.read"])), responses((status = 200, body = Page<ApiKey>)))]
async fn list(State(app): State<Arc<App>>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Page<ApiKey>>, ApiError> {
    caller.require(READ)?;
    let paging = Paging::read(&app, "api-keys", filter.limit, filter.after.as_deref())?;
    let rows = store::api_keys::list(&app.pool, caller.organization, paging.after(ApiKeyId), paging.fetch()).await?;
    Ok(Json(paging.page(&app, rows, |row| row.id.0, ApiKey::from)))
}

/// Make an API key. Its secret is shown this once.
#[utoipa::path(post, path = "/api-keys", tag = "api-keys", request_body = NewApiKey,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    security(("api_key" = ["api-keys.write"])), responses((status = 201, body = ApiKeyWithSecret)))]
async fn create(State(app): State<Arc<App>>, caller: Caller, request: Creating<NewApiKey>) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let wanted = request.value.read(&caller)?;
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let made = api_keys::create(once.transaction(), &app.secrets, caller.organization, &wanted).await?;
    once.answer(StatusCode::CREATED, &with_secret(made)).await
}

/// Withdraw an API key. It stops within two seconds.
#[utoipa::path(delete, path = "/api-keys/{id}", tag = "api-keys", params(("id" = String, Path)),
    security(("api_key" = ["api-keys.write"])), responses((status = 204), (status = 404, body = crate::error::ErrorBody)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<ApiKeyId>) -> Result<StatusCode, ApiError> {
    caller.require(WRITE)?;
    let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
    store::api_keys::revoke(&mut *transaction, caller.organization, id).await?;
    let event = NewEvent {
        kind: "credential.revoked",
        message: None,
        recipient: None,
        data: serde_json::json!({ "credential": id, "type": "api_key" }),
    };
    store::events::insert(&mut *transaction, caller.organization, event).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    app.api_keys.forget();
    Ok(StatusCode::NO_CONTENT)
}

/// Give an API key a new secret. The old one stops within two seconds.
#[utoipa::path(post, path = "/api-keys/{id}/rotate", tag = "api-keys", params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    security(("api_key" = ["api-keys.write"])), responses((status = 200, body = ApiKeyWithSecret), (status = 404, body = crate::error::ErrorBody)))]
async fn rotate(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<ApiKeyId>, request: Unbodied) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let former = store::api_keys::find(once.transaction(), caller.organization, id).await?;
    require_within(&former, &caller)?;
    let made = api_keys::rotate(once.transaction(), &app.secrets, caller.organization, id).await?;
    let response = once.answer(StatusCode::OK, &with_secret(made)).await?;
    app.api_keys.forget();
    Ok(response)
}

/// A new secret is a way into the key: only for those who could have made it. A key that the command line gave the instance's scope may
/// renew itself.
fn require_within(key: &store::api_keys::ApiKey, caller: &Caller) -> Result<(), ApiError> {
    let scopes = Scopes::parse(&key.scopes).unwrap_or_default();
    let own = matches!(caller.who, crate::access::Who::Key(id) if id == key.id);
    let domains = caller.domains.is_empty() || (!key.domains.is_empty() && key.domains.iter().all(|domain| caller.may_use_domain(domain)));
    if own || (scopes.within(&caller.scopes) && domains) {
        return Ok(());
    }
    let message = "this key may do more than its caller";
    Err(ApiError::new(StatusCode::FORBIDDEN, "insufficient_scope", message))
}

fn with_secret((key, plain): (store::api_keys::ApiKey, SecretString)) -> ApiKeyWithSecret {
    ApiKeyWithSecret {
        details: key.into(),
        key: plain.expose_secret().to_owned(),
    }
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(delete))
        .routes(routes!(rotate))
}
