//! Every error of the API, as the client sees it.
//!
//! Handlers return [`ApiError`]; [`crate::layers::answers`] renders it once the request id is known. What went wrong on our side is
//! logged where it is turned into an `ApiError` and never shown: a 5xx carries a request id and nothing else.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use std::{borrow::Cow, time::Duration};

/// A refusal or failure on its way to the client.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// Which members of the request are at fault.
    pub fields: Vec<FieldError>,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
}

/// What is wrong with one member of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct FieldError {
    /// Its path, such as `to[2]` or `attachments[0].content`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl FieldError {
    /// A fault of one member.
    pub(crate) fn new(field: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self {
            field: field.into(),
            message: message.to_string(),
        }
    }
}

/// The body of an error answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ErrorDetail {
    /// A stable word for programs.
    #[schema(example = "domain_not_verified")]
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Which members of the request are at fault.
    pub fields: Vec<FieldError>,
    /// Names this request in our log.
    pub request_id: String,
}

impl ApiError {
    /// An error without fields.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            fields: Vec::new(),
            retry_after: None,
        }
    }

    /// 422 with the members at fault.
    pub(crate) fn invalid(fields: Vec<FieldError>) -> Self {
        let message = match fields.as_slice() {
            [only] => format!("{}: {}", only.field, only.message),
            _ => format!("{} members of the request are not valid", fields.len()),
        };
        Self {
            fields,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", message)
        }
    }

    /// 422 for one member.
    pub(crate) fn field(field: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self::invalid(vec![FieldError::new(field, message)])
    }

    /// 404: no such thing in this organization.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such thing")
    }

    /// 401: nobody we know.
    pub(crate) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "give a valid API key as Authorization: Bearer, or log in",
        )
    }

    /// 409.
    pub(crate) fn conflict(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 429.
    pub(crate) fn too_many(retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests: try again later")
        }
    }

    /// 503: ours, and temporary.
    pub(crate) fn unavailable() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(5)),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the service is not available just now",
            )
        }
    }

    /// 500: ours.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "something went wrong on our side",
        )
    }

    /// The error of a response that carries only a status, such as those of the router and of ready-made layers.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::UNAUTHORIZED => Self::unauthenticated(),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(status, "method_not_allowed", "this path does not know this method"),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(status, "body_too_large", "the request's body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(status, "unsupported_media_type", "send application/json"),
            StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Self::unavailable(),
            status if status.is_client_error() => Self::new(status, "bad_request", "the request cannot be understood"),
            _ => Self::internal(),
        }
    }

    /// The JSON of it.
    pub(crate) fn body(self, request_id: &str) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                code: self.code.to_owned(),
                message: self.message.into_owned(),
                fields: self.fields,
                request_id: request_id.to_owned(),
            },
        }
    }
}

impl IntoResponse for ApiError {
    /// The status alone; the layer that knows the request id writes the body.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NotFound => Self::not_found(),
            store::Error::Unavailable(ref cause) => {
                tracing::warn!(error = %cause, "the store is not available");
                Self::unavailable()
            }
            store::Error::Conflict(constraint) => {
                tracing::warn!(%constraint, "a constraint refused a request");
                Self::conflict("conflict", "the request conflicts with what is there")
            }
            store::Error::Other(ref cause) => {
                tracing::error!(error = %cause, "the store failed");
                Self::internal()
            }
        }
    }
}

impl From<intake::Refusal> for ApiError {
    fn from(refusal: intake::Refusal) -> Self {
        use intake::Refusal as R;
        let message = refusal.to_string();
        match refusal {
            R::DomainNotVerified { .. } => Self {
                fields: vec![FieldError::new("from", &message)],
                ..Self::new(StatusCode::FORBIDDEN, "domain_not_verified", message)
            },
            R::SenderNotAllowed { .. } => Self {
                fields: vec![FieldError::new("from", &message)],
                ..Self::new(StatusCode::FORBIDDEN, "sender_not_allowed", message)
            },
            R::NoFrom => Self::field("from", message),
            R::Malformed(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_message", message),
            R::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "message_too_large", message),
            R::RecipientCount { .. } => Self::field("to", message),
            R::Loop { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "mail_loop", message),
            R::QuotaExceeded { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "quota_exceeded", message)
            },
            R::KeyReused => Self::key_reused(),
            R::KeyInProgress => Self::key_in_progress(),
            R::Unavailable => Self::unavailable(),
            R::InDoubt => Self {
                code: "in_doubt",
                ..Self::unavailable()
            },
            // Facts about recipients hosted here, which incoming mail meets.
            other if other.is_temporary() => Self {
                code: other.reason(),
                ..Self::unavailable()
            },
            other => Self::new(StatusCode::UNPROCESSABLE_ENTITY, other.reason(), message),
        }
    }
}

impl ApiError {
    /// 409: the key came with another request before.
    pub(crate) fn key_reused() -> Self {
        Self::conflict("idempotency_key_reused", "this Idempotency-Key was used for a different request")
    }

    /// 409: the first request of this key has not been answered yet.
    pub(crate) fn key_in_progress() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::conflict("idempotency_in_progress", "a request with this Idempotency-Key is still running")
        }
    }
}
