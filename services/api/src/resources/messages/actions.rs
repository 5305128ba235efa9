//! Steering messages that are not finished. An attempt in progress runs to its end; where nothing can be done, 409 says so.

use super::{
    WRITE, draft,
    view::{self, Message},
};
use crate::{
    ApiError,
    access::Caller,
    app::App,
    extract::{Body, Id},
};
use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use std::sync::Arc;
use store::{ids::MessageId, messages};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What may be changed of a message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessagePatch {
    /// When to send it, at most 100 years ahead.
    scheduled_at: DateTime<Utc>,
}

/// Move a message that was not tried yet to another time.
#[utoipa::path(patch, path = "/messages/{id}", tag = "messages", params(("id" = String, Path)), request_body = MessagePatch,
    security(("api_key" = ["messages.write"])),
    responses((status = 200, body = Message), (status = 404, body = crate::error::ErrorBody), (status = 409, body = crate::error::ErrorBody)))]
async fn reschedule(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<MessageId>,
    Body(patch): Body<MessagePatch>,
) -> Result<Json<Message>, ApiError> {
    own(&app, &caller, id).await?;
    let mut faults = Vec::new();
    draft::check_schedule(Some(patch.scheduled_at), Utc::now(), &mut faults);
    if !faults.is_empty() {
        return Err(ApiError::invalid(faults));
    }
    let at = patch.scheduled_at.max(Utc::now());
    let changed = messages::reschedule(&app.pool, caller.organization, id, at, app.settings.expire_after).await?;
    done(&app, &caller, id, changed, "every recipient was tried already or is finished").await
}

/// Withdraw a message from the recipients it was not delivered to yet.
#[utoipa::path(post, path = "/messages/{id}/cancel", tag = "messages", params(("id" = String, Path)), security(("api_key" = ["messages.write"])),
    responses((status = 200, body = Message), (status = 404, body = crate::error::ErrorBody), (status = 409, body = crate::error::ErrorBody)))]
async fn cancel(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<MessageId>) -> Result<Json<Message>, ApiError> {
    own(&app, &caller, id).await?;
    let changed = messages::cancel(&app.pool, caller.organization, id).await?;
    done(&app, &caller, id, changed, "every recipient is finished or being tried").await
}

/// Try again at once: what waits, and what bounced, failed or expired.
#[utoipa::path(post, path = "/messages/{id}/retry", tag = "messages", params(("id" = String, Path)), security(("api_key" = ["messages.write"])),
    responses((status = 200, body = Message), (status = 404, body = crate::error::ErrorBody), (status = 409, body = crate::error::ErrorBody)))]
async fn retry(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<MessageId>) -> Result<Json<Message>, ApiError> {
    own(&app, &caller, id).await?;
    let changed = messages::retry(&app.pool, caller.organization, id, app.settings.expire_after).await?;
    done(
        &app,
        &caller,
        id,
        changed,
        "no recipient waits or failed, or the content is no longer kept",
    )
    .await
}

/// Keep a message from being tried until it is released.
#[utoipa::path(post, path = "/messages/{id}/hold", tag = "messages", params(("id" = String, Path)), security(("api_key" = ["messages.write"])),
    responses((status = 200, body = Message), (status = 404, body = crate::error::ErrorBody), (status = 409, body = crate::error::ErrorBody)))]
async fn hold(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<MessageId>) -> Result<Json<Message>, ApiError> {
    own(&app, &caller, id).await?;
    let changed = messages::hold(&app.pool, caller.organization, id).await?;
    done(&app, &caller, id, changed, "every recipient is finished, held or being tried").await
}

/// Let a held message go on.
#[utoipa::path(post, path = "/messages/{id}/release", tag = "messages", params(("id" = String, Path)), security(("api_key" = ["messages.write"])),
    responses((status = 200, body = Message), (status = 404, body = crate::error::ErrorBody), (status = 409, body = crate::error::ErrorBody)))]
async fn release(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<MessageId>) -> Result<Json<Message>, ApiError> {
    own(&app, &caller, id).await?;
    let changed = messages::release(&app.pool, caller.organization, id).await?;
    done(&app, &caller, id, changed, "no recipient is held").await
}

async fn own(app: &App, caller: &Caller, id: MessageId) -> Result<(), ApiError> {
    caller.require(WRITE)?;
    messages::find(&app.pool, caller.organization, id).await?;
    Ok(())
}

async fn done(app: &App, caller: &Caller, id: MessageId, changed: i64, otherwise: &'static str) -> Result<Json<Message>, ApiError> {
    if changed == 0 {
        return Err(ApiError::conflict("nothing_to_do", otherwise));
    }
    Ok(Json(view::whole(app, caller.organization, id).await?))
}

/// The routes of steering.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(reschedule))
        .routes(routes!(cancel))
        .routes(routes!(retry))
        .routes(routes!(hold))
        .routes(routes!(release))
}
