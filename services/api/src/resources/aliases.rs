//! Aliases: addresses of a domain that forward.

mod bulk;
mod file;
mod given;
mod make;
mod rows;

use crate::{
    ApiError, FieldError,
    access::Caller,
    app::App,
    extract::{Body, Creating, Id, Query},
    idempotency::{Begun, Once},
    paging::{Page, Paging},
    resources::destinations::given as destination_given,
};
use auth::scopes::Scope;
use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{
    aliases::{self, AliasChange, AliasFilter},
    ids::{AliasId, DestinationId},
    models::{AliasState, DestinationKind, RepliesAs},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use given::present;
use given::{AliasPatch, NewAliasBody};

const READ: Scope = Scope::Read("aliases");
const WRITE: Scope = Scope::Write("aliases");

/// An alias.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AliasView {
    /// Its id.
    #[schema(value_type = String)]
    id: AliasId,
    /// `local_part@domain`.
    address: String,
    /// The domain's name.
    domain: String,
    /// What stands before the `@`, in lower case.
    local_part: String,
    /// Whether `*` in it stands for anything.
    pattern: bool,
    /// `active` or `paused`.
    #[schema(value_type = String)]
    state: AliasState,
    /// `direct` or `as_alias`.
    #[schema(value_type = String)]
    replies: RepliesAs,
    /// Where its mail goes, in order.
    destinations: Vec<String>,
    /// The same, with what is known of them.
    destination_details: Vec<DestinationDetail>,
    /// Free text.
    description: String,
    /// It refuses mail from then on.
    expires_at: Option<DateTime<Utc>>,
    /// It refuses mail after so many messages.
    max_messages: Option<i32>,
    /// Messages taken so far.
    message_count: i32,
    /// The last one.
    last_message_at: Option<DateTime<Utc>>,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// A destination of an alias.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DestinationDetail {
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
}

impl From<aliases::Target> for DestinationDetail {
    fn from(target: aliases::Target) -> Self {
        Self {
            id: target.id,
            kind: target.kind,
            address: target.address,
            verified: target.verified,
        }
    }
}

impl From<aliases::Alias> for AliasView {
    fn from(row: aliases::Alias) -> Self {
        Self {
            id: row.id,
            address: row.address(),
            domain: row.domain_name,
            local_part: row.local_part,
            pattern: row.pattern,
            state: row.state,
            replies: row.replies,
            destinations: row.destinations.iter().map(|target| target.address.clone()).collect(),
            destination_details: row.destinations.into_iter().map(DestinationDetail::from).collect(),
            description: row.description,
            expires_at: row.expires_at,
            max_messages: row.max_messages,
            message_count: row.message_count,
            last_message_at: row.last_message_at,
            created_at: row.created_at,
        }
    }
}

/// Which aliases to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// 1 to 100, 25 unless given.
    limit: Option<u32>,
    /// The cursor of the former page.
    after: Option<String>,
    /// Only of the domain of this name.
    domain: Option<String>,
    /// Only `active` or `paused` ones.
    state: Option<String>,
    /// Only those that forward to this address or URL.
    destination: Option<String>,
    /// Only those whose address or description contains this.
    q: Option<String>,
}

impl Filter {
    fn read(&self, caller: &Caller) -> Result<AliasFilter, ApiError> {
        let state = self.state.as_deref();
        Ok(AliasFilter {
            ids: None,
            domain: self.domain.as_deref().map(domain_name),
            within: caller.domains.to_vec(),
            state: state
                .map(|text| text.parse().map_err(|error| ApiError::field("state", error)))
                .transpose()?,
            destination: self.destination.as_deref().map(store::destinations::fold),
            q: self.q.clone(),
        })
    }
}

/// A name as it is kept; what is none finds nothing.
fn domain_name(text: &str) -> String {
    mail::Domain::parse(text).map_or_else(|_| text.to_lowercase(), |domain| domain.to_string())
}

/// List aliases, the newest first.
#[utoipa::path(get, path = "/aliases", tag = "aliases", params(Filter),
    security(("api_key" = ["aliases.read"])), responses((status = 200, body = Page<AliasView>)))]
async fn list(State(app): State<Arc<App>>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Page<AliasView>>, ApiError> {
    caller.require(READ)?;
    let paging = Paging::read(&app, "aliases", filter.limit, filter.after.as_deref())?;
    let wanted = filter.read(&caller)?;
    let rows = aliases::list(&app.pool, caller.organization, &wanted, paging.after(AliasId), paging.fetch()).await?;
    Ok(Json(paging.page(&app, rows, |row| row.id.0, AliasView::from)))
}

/// Make an alias. A mailbox that is new here is asked by mail to confirm.
#[utoipa::path(post, path = "/aliases", tag = "aliases", request_body = NewAliasBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")), security(("api_key" = ["aliases.write"])),
    responses((status = 201, body = AliasView), (status = 403, body = crate::error::ErrorBody), (status = 404, body = crate::error::ErrorBody),
              (status = 409, body = crate::error::ErrorBody), (status = 422, body = crate::error::ErrorBody)))]
