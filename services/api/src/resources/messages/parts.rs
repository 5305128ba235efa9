//! What belongs to a message: its tries, its timeline, its bytes.

use super::READ;
use crate::{
    ApiError,
    access::Caller,
    app::App,
    extract::{Id, Query},
    paging::{Page, Paging},
    resources::events::Event,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{
    attempts,
    ids::{AttemptId, EventId, MessageId},
    messages,
    models::AttemptOutcome,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// One try.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Attempt {
    /// Its id.
    #[schema(value_type = String)]
    id: AttemptId,
    /// When it began.
    started_at: DateTime<Utc>,
    /// How long it took.
    duration_ms: i32,
    /// The server that was dialled.
    host: Option<String>,
    /// Its address.
    address: Option<String>,
    /// TLS version and cipher suite; null: in clear.
    tls: Option<String>,
    /// `delivered`, `deferred`, `bounced`, `failed` or `in_doubt`.
    #[schema(value_type = String)]
    outcome: AttemptOutcome,
    /// The deciding reply's code.
    code: Option<i16>,
    /// The deciding reply's enhanced code.
    enhanced_code: Option<String>,
    /// The deciding reply.
    response: Option<String>,
    /// Whom it was for.
    recipients: Vec<String>,
    /// The conversation.
    transcript: String,
}

impl From<attempts::Attempt> for Attempt {
    fn from(row: attempts::Attempt) -> Self {
        Self {
            id: row.id,
            started_at: row.started_at,
            duration_ms: row.duration_ms,
            host: row.host,
            address: row.address,
            tls: row.tls,
            outcome: row.outcome,
            code: row.code,
            enhanced_code: row.enhanced_code,
            response: row.response,
            recipients: row.recipients,
            transcript: row.transcript,
        }
    }
}

/// Which page to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// 1 to 100, 25 unless given.
    limit: Option<u32>,
    /// The cursor of the former page.
    after: Option<String>,
}

/// A message's tries, the first one first.
#[utoipa::path(get, path = "/messages/{id}/attempts", tag = "messages", params(("id" = String, Path), Filter),
    security(("api_key" = ["messages.read"])), responses((status = 200, body = Page<Attempt>), (status = 404, body = crate::error::ErrorBody)))]
async fn list_attempts(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<MessageId>,
    Query(filter): Query<Filter>,
) -> Result<Json<Page<Attempt>>, ApiError> {
    caller.require(READ)?;
    messages::find(&app.pool, caller.organization, id).await?;
    let paging = Paging::read(&app, "attempts", filter.limit, filter.after.as_deref())?;
    let rows = attempts::of_message(&app.pool, caller.organization, id, paging.after(AttemptId), paging.fetch()).await?;
    Ok(Json(paging.page(&app, rows, |row| row.id.0, Attempt::from)))
}

/// What happened to a message, the first event first.
#[utoipa::path(get, path = "/messages/{id}/events", tag = "messages", params(("id" = String, Path), Filter),
    security(("api_key" = ["messages.read"])), responses((status = 200, body = Page<Event>), (status = 404, body = crate::error::ErrorBody)))]
async fn list_events(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<MessageId>,
    Query(filter): Query<Filter>,
) -> Result<Json<Page<Event>>, ApiError> {
    caller.require(READ)?;
    messages::find(&app.pool, caller.organization, id).await?;
    let paging = Paging::read(&app, "message-events", filter.limit, filter.after.as_deref())?;
    let rows = store::events::of_message(&app.pool, caller.organization, id, paging.after(EventId), paging.fetch()).await?;
    Ok(Json(paging.page(&app, rows, |row| row.id.0, Event::from)))
}

/// A message's bytes.
#[utoipa::path(get, path = "/messages/{id}/content", tag = "messages", params(("id" = String, Path)), security(("api_key" = ["messages.read"])),
    responses((status = 200, body = String, content_type = "message/rfc822"), (status = 404, body = crate::error::ErrorBody),
        (status = 410, body = crate::error::ErrorBody)))]
async fn content(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<MessageId>) -> Result<Response, ApiError> {
    caller.require(READ)?;
    messages::find(&app.pool, caller.organization, id).await?;
    let raw = match messages::content(&app.pool, caller.organization, id).await {
        Ok(raw) => raw,
        Err(store::Error::NotFound) => {
            let message = "the message's content is no longer kept";
            return Err(ApiError::new(StatusCode::GONE, "content_expired", message));
        }
        Err(error) => return Err(error.into()),
    };
    // A stranger may have written it: never to be shown by a browser as a page of ours.
    let headers = [
        (header::CONTENT_TYPE, "message/rfc822".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.eml\"")),
    ];
    Ok((headers, raw).into_response())
}

/// The routes of a message's parts.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_attempts))
        .routes(routes!(list_events))
        .routes(routes!(content))
}
