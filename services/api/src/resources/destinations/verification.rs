//! The mailbox's consent. Whoever holds the mailed token may confirm: the mailbox's owner need not have an account here.
//!
//! The link opens a page with a button: programs that open every link of a mail, to look for harm, must not consent for its reader.

use super::{DestinationView, WRITE, given};
use crate::{
    ApiError,
    access::Caller,
    app::App,
    extract::{self, Id, Query, Unbodied},
    idempotency::{Begun, Once},
};
use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderName, StatusCode, header};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use store::{
    destinations::{self, RESEND_SECONDS},
    ids::DestinationId,
    models::DestinationKind,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const POLICY: &str = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A mailed token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenBody {
    /// What the confirmation mail said.
    token: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TokenQuery {
    /// What the confirmation mail said.
    token: Option<String>,
}

/// Where the token came from decides in which form the answer goes.
enum Presented {
    ByProgram(String),
    ByPage(String),
}

impl FromRequest<Arc<App>> for Presented {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<App>) -> Result<Self, ApiError> {
        let form = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let by_page = form.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let (mut parts, bytes) = extract::whole(request).await?;
        if by_page {
            let Query(query) = Query::<TokenQuery>::from_request_parts(&mut parts, state).await?;
            return Ok(Self::ByPage(query.token.unwrap_or_default()));
        }
        let TokenBody { token } = extract::json(&parts.headers, &bytes)?;
        Ok(Self::ByProgram(token))
    }
}

/// Confirm a destination with the token that was mailed to it. Needs no login.
#[utoipa::path(post, path = "/destinations/{id}/verify", tag = "destinations", params(("id" = String, Path), TokenQuery), request_body = TokenBody,
    security(()), responses((status = 200, body = DestinationView), (status = 404, body = crate::error::ErrorBody)))]
async fn verify(State(app): State<Arc<App>>, Id(id): Id<DestinationId>, presented: Presented) -> Result<Response, ApiError> {
    match presented {
        Presented::ByProgram(token) => {
            let confirmed = destinations::confirm(&app.pool, id, &given::hash(&token)).await?;
            Ok(Json(DestinationView::from(confirmed)).into_response())
        }
        Presented::ByPage(token) => Ok(match destinations::confirm(&app.pool, id, &given::hash(&token)).await {
            Ok(_) => page(StatusCode::OK, "Confirmed", "<p>Mail will be forwarded to this mailbox.</p>"),
            Err(store::Error::NotFound) => page(
                StatusCode::NOT_FOUND,
                "Not confirmed",
                "<p>This link is too old, or a newer one was sent. Ask for another.</p>",
            ),
            Err(error) => return Err(error.into()),
        }),
    }
}

/// The page behind the mailed link.
#[utoipa::path(get, path = "/destinations/{id}/verify", tag = "destinations", params(("id" = String, Path), TokenQuery),
    security(()), responses((status = 200, content_type = "text/html")))]
async fn confirmation_page(Id(_id): Id<DestinationId>, Query(query): Query<TokenQuery>) -> Response {
    // The token goes into the page: nothing but the alphabet of ours may.
    let token = query.token.unwrap_or_default();
    let fine = !token.is_empty() && token.len() <= 100 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !fine {
        return page(
            StatusCode::NOT_FOUND,
            "Not a confirmation link",
            "<p>The link is not whole. Copy all of it.</p>",
        );
    }
    let form = format!(
        "<p>May mail be forwarded to the mailbox that this link was sent to?</p>\
         <form method=\"post\" action=\"verify?token={token}\"><button type=\"submit\">Yes, forward mail here</button></form>"
    );
    page(StatusCode::OK, "Confirm this mailbox", &form)
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let headers: [(HeaderName, &str); 2] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"></head><body><h1>{title}</h1>{body}</body></html>\n"
    );
    (status, headers, html).into_response()
}

/// Mail the confirmation again. The former link no longer works.
#[utoipa::path(post, path = "/destinations/{id}/resend-verification", tag = "destinations", params(("id" = String, Path)),
    security(("api_key" = ["destinations.write"])),
    responses((status = 202, body = DestinationView), (status = 404, body = crate::error::ErrorBody), (status = 409, body = crate::error::ErrorBody),
              (status = 429, body = crate::error::ErrorBody)))]
async fn resend(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<DestinationId>, request: Unbodied) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let former = destinations::find(once.transaction(), caller.organization, id).await?;
    if former.verified_at.is_some() || former.kind != DestinationKind::Mailbox {
        return Err(ApiError::conflict("already_verified", "this destination is confirmed already"));
    }
    let address = mail::Address::parse(&former.address).map_err(|_| ApiError::internal())?;
    let token = given::Token::new();
    let Some(renewed) = destinations::renew_token(once.transaction(), caller.organization, id, &token.hash).await? else {
        return Err(ApiError::too_many(Duration::from_secs(u64::from(RESEND_SECONDS.unsigned_abs()))));
    };
    let mail = given::ask(&app, once.transaction(), &address, id, &token).await?;
    let response = once.answer(StatusCode::ACCEPTED, &DestinationView::from(renewed)).await?;
    mail.wake(&app.intake);
    Ok(response)
}

/// The routes.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(verify, confirmation_page))
        .routes(routes!(resend))
}
