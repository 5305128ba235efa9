//! Sending a message that is complete already (RFC 5322).

use super::{
    draft::{self, MOST_RECIPIENTS, Options, Ready},
    send::{self, SEND, Sent},
};
use crate::{
    ApiError, FieldError,
    access::Caller,
    app::App,
    extract::{self},
    idempotency::Keyed,
    layers::answers::Trace,
};
use axum::{
    Extension,
    extract::{FromRequest, Request, State},
    response::Response,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, header};
use mail::{Address, Envelope, Recipient, ReversePath, compose::Mailbox};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// A complete message and its envelope.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMessage {
    /// The envelope's sender.
    from: String,
    /// The envelope's recipients, whatever the message's own fields say.
    to: super::draft::Addresses,
    /// The message, in base64.
    raw: String,
    /// Labels for finding it again, at most 20.
    tags: Option<Vec<String>>,
    /// Your own data, a JSON object of at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// `transactional` (unless given) or `bulk`.
    stream: Option<String>,
    /// Not before then, at most 100 years ahead.
    scheduled_at: Option<DateTime<Utc>>,
    /// Given up after then, at most 30 days later.
    expires_at: Option<DateTime<Utc>>,
}

/// Either form of the request.
struct RawRequest {
    ready: Ready,
    keyed: Option<Keyed>,
}

impl FromRequest<Arc<App>> for RawRequest {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, bytes) = extract::whole(request).await?;
        let keyed = Keyed::read(&parts, &bytes)?;
        let ready = if is_rfc822(&parts.headers) {
            from_query(parts.uri.query().unwrap_or_default(), bytes)?
        } else {
            if parts.uri.query().is_some_and(|query| !query.is_empty()) {
                return Err(ApiError::field("query", "takes no parameters with a JSON body"));
            }
            from_json(extract::json(&parts.headers, &bytes)?)?
        };
        Ok(Self { ready, keyed })
    }
}

fn is_rfc822(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| {
        kind.split(';')
            .next()
            .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("message/rfc822"))
    })
}

fn from_json(message: RawMessage) -> Result<Ready, ApiError> {
    let mut faults = Vec::new();
    let raw = draft::decode(&message.raw).unwrap_or_else(|error| {
        faults.push(FieldError::new("raw", error));
        Vec::new()
    });
    let options = Options {
        tags: message.tags,
        metadata: message.metadata,
        stream: message.stream,
        scheduled_at: message.scheduled_at,
        expires_at: message.expires_at,
    }
    .read(Utc::now(), &mut faults);
    let to = draft::mailboxes("to", Some(&message.to), &mut faults)
        .into_iter()
        .map(|mailbox| mailbox.address);
    ready(&message.from, to.collect(), raw.into(), options, faults)
}

fn from_query(query: &str, raw: Bytes) -> Result<Ready, ApiError> {
    let (mut from, mut to, mut faults) = (None, Vec::new(), Vec::new());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "from" if from.is_none() => from = Some(value.into_owned()),
            "from" => faults.push(FieldError::new("from", "is given twice")),
            "to" => {
                for text in value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
                    match Address::parse(text) {
                        Ok(address) => to.push(address),
                        Err(error) => faults.push(FieldError::new("to", error)),
                    }
                }
            }
            other => faults.push(FieldError::new(
                other.chars().take(100).collect::<String>(),
                "is not a parameter of this call",
            )),
        }
    }
    let Some(from) = from else {
        faults.push(FieldError::new("from", "is missing"));
        return Err(ApiError::invalid(faults));
    };
    ready(&from, to, raw, Options::default(), faults)
}

fn ready(from: &str, to: Vec<Address>, raw: Bytes, options: Options, mut faults: Vec<FieldError>) -> Result<Ready, ApiError> {
    let sender = Mailbox::parse(from)
        .map_err(|error| faults.push(FieldError::new("from", error)))
        .ok();
    if raw.is_empty() && faults.is_empty() {
        faults.push(FieldError::new("raw", "is empty"));
    }
    if (to.is_empty() && faults.is_empty()) || to.len() > MOST_RECIPIENTS {
        faults.push(FieldError::new(
            "to",
            format_args!("takes between 1 and {MOST_RECIPIENTS} addresses"),
        ));
    }
    match sender {
        Some(sender) if faults.is_empty() => Ok(Ready {
            envelope: Envelope::new(ReversePath::Address(sender.address), to.into_iter().map(Recipient::new).collect()),
            kinds: Vec::new(),
            raw: network_lines(raw),
            options,
        }),
        _ => Err(ApiError::invalid(faults)),
    }
}

/// A file written on a system whose lines end in LF alone is meant to have CRLF. A message with any CR in it is taken by its word: there, a
/// lone LF is refused by the intake.
fn network_lines(raw: Bytes) -> Bytes {
    if memchr::memchr(b'\r', &raw).is_some() || memchr::memchr(b'\n', &raw).is_none() {
        return raw;
    }
    let mut lines = Vec::with_capacity(raw.len() + raw.len() / 40);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => {
                lines.extend_from_slice(text);
                lines.extend_from_slice(b"\r\n");
            }
            None => lines.extend_from_slice(line),
        }
    }
    lines.into()
}

/// Send a complete message: as JSON, or as `message/rfc822` with `?from=&to=`.
#[utoipa::path(post, path = "/messages/raw", tag = "messages",
    request_body(content((RawMessage = "application/json"), (String = "message/rfc822"))),
    params(("from" = Option<String>, Query, description = "The envelope's sender, with message/rfc822"),
        ("to" = Option<Vec<String>>, Query, description = "The envelope's recipients, with message/rfc822"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    security(("api_key" = ["messages.send"])),
    responses((status = 202, body = Sent), (status = 403, body = crate::error::ErrorBody), (status = 422, body = crate::error::ErrorBody)))]
async fn raw(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(trace): Extension<Trace>,
    request: RawRequest,
) -> Result<Response, ApiError> {
    caller.require(SEND)?;
    let accepted = send::accept(&app, &caller, &trace, request.ready, request.keyed.map(send::idempotency)).await?;
    Ok(send::answer(accepted))
}

/// The routes of complete messages.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_without_any_cr_gets_its_lines_ended() {
        for (given, kept) in [
            ("a\n\nb\n", "a\r\n\r\nb\r\n"),
            ("a\n\nb", "a\r\n\r\nb"),
            ("a\r\n\r\nb\n", "a\r\n\r\nb\n"),
            ("a\r", "a\r"),
            ("a", "a"),
        ] {
            assert_eq!(network_lines(Bytes::from(given)), kept);
        }
    }
}
