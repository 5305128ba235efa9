//! Sending one message.

use super::draft::{NewMessage, Ready};
use crate::{
    ApiError,
    access::Caller,
    app::App,
    extract::Creating,
    idempotency::{Keyed, REPLAYED},
    layers::answers::Trace,
};
use auth::scopes::Scope;
use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::Utc;
use http::{HeaderValue, StatusCode};
use intake::{Accepted, Idempotency, ReceivedInfo, Sender, Submission};
use serde::Serialize;
use std::sync::Arc;
use store::{
    ids::MessageId,
    models::{DeliveryStatus, Via},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The scope of every send.
pub(super) const SEND: Scope = Scope::Send;

/// A message that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sent {
    /// Its id.
    #[schema(value_type = String)]
    id: MessageId,
    /// Its recipients, without duplicates.
    recipients: Vec<SentRecipient>,
}

/// One recipient of an accepted message.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SentRecipient {
    /// The address.
    address: String,
    /// `queued`, `scheduled` or `suppressed`.
    #[schema(value_type = String)]
    status: DeliveryStatus,
}

impl From<Accepted> for Sent {
    fn from(accepted: Accepted) -> Self {
        let recipients = accepted.recipients.into_iter().map(|recipient| SentRecipient {
            address: recipient.address,
            status: recipient.status,
        });
        Self {
            id: accepted.message,
            recipients: recipients.collect(),
        }
    }
}

/// Send a message.
#[utoipa::path(post, path = "/messages", tag = "messages", request_body = NewMessage,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    security(("api_key" = ["messages.send"])),
    responses((status = 202, body = Sent), (status = 403, body = crate::error::ErrorBody), (status = 422, body = crate::error::ErrorBody)))]
async fn send(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(trace): Extension<Trace>,
    request: Creating<NewMessage>,
) -> Result<Response, ApiError> {
    caller.require(SEND)?;
    let ready = request.value.ready(&app.settings.hostname, Utc::now())?;
    let accepted = accept(&app, &caller, &trace, ready, request.keyed.map(idempotency)).await?;
    Ok(answer(accepted))
}

/// Hands a message to the intake.
pub(super) async fn accept(
    app: &App,
    caller: &Caller,
    trace: &Trace,
    ready: Ready,
    idempotency: Option<Idempotency>,
) -> Result<Accepted, ApiError> {
    let submission = Submission {
        sender: sender(caller),
        via: Via::Api,
        envelope: ready.envelope,
        kinds: ready.kinds,
        raw: ready.raw,
        received: ReceivedInfo {
            with: "HTTP".to_owned(),
            ..ReceivedInfo::default()
        },
        tags: ready.options.tags.unwrap_or_default(),
        metadata: serde_json::Value::Object(ready.options.metadata.unwrap_or_default()),
        stream: ready.options.stream,
        scheduled_at: ready.options.scheduled_at,
        expires_at: ready.options.expires_at,
        idempotency,
        trace_context: Some(trace.context.clone()),
    };
    Ok(app.intake.accept(submission).await?)
}

fn sender(caller: &Caller) -> Sender {
    Sender {
        organization: caller.organization,
        credential: caller.credential(),
        allowed_from: caller.domains.iter().map(|domain| format!("@{domain}")).collect(),
        stream: crate::resources::names::STREAMS[0].to_owned(),
    }
}

/// The intake's word for a request's key.
pub(super) fn idempotency(keyed: Keyed) -> Idempotency {
    Idempotency {
        route: keyed.route,
        key: keyed.key,
        request_hash: keyed.hash,
    }
}

/// 202, marked when it is a former answer.
pub(super) fn answer(accepted: Accepted) -> Response {
    let replayed = accepted.replayed;
    let mut response = (StatusCode::ACCEPTED, Json(Sent::from(accepted))).into_response();
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// The routes of sending.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(send))
}
