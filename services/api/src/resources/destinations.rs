//! Where mail for aliases goes on to: mailboxes, which confirm by mail, and HTTP endpoints.

pub(crate) mod given;
mod verification;

use crate::{
    ApiError,
    access::Caller,
    app::App,
    extract::{Creating, Id, Query, Unbodied},
    idempotency::{Begun, Once},
    paging::{Page, Paging},
};
use auth::scopes::Scope;
use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use given::Given;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{
    destinations::{self, DestinationFilter},
    ids::DestinationId,
    models::DestinationKind,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const READ: Scope = Scope::Read("destinations");
const WRITE: Scope = Scope::Write("destinations");

/// A destination.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DestinationView {
    /// Its id.
    #[schema(value_type = String)]
    id: DestinationId,
    /// `mailbox` or `endpoint`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: DestinationKind,
    /// The mailbox, or the URL.
    address: String,
    /// Whether mail may be forwarded to it.
    verified: bool,
    /// When it was confirmed, or made if it needs no confirmation.
    verified_at: Option<DateTime<Utc>>,
    /// When the last confirmation mail went out.
    verification_sent_at: Option<DateTime<Utc>>,
    /// Since when it has been refusing for good.
    failing_since: Option<DateTime<Utc>>,
    /// When it was made.
    created_at: DateTime<Utc>,
}

impl From<destinations::Destination> for DestinationView {
    fn from(row: destinations::Destination) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            address: row.address,
            verified: row.verified_at.is_some(),
            verified_at: row.verified_at,
            verification_sent_at: row.verification_sent_at,
            failing_since: row.failing_since,
            created_at: row.created_at,
        }
    }
}

/// A destination, with its signing secret, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct DestinationWithSecret {
    #[serde(flatten)]
    destination: DestinationView,
    /// Of an endpoint made now: signs what is posted to it (Standard Webhooks).
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
}

/// A destination to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDestinationBody {
    /// A mailbox's address, or the `https` URL of an endpoint.
    address: String,
}

/// Which destinations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// 1 to 100, 25 unless given.
    limit: Option<u32>,
    /// The cursor of the former page.
    after: Option<String>,
    /// Only `mailbox` or `endpoint` ones.
    r#type: Option<String>,
    /// Only confirmed ones (`true`), or only the others (`false`).
    verified: Option<bool>,
    /// Only those whose address contains this.
    q: Option<String>,
}

/// List destinations, the newest first.
#[utoipa::path(get, path = "/destinations", tag = "destinations", params(Filter),
    security(("api_key" = ["destinations.read"])), responses((status = 200, body = Page<DestinationView>)))]
async fn list(State(app): State<Arc<App>>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Page<DestinationView>>, ApiError> {
    caller.require(READ)?;
    let paging = Paging::read(&app, "destinations", filter.limit, filter.after.as_deref())?;
    let kind = filter
        .r#type
        .map(|text| text.parse().map_err(|error| ApiError::field("type", error)))
        .transpose()?;
    let wanted = DestinationFilter {
        kind,
        verified: filter.verified,
        q: filter.q.as_deref(),
    };
    let rows = destinations::list(&app.pool, caller.organization, wanted, paging.after(DestinationId), paging.fetch()).await?;
    Ok(Json(paging.page(&app, rows, |row| row.id.0, DestinationView::from)))
}

/// Add a destination. A mailbox is asked by mail to confirm; one that is known already is answered with 200.
#[utoipa::path(post, path = "/destinations", tag = "destinations", request_body = NewDestinationBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    security(("api_key" = ["destinations.write"])),
    responses((status = 201, body = DestinationWithSecret), (status = 200, body = DestinationWithSecret), (status = 409, body = crate::error::ErrorBody)))]
async fn create(State(app): State<Arc<App>>, caller: Caller, request: Creating<NewDestinationBody>) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let given = Given::read(&request.value.address, &app.settings).map_err(|fault| ApiError::field("address", fault))?;
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let known = destinations::named(once.transaction(), caller.organization, &[request.value.address.trim().to_owned()]).await?;
    let mut ensured = given::ensure(&app, once.transaction(), caller.organization, &[given]).await?;
    let destination = ensured.destinations.first().cloned().ok_or_else(ApiError::internal)?;
    let view = DestinationWithSecret {
        destination: destination.into(),
        signing_secret: ensured.signing_secret.take(),
    };
    let status = if known.is_empty() { StatusCode::CREATED } else { StatusCode::OK };
    let response = once.answer(status, &view).await?;
    ensured.wake(&app);
    Ok(response)
}

/// Look at a destination.
#[utoipa::path(get, path = "/destinations/{id}", tag = "destinations", params(("id" = String, Path)),
    security(("api_key" = ["destinations.read"])), responses((status = 200, body = DestinationView), (status = 404, body = crate::error::ErrorBody)))]
async fn get(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<DestinationId>) -> Result<Json<DestinationView>, ApiError> {
    caller.require(READ)?;
    Ok(Json(destinations::find(&app.pool, caller.organization, id).await?.into()))
}

/// Forget a destination that nothing forwards to any more.
#[utoipa::path(delete, path = "/destinations/{id}", tag = "destinations", params(("id" = String, Path)), security(("api_key" = ["destinations.write"])),
    responses((status = 204), (status = 404, body = crate::error::ErrorBody), (status = 409, body = crate::error::ErrorBody)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<DestinationId>) -> Result<StatusCode, ApiError> {
    caller.require(WRITE)?;
    let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
    destinations::delete(&mut transaction, caller.organization, id)
        .await
        .map_err(|error| match error.violates("destination_in_use") {
            true => ApiError::conflict("destination_in_use", "an alias, a catch-all or a rule still forwards to it"),
            false => error.into(),
        })?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give an endpoint another signing secret, shown this once. The former one no longer signs.
#[utoipa::path(post, path = "/destinations/{id}/rotate-secret", tag = "destinations", params(("id" = String, Path)),
    security(("api_key" = ["destinations.write"])),
    responses((status = 200, body = DestinationWithSecret), (status = 404, body = crate::error::ErrorBody), (status = 409, body = crate::error::ErrorBody)))]
async fn rotate_secret(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<DestinationId>,
    request: Unbodied,
) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let destination = destinations::find(once.transaction(), caller.organization, id).await?;
    if destination.kind != DestinationKind::Endpoint {
        return Err(ApiError::conflict("not_an_endpoint", "only an endpoint has a signing secret"));
    }
    let secret = given::new_secret();
    let sealed = given::seal(&app, id, &secret);
    destinations::set_signing_secret(once.transaction(), caller.organization, id, &sealed).await?;
    let view = DestinationWithSecret {
        destination: destination.into(),
        signing_secret: Some(given::shown(&secret)),
    };
    once.answer(StatusCode::OK, &view).await
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, delete))
        .routes(routes!(rotate_secret))
        .merge(verification::router())
}
