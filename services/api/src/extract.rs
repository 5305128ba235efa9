//! What handlers take from a request, strictly: unknown members and parameters are refused, an id that is none is a 404.

use crate::{ApiError, FieldError, app::App, idempotency::Keyed, layers::admission};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
};
use http::{HeaderMap, StatusCode, header, request::Parts};
use serde::de::DeserializeOwned;
use std::{str::FromStr, sync::Arc};

/// A JSON body, read strictly.
#[derive(Debug)]
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, bytes) = whole(request).await?;
        json(&parts.headers, &bytes).map(Self)
    }
}

/// A JSON body of a request that makes something, with its idempotency key if it has one.
#[derive(Debug)]
pub(crate) struct Creating<T> {
    /// The body.
    pub value: T,
    /// The key.
    pub keyed: Option<Keyed>,
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Creating<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, bytes) = whole(request).await?;
        Ok(Self {
            keyed: Keyed::read(&parts, &bytes)?,
            value: json(&parts.headers, &bytes)?,
        })
    }
}

/// A request that makes something and has no body (or an empty JSON object).
#[derive(Debug)]
pub(crate) struct Unbodied {
    /// The key.
    pub keyed: Option<Keyed>,
}

impl FromRequest<Arc<App>> for Unbodied {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, bytes) = whole(request).await?;
        if !bytes.is_empty() {
            let NoMembers {} = json(&parts.headers, &bytes)?;
        }
        Ok(Self {
            keyed: Keyed::read(&parts, &bytes)?,
        })
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoMembers {}

/// How many octets a request's body may have; set by [`crate::layers::admission`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub usize);

/// The whole request.
///
/// # Errors
/// 413 as soon as the body is longer than it may be, 400 when it breaks off.
pub(crate) async fn whole(request: Request) -> Result<(Parts, Bytes), ApiError> {
    let (parts, body) = request.into_parts();
    let BodyLimit(limit) = parts.extensions.get().copied().unwrap_or(BodyLimit(admission::OTHER_BODY));
    let bytes = axum::body::to_bytes(body, limit).await.map_err(|error| {
        let cause = std::error::Error::source(&error);
        let too_long = cause.is_some_and(<dyn std::error::Error + 'static>::is::<http_body_util::LengthLimitError>);
        ApiError::of_status(if too_long {
            StatusCode::PAYLOAD_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        })
    })?;
    Ok((parts, bytes))
}

/// Reads JSON. No body at all is read as `{}`: a call whose members are all optional needs none.
///
/// # Errors
/// 415 for another media type, 400 for what is not JSON, 422 for JSON of another shape.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    if !is_json(headers) {
        return Err(ApiError::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if has_escaped_nul(bytes) {
        return Err(ApiError::field("body", "holds a NUL character"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| shape(&error))?;
    reader.end().map_err(|error| syntax(&error))?;
    Ok(value)
}

/// Reads a value that is JSON already.
pub(crate) fn value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| shape(&error))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// No text of ours may hold a NUL: neither mail nor the database can. A raw one is not JSON; this finds the escaped one.
fn has_escaped_nul(bytes: &[u8]) -> bool {
    let mut from = 0;
    while let Some(found) = find(&bytes[from..], b"\\u0000") {
        let at = from + found;
        let backslashes = bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 0 {
            return true;
        }
        from = at + 1;
    }
    false
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

fn shape(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let inner = error.inner();
    if !inner.is_data() {
        return syntax(inner);
    }
    let text = inner.to_string();
    let message = text.split(" at line ").next().unwrap_or_default();
    let path = error.path().to_string();
    let field = match named(message) {
        Some(name) if path == "." || path == "?" => name.to_owned(),
        Some(name) if message.starts_with("missing") => format!("{path}.{name}"),
        _ if path == "." || path == "?" => "body".to_owned(),
        _ => path,
    };
    ApiError::field(field, shorten(message))
}

fn syntax(error: &serde_json::Error) -> ApiError {
    let place = format!("line {}, column {}", error.line(), error.column());
    ApiError::new(StatusCode::BAD_REQUEST, "malformed_json", format!("the body is not JSON ({place})"))
}

/// The member that serde names in ``unknown field `x` `` and ``missing field `x` ``.
fn named(message: &str) -> Option<&str> {
    (message.starts_with("unknown field") || message.starts_with("missing field") || message.starts_with("duplicate field"))
        .then(|| message.split('`').nth(1))
        .flatten()
}

/// An error text may quote the client's own value, of any length.
fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// Query parameters, read strictly.
#[derive(Debug)]
pub(crate) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(ApiError::field("query", "holds a NUL character"));
        }
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| {
                let text = rejection.body_text();
                let message = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, rest)| rest);
                let field = named(message)
                    .or_else(|| message.split_once(": ").map(|(field, _)| field))
                    .unwrap_or("query");
                let fault = message.split_once(": ").map_or(message, |(_, fault)| fault);
                ApiError::invalid(vec![FieldError::new(field, shorten(fault))])
            })
    }
}

/// The `{id}` of the path. What is no id names nothing: 404.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id<T>(pub T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::not_found())?;
        text.parse().map(Self).map_err(|_| ApiError::not_found())
    }
}

/// The two ids of a path such as `/domains/{id}/dkim-keys/{key}`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids<A, B>(pub A, pub B);

impl<A: FromStr, B: FromStr, S: Send + Sync> FromRequestParts<S> for Ids<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((first, second)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::not_found())?;
        match (first.parse(), second.parse()) {
            (Ok(first), Ok(second)) => Ok(Self(first, second)),
            _ => Err(ApiError::not_found()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Sample {
        from: String,
        #[serde(default)]
        list: Vec<Inner>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Inner {
        name: String,
    }

    #[test]
    fn a_wrong_body_is_told_where_it_is_wrong() {
        for (body, status, field) in [
            (&b"{"[..], 400, ""),
            (b"\xff\xfe", 400, ""),
            (b"{\"from\":\"\xff\"}", 400, ""),
            (b"", 422, "from"),
            (b"{} x", 422, "from"),
            (b"{\"from\":\"a\"} x", 400, ""),
            (b"[]", 422, "body"),
            (b"\"x\"", 422, "body"),
            (br#"{"from":1}"#, 422, "from"),
            (br#"{"from":"a","surprise":1}"#, 422, "surprise"),
            (br#"{"from":"a","list":[{"name":"x"},{}]}"#, 422, "list[1].name"),
            (br#"{"from":"a","list":[{"name":"x","y":1}]}"#, 422, "list[0].y"),
            (br#"{"from":"a\u0000b"}"#, 422, "body"),
        ] {
            let error = json::<Sample>(&HeaderMap::new(), body).unwrap_err();
            let found = error.fields.first().map_or("", |field| field.field.as_str());
            assert_eq!((error.status.as_u16(), found), (status, field), "{}", String::from_utf8_lossy(body));
        }
        assert!(json::<Sample>(&HeaderMap::new(), br#"{"from":"a\\u0000b"}"#).is_ok());
    }
}
