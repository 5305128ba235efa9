//! Sending many messages with one request. Each is accepted or refused for itself.
//!
//! With an idempotency key the batch is answered once as a whole; each message is besides protected under its place in the batch, so that a
//! repetition after a crash goes on where the first try ended.

use super::{
    draft::NewMessage,
    send::{self, SEND, Sent},
};
use crate::{
    ApiError,
    access::Caller,
    app::App,
    error::FieldError,
    extract::{self, Creating},
    idempotency::{Begun, Keyed, Once},
    layers::{
        admission::{self, Standing},
        answers::Trace,
    },
};
use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::Utc;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const MOST_MESSAGES: usize = 500;
const AT_ONCE: usize = 50;

/// One result or error per message, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchAnswer {
    /// The results.
    data: Vec<BatchResult>,
}

/// What became of one message of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum BatchResult {
    /// It was accepted.
    Sent(Sent),
    /// It was refused.
    Refused {
        /// Why.
        error: ItemError,
    },
}

/// Why one message of a batch was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ItemError {
    /// The status that it would have had as a request of its own.
    status: u16,
    /// A stable word for programs.
    code: String,
    /// A sentence for people.
    message: String,
    /// Which members are at fault.
    fields: Vec<FieldError>,
}

impl From<Result<Sent, ApiError>> for BatchResult {
    fn from(result: Result<Sent, ApiError>) -> Self {
        match result {
            Ok(sent) => Self::Sent(sent),
            Err(error) => Self::Refused {
                error: ItemError {
                    status: error.status.as_u16(),
                    code: error.code.to_owned(),
                    message: error.message.into_owned(),
                    fields: error.fields,
                },
            },
        }
    }
}

/// Send up to 500 messages.
#[utoipa::path(post, path = "/messages/batch", tag = "messages", request_body = Vec<NewMessage>,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    security(("api_key" = ["messages.send"])),
    responses((status = 202, body = BatchAnswer), (status = 422, body = crate::error::ErrorBody)))]
async fn batch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(trace): Extension<Trace>,
    request: Creating<Vec<serde_json::Value>>,
) -> Result<Response, ApiError> {
    caller.require(SEND)?;
    let count = request.value.len();
    if count == 0 || count > MOST_MESSAGES {
        return Err(ApiError::field(
            "body",
            format_args!("must be a list of 1 to {MOST_MESSAGES} messages"),
        ));
    }
    // Only a repetition has to be kept out: without a key no transaction stands around meanwhile.
    let once = match &request.keyed {
        Some(keyed) => match Once::begin(&app, &caller, Some(keyed.clone())).await? {
            Begun::New(once) => Some(once),
            Begun::Replay(response) => return Ok(response),
        },
        None => None,
    };
    let standing = further(&app, &caller, count).await?;
    let key = |index| request.keyed.as_ref().map(|keyed| at(keyed, index));
    let data = stream::iter(request.value.into_iter().enumerate())
        .map(|(index, item)| one(&app, &caller, &trace, item, key(index)))
        .buffered(AT_ONCE)
        .map(BatchResult::from)
        .collect()
        .await;
    let answer = BatchAnswer { data };
    let mut response = match once {
        Some(once) => once.answer(StatusCode::ACCEPTED, &answer).await?,
        None => (StatusCode::ACCEPTED, Json(answer)).into_response(),
    };
    if let Some(standing) = standing {
        response.extensions_mut().insert(standing);
    }
    Ok(response)
}

/// The request itself was counted as one message already.
async fn further(app: &App, caller: &Caller, count: usize) -> Result<Option<Standing>, ApiError> {
    match u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX) {
        0 => Ok(None),
        further => admission::count_further(app, caller, further).await.map(Some),
    }
}

async fn one(app: &App, caller: &Caller, trace: &Trace, item: serde_json::Value, keyed: Option<Keyed>) -> Result<Sent, ApiError> {
    let message: NewMessage = extract::value(item)?;
    let ready = message.ready(&app.settings.hostname, Utc::now())?;
    let accepted = send::accept(app, caller, trace, ready, keyed.map(send::idempotency)).await?;
    Ok(accepted.into())
}

/// The key of one place in the batch.
fn at(keyed: &Keyed, index: usize) -> Keyed {
    Keyed {
        route: format!("{}#{index}", keyed.route),
        ..keyed.clone()
    }
}

/// The routes of batches.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(batch))
}
