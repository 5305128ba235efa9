//! Senders that are let through or refused before every rule.

use crate::{
    ApiError,
    access::Caller,
    app::App,
    extract::{Creating, Id, Query},
    idempotency::{Begun, Once},
    paging::{Page, Paging},
    resources::rule_scopes::{self, DomainNames, ScopeView},
};
use auth::scopes::Scope;
use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use rules::SenderPattern;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{
    ids::SenderListEntryId,
    models::SenderListing,
    sender_lists::{self, SenderListEntry, SenderListFilter},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const READ: Scope = Scope::Read("sender-lists");
const WRITE: Scope = Scope::Write("sender-lists");

/// Entries of one scope.
const MOST: i64 = 10_000;

/// An entry of a sender list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SenderListEntryView {
    /// Its id.
    #[schema(value_type = String)]
    id: SenderListEntryId,
    /// Whose mail it is about.
    scope: ScopeView,
    /// `allow` or `deny`.
    #[schema(value_type = String)]
    listing: SenderListing,
    /// `a@b.example`, `@b.example` (the domain) or `*.b.example` (the domains below it).
    sender: String,
    /// When it was made.
    created_at: DateTime<Utc>,
}

fn view(names: &DomainNames, row: SenderListEntry) -> SenderListEntryView {
    SenderListEntryView {
        id: row.id,
        scope: names.view(row.scope),
        listing: row.listing,
        sender: row.sender,
        created_at: row.created_at,
    }
}

/// An entry to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSenderListEntry {
    /// `{"alias":"als_…"}`, `{"domain":"example.org"}` or `{"organization":true}` (unless given).
    #[schema(value_type = Option<Object>)]
    scope: Option<rules::Scope>,
    /// `allow` or `deny`.
    #[schema(value_type = String)]
    listing: SenderListing,
    /// `a@b.example`, `@b.example` (the domain) or `*.b.example` (the domains below it).
    sender: String,
}

/// Which entries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// 1 to 100, 25 unless given.
    limit: Option<u32>,
    /// The cursor of the former page.
    after: Option<String>,
    /// Only of this domain itself, by name or id.
    domain: Option<String>,
    /// Only of this alias, by id.
    alias: Option<String>,
    /// Only `allow` or `deny` entries.
    listing: Option<String>,
    /// Only those whose sender contains this.
    q: Option<String>,
}

/// List the entries of the sender lists, the newest first.
#[utoipa::path(get, path = "/sender-lists", tag = "sender-lists", params(Filter),
    security(("api_key" = ["sender-lists.read"])), responses((status = 200, body = Page<SenderListEntryView>)))]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Result<Json<Page<SenderListEntryView>>, ApiError> {
    caller.require(READ)?;
    let paging = Paging::read(&app, "sender-lists", filter.limit, filter.after.as_deref())?;
    let listing = filter
        .listing
        .map(|text| text.parse().map_err(|error| ApiError::field("listing", error)))
        .transpose()?;
    let wanted = SenderListFilter {
        scope: rule_scopes::of_list(&app, &caller, filter.domain, filter.alias).await?,
        listing,
        q: filter.q.as_deref(),
    };
    let after = paging.after(SenderListEntryId);
    let rows = sender_lists::list(&app.pool, caller.organization, wanted, after, paging.fetch()).await?;
    let names = DomainNames::of(&app, caller.organization, rows.iter().map(|row| row.scope)).await?;
    Ok(Json(paging.page(&app, rows, |row| row.id.0, |row| view(&names, row))))
}

/// Add an entry to a sender list.
#[utoipa::path(post, path = "/sender-lists", tag = "sender-lists", request_body = NewSenderListEntry,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")), security(("api_key" = ["sender-lists.write"])),
    responses((status = 201, body = SenderListEntryView), (status = 404, body = crate::error::ErrorBody), (status = 409, body = crate::error::ErrorBody)))]
async fn create(State(app): State<Arc<App>>, caller: Caller, request: Creating<NewSenderListEntry>) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let wanted = request.value;
    let sender: SenderPattern = wanted.sender.parse().map_err(|error| ApiError::field("sender", error))?;
    let scope = rule_scopes::resolve(&app, &caller, &wanted.scope.unwrap_or(rules::Scope::Organization)).await?;
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    if sender_lists::count(once.transaction(), caller.organization, scope).await? >= MOST {
        return Err(ApiError::conflict(
            "too_many_entries",
            format!("a sender list holds at most {MOST} entries"),
        ));
    }
    let made = sender_lists::insert(once.transaction(), caller.organization, scope, wanted.listing, &sender.to_string())
        .await
        .map_err(|error| match error.violates(sender_lists::ENTRY) {
            true => ApiError::conflict("already_listed", "this scope has an entry for this sender already"),
            false => error.into(),
        })?;
    let names = DomainNames::of(&app, caller.organization, std::iter::once(scope)).await?;
    once.answer(StatusCode::CREATED, &view(&names, made)).await
}

/// Look at an entry of a sender list.
#[utoipa::path(get, path = "/sender-lists/{id}", tag = "sender-lists", params(("id" = String, Path)), security(("api_key" = ["sender-lists.read"])),
    responses((status = 200, body = SenderListEntryView), (status = 404, body = crate::error::ErrorBody)))]
async fn get(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<SenderListEntryId>) -> Result<Json<SenderListEntryView>, ApiError> {
    caller.require(READ)?;
    let found = sender_lists::find(&app.pool, caller.organization, id).await?;
    rule_scopes::require(&app, &caller, found.scope).await?;
    let names = DomainNames::of(&app, caller.organization, std::iter::once(found.scope)).await?;
    Ok(Json(view(&names, found)))
}

/// Take an entry off a sender list.
#[utoipa::path(delete, path = "/sender-lists/{id}", tag = "sender-lists", params(("id" = String, Path)),
    security(("api_key" = ["sender-lists.write"])), responses((status = 204), (status = 404, body = crate::error::ErrorBody)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<SenderListEntryId>) -> Result<StatusCode, ApiError> {
    caller.require(WRITE)?;
    let found = sender_lists::find(&app.pool, caller.organization, id).await?;
    rule_scopes::require(&app, &caller, found.scope).await?;
    sender_lists::delete(&app.pool, caller.organization, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, delete))
}
