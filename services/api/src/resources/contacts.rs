//! Correspondents of an alias, and the reverse addresses by which its destination writes to them as the alias.

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
use std::sync::Arc;
use store::{
    aliases, contacts,
    ids::{AliasId, ContactId},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const READ: Scope = Scope::Read("contacts");
const WRITE: Scope = Scope::Write("contacts");

/// A correspondent of an alias.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ContactView {
    /// Its id.
    #[schema(value_type = String)]
    id: ContactId,
    /// The alias that it writes to.
    #[schema(value_type = String)]
    alias: AliasId,
    /// The correspondent's address.
    address: String,
    /// The correspondent's name; may be empty.
    name: String,
    /// Mail that the alias's destination sends there leaves for `address` as the alias.
    reverse_address: String,
    /// When it was made.
    created_at: DateTime<Utc>,
}

impl From<contacts::Contact> for ContactView {
    fn from(row: contacts::Contact) -> Self {
        Self {
            reverse_address: row.reverse_address(),
            id: row.id,
            alias: row.alias,
            address: row.address,
            name: row.display_name,
            created_at: row.created_at,
        }
    }
}

/// A correspondent to write to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewContact {
    /// The correspondent's address.
    address: String,
    /// The correspondent's name, at most 200 characters.
    name: Option<String>,
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

async fn own(app: &App, caller: &Caller, id: AliasId) -> Result<aliases::Alias, ApiError> {
    let alias = aliases::find(&app.pool, caller.organization, id).await?;
    caller.require_domain(&alias.domain_name)?;
    Ok(alias)
}

/// List an alias's correspondents, the newest first.
#[utoipa::path(get, path = "/aliases/{id}/contacts", tag = "contacts", params(("id" = String, Path), Filter), security(("api_key" = ["contacts.read"])),
    responses((status = 200, body = Page<ContactView>), (status = 404, body = crate::error::ErrorBody)))]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<AliasId>,
    Query(filter): Query<Filter>,
) -> Result<Json<Page<ContactView>>, ApiError> {
    caller.require(READ)?;
    own(&app, &caller, id).await?;
    let paging = Paging::read(&app, "contacts", filter.limit, filter.after.as_deref())?;
    let rows = contacts::list(&app.pool, caller.organization, id, paging.after(ContactId), paging.fetch()).await?;
    Ok(Json(paging.page(&app, rows, |row| row.id.0, ContactView::from)))
}

/// Get the address by which to write to somebody as the alias. Asked again for the same address, it is the same one (200).
#[utoipa::path(post, path = "/aliases/{id}/contacts", tag = "contacts", params(("id" = String, Path),
    ("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")), request_body = NewContact,
    security(("api_key" = ["contacts.write"])),
    responses((status = 201, body = ContactView), (status = 200, body = ContactView), (status = 404, body = crate::error::ErrorBody)))]
async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<AliasId>,
    request: Creating<NewContact>,
) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let alias = own(&app, &caller, id).await?;
    let address = mail::Address::parse(request.value.address.trim()).map_err(|error| ApiError::field("address", error))?;
    let name = request.value.name.unwrap_or_default();
    if name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(ApiError::field(
            "name",
            "must be at most 200 characters, none of them a control character",
        ));
    }
    if alias.pattern {
        let message = "a pattern stands for many addresses: mail cannot leave as it; make an alias of the one address";
        return Err(ApiError::conflict("alias_is_a_pattern", message));
    }
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let (contact, made) = contacts::find_or_insert(once.transaction(), caller.organization, id, &address, name.trim()).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    once.answer(status, &ContactView::from(contact)).await
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create))
}