async fn create(State(app): State<Arc<App>>, caller: Caller, request: Creating<NewAliasBody>) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let wanted = request.value.read(&app.settings).map_err(ApiError::invalid)?;
    let domain = make::usable_domain(&app, &caller, &wanted.domain).await?;
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let (alias, ensured) = make::make(&app, once.transaction(), caller.organization, domain, &wanted).await?;
    let response = once.answer(StatusCode::CREATED, &AliasView::from(alias)).await?;
    ensured.wake(&app);
    Ok(response)
}

async fn own(app: &App, caller: &Caller, id: AliasId) -> Result<aliases::Alias, ApiError> {
    let alias = aliases::find(&app.pool, caller.organization, id).await?;
    caller.require_domain(&alias.domain_name)?;
    Ok(alias)
}

/// Look at an alias.
#[utoipa::path(get, path = "/aliases/{id}", tag = "aliases", params(("id" = String, Path)),
    security(("api_key" = ["aliases.read"])), responses((status = 200, body = AliasView), (status = 404, body = crate::error::ErrorBody)))]
async fn get(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<AliasId>) -> Result<Json<AliasView>, ApiError> {
    caller.require(READ)?;
    Ok(Json(own(&app, &caller, id).await?.into()))
}

/// Change an alias.
#[utoipa::path(patch, path = "/aliases/{id}", tag = "aliases", params(("id" = String, Path)), request_body = AliasPatch,
    security(("api_key" = ["aliases.write"])),
    responses((status = 200, body = AliasView), (status = 404, body = crate::error::ErrorBody), (status = 422, body = crate::error::ErrorBody)))]
async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<AliasId>,
    Body(patch): Body<AliasPatch>,
) -> Result<Json<AliasView>, ApiError> {
    caller.require(WRITE)?;
    own(&app, &caller, id).await?;
    let mut faults: Vec<FieldError> = Vec::new();
    let given = patch
        .destinations
        .map(|texts| destination_given::read_list("destinations", &texts, &app.settings, &mut faults));
    let description = patch.description.map(|text| given::description(text, &mut faults));
    let max_messages = patch.max_messages.map(|number| given::max_messages(number, &mut faults));
    if !faults.is_empty() {
        return Err(ApiError::invalid(faults));
    }
    let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
    let ensured = destination_given::ensure(&app, &mut transaction, caller.organization, given.as_deref().unwrap_or_default()).await?;
    let ids = given.map(|_| ensured.ids());
    let change = AliasChange {
        state: patch.state,
        replies: patch.replies,
        description: description.as_deref(),
        expires_at: patch.expires_at,
        max_messages,
        destinations: ids.as_deref(),
    };
    let changed = aliases::update(&mut transaction, caller.organization, id, change).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    ensured.wake(&app);
    Ok(Json(changed.into()))
}

/// Delete an alias. Its address stays taken, so that nobody else gets its mail.
#[utoipa::path(delete, path = "/aliases/{id}", tag = "aliases", params(("id" = String, Path)),
    security(("api_key" = ["aliases.write"])), responses((status = 204), (status = 404, body = crate::error::ErrorBody)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<AliasId>) -> Result<StatusCode, ApiError> {
    caller.require(WRITE)?;
    own(&app, &caller, id).await?;
    let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
    aliases::delete(&mut transaction, caller.organization, id).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let an alias refuse mail for now.
#[utoipa::path(post, path = "/aliases/{id}/pause", tag = "aliases", params(("id" = String, Path)),
    security(("api_key" = ["aliases.write"])), responses((status = 200, body = AliasView), (status = 404, body = crate::error::ErrorBody)))]
async fn pause(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<AliasId>) -> Result<Json<AliasView>, ApiError> {
    set_state(&app, &caller, id, AliasState::Paused).await
}

/// Let a paused alias take mail again.
#[utoipa::path(post, path = "/aliases/{id}/resume", tag = "aliases", params(("id" = String, Path)),
    security(("api_key" = ["aliases.write"])), responses((status = 200, body = AliasView), (status = 404, body = crate::error::ErrorBody)))]
async fn resume(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<AliasId>) -> Result<Json<AliasView>, ApiError> {
    set_state(&app, &caller, id, AliasState::Active).await
}

async fn set_state(app: &App, caller: &Caller, id: AliasId, state: AliasState) -> Result<Json<AliasView>, ApiError> {
    caller.require(WRITE)?;
    own(app, caller, id).await?;
    let change = AliasChange {
        state: Some(state),
        ..AliasChange::default()
    };
    let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
    let changed = aliases::update(&mut transaction, caller.organization, id, change).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(Json(changed.into()))
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .merge(bulk::router())
        .merge(file::router())
}
