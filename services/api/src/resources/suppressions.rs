//! Addresses that are not written to any more.

use crate::{
    ApiError,
    access::Caller,
    app::App,
    extract::{Creating, Id, Query},
    idempotency::{Begun, Once},
    paging::{Page, Paging},
};
use auth::scopes::Scope;
use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::{str::FromStr, sync::Arc};
use store::{
    models::SuppressionReason,
    suppressions::{self, SuppressionFilter, Which},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const READ: Scope = Scope::Read("suppressions");
const WRITE: Scope = Scope::Write("suppressions");

/// A suppressed address.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Suppression {
    /// Its id.
    #[schema(value_type = String)]
    id: store::ids::SuppressionId,
    /// The address, in lower case.
    address: String,
    /// Why: `hard_bounce`, `complaint` or `manual`.
    #[schema(value_type = String)]
    reason: SuppressionReason,
    /// The message that taught us.
    #[schema(value_type = Option<String>)]
    message: Option<store::ids::MessageId>,
    /// Since when.
    created_at: DateTime<Utc>,
}

impl From<suppressions::Suppression> for Suppression {
    fn from(row: suppressions::Suppression) -> Self {
        Self {
            id: row.id,
            address: row.address,
            reason: row.reason,
            message: row.message,
            created_at: row.created_at,
        }
    }
}

/// An address to suppress.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSuppression {
    /// The address.
    address: String,
}

/// Which suppressions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// 1 to 100, 25 unless given.
    limit: Option<u32>,
    /// The cursor of the former page.
    after: Option<String>,
    /// Only for this reason.
    reason: Option<String>,
    /// Only addresses that contain this.
    q: Option<String>,
}

/// The last part of the path: an id, or the address itself.
#[derive(Debug)]
pub(crate) struct IdOrAddress(Which);

impl FromStr for IdOrAddress {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(id) = text.parse() {
            return Ok(Self(Which::Id(id)));
        }
        let address = mail::Address::parse(text).map_err(|_| ())?;
        Ok(Self(Which::Address(address.folded())))
    }
}

/// List suppressions, the newest first.
#[utoipa::path(get, path = "/suppressions", tag = "suppressions", params(Filter),
    security(("api_key" = ["suppressions.read"])), responses((status = 200, body = Page<Suppression>)))]
async fn list(State(app): State<Arc<App>>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Page<Suppression>>, ApiError> {
    caller.require(READ)?;
    let paging = Paging::read(&app, "suppressions", filter.limit, filter.after.as_deref())?;
    let reason = filter
        .reason
        .map(|text| text.parse().map_err(|error| ApiError::field("reason", error)))
        .transpose()?;
    let wanted = SuppressionFilter {
        reason,
        containing: filter.q,
    };
    let rows = suppressions::list(
        &app.pool,
        caller.organization,
        &wanted,
        paging.after(store::ids::SuppressionId),
        paging.fetch(),
    )
    .await?;
    Ok(Json(paging.page(&app, rows, |row| row.id.0, Suppression::from)))
}

/// Suppress an address.
#[utoipa::path(post, path = "/suppressions", tag = "suppressions", request_body = NewSuppression,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    security(("api_key" = ["suppressions.write"])), responses((status = 201, body = Suppression), (status = 409, body = crate::error::ErrorBody)))]
async fn create(State(app): State<Arc<App>>, caller: Caller, request: Creating<NewSuppression>) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let address = mail::Address::parse(request.value.address.trim_matches(' ')).map_err(|error| ApiError::field("address", error))?;
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let made = suppressions::insert(once.transaction(), caller.organization, &address.folded())
        .await
        .map_err(|error| match error.violates("suppression_pkey") {
            true => ApiError::conflict("already_suppressed", "this address is suppressed already"),
            false => error.into(),
        })?;
    once.answer(StatusCode::CREATED, &Suppression::from(made)).await
}

/// Let an address be written to again.
#[utoipa::path(delete, path = "/suppressions/{id}", tag = "suppressions", params(("id" = String, Path, description = "Its id, or the address")),
    security(("api_key" = ["suppressions.write"])), responses((status = 204), (status = 404, body = crate::error::ErrorBody)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, Id(IdOrAddress(which)): Id<IdOrAddress>) -> Result<StatusCode, ApiError> {
    caller.require(WRITE)?;
    let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
    suppressions::delete(&mut transaction, caller.organization, &which).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete))
}
