//! Finding messages.

use super::{
    READ,
    view::{self, Message},
};
use crate::{
    ApiError,
    access::Caller,
    app::App,
    extract::{Id, Query},
    paging::{Page, Paging},
};
use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use std::{fmt::Display, str::FromStr, sync::Arc};
use store::{
    ids::MessageId,
    messages::{self, MessageFilter, StatusFilter},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Which messages to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// 1 to 100, 25 unless given.
    limit: Option<u32>,
    /// The cursor of the former page.
    after: Option<String>,
    /// `outbound`, `inbound`, `forward`, `reply` or `bounce`.
    direction: Option<String>,
    /// At least one recipient has this status; `mixed`: they do not agree.
    status: Option<String>,
    /// The sender contains this.
    from: Option<String>,
    /// A recipient has this address.
    to: Option<String>,
    /// Has this tag.
    tag: Option<String>,
    /// Accepted then or later.
    since: Option<DateTime<Utc>>,
    /// Accepted before.
    until: Option<DateTime<Utc>>,
    /// Subject, sender or a recipient contains this.
    q: Option<String>,
    /// Whether it lies in the built-in mailbox of capture mode.
    captured: Option<bool>,
}

impl Filter {
    fn read(self) -> Result<MessageFilter, ApiError> {
        let status = match self.status.as_deref() {
            Some("mixed") => Some(StatusFilter::Mixed),
            Some(text) => Some(StatusFilter::Some(one("status", text)?)),
            None => None,
        };
        Ok(MessageFilter {
            direction: self.direction.map(|text| one("direction", &text)).transpose()?,
            status,
            from: self.from,
            to: self.to.map(|text| folded(&text)),
            tag: self.tag,
            since: self.since,
            until: self.until,
            q: self.q,
            captured: self.captured,
        })
    }
}

fn one<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error| ApiError::field(field, error))
}

/// The look-up form of an address; what is no address matches nothing.
fn folded(text: &str) -> String {
    mail::Address::parse(text.trim()).map_or_else(|_| text.to_lowercase(), |address| address.folded())
}

/// List messages, the newest first.
#[utoipa::path(get, path = "/messages", tag = "messages", params(Filter),
    security(("api_key" = ["messages.read"])), responses((status = 200, body = Page<Message>)))]
async fn list(State(app): State<Arc<App>>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Page<Message>>, ApiError> {
    caller.require(READ)?;
    let paging = Paging::read(&app, "messages", filter.limit, filter.after.as_deref())?;
    let wanted = filter.read()?;
    let rows = messages::list(&app.pool, caller.organization, &wanted, paging.after(MessageId), paging.fetch()).await?;
    let page = paging.page(&app, rows, |row| row.id.0, |row| row);
    Ok(Json(Page {
        data: view::listed(&app, caller.organization, page.data).await?,
        has_more: page.has_more,
        next: page.next,
    }))
}

/// Look at a message.
#[utoipa::path(get, path = "/messages/{id}", tag = "messages", params(("id" = String, Path)),
    security(("api_key" = ["messages.read"])), responses((status = 200, body = Message), (status = 404, body = crate::error::ErrorBody)))]
async fn get(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<MessageId>) -> Result<Json<Message>, ApiError> {
    caller.require(READ)?;
    Ok(Json(view::whole(&app, caller.organization, id).await?))
}

/// The routes of finding messages.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}
