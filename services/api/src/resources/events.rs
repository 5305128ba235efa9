//! The history of what happened.

use crate::{
    ApiError,
    access::Caller,
    app::App,
    extract::Query,
    paging::{Page, Paging},
};
use auth::scopes::Scope;
use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{
    events::{self, EventFilter},
    ids::{EventId, MessageId},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Event {
    /// Its id.
    #[schema(value_type = String)]
    id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    #[schema(example = "message.delivered")]
    kind: String,
    /// When.
    at: DateTime<Utc>,
    /// The message it is about.
    #[schema(value_type = Option<String>)]
    message: Option<MessageId>,
    /// The recipient it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient: Option<String>,
    /// More, depending on the type.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

impl From<events::Event> for Event {
    fn from(row: events::Event) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            at: row.at,
            message: row.message,
            recipient: row.recipient,
            data: row.data,
        }
    }
}

/// Which events to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// 1 to 100, 25 unless given.
    limit: Option<u32>,
    /// The cursor of the former page.
    after: Option<String>,
    /// Only of these types, separated by commas.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    /// Only about this message.
    message: Option<String>,
    /// Only about this recipient.
    recipient: Option<String>,
    /// Not before.
    since: Option<DateTime<Utc>>,
    /// Before.
    until: Option<DateTime<Utc>>,
}

/// List events, the newest first.
#[utoipa::path(get, path = "/events", tag = "events", params(Filter),
    security(("api_key" = ["events.read"])), responses((status = 200, body = Page<Event>)))]
async fn list(State(app): State<Arc<App>>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Page<Event>>, ApiError> {
    caller.require(Scope::Read("events"))?;
    let paging = Paging::read(&app, "events", filter.limit, filter.after.as_deref())?;
    let message = filter
        .message
        .map(|text| text.parse().map_err(|error| ApiError::field("message", error)))
        .transpose()?;
    let wanted = EventFilter {
        kinds: filter
            .kind
            .map(|kinds| kinds.split(',').map(|kind| kind.trim().to_owned()).collect())
            .unwrap_or_default(),
        message,
        recipient: filter.recipient,
        since: filter.since,
        until: filter.until,
    };
    let rows = events::list(&app.pool, caller.organization, &wanted, paging.after(EventId), paging.fetch()).await?;
    Ok(Json(paging.page(&app, rows, |row| row.id.0, Event::from)))
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}
