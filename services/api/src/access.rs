//! Who is calling: an API key or a dashboard session, and what it may do.
//!
//! [`authenticate`] runs once per request, in [`crate::layers::admission`]. A handler that takes a [`Caller`] is for callers only; one that
//! does not is for everybody.

use crate::{ApiError, app::App, cookies};
use auth::{
    api_keys,
    scopes::{Scope, Scopes},
    sessions,
};
use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, Method, StatusCode, header, request::Parts};
use secrecy::SecretString;
use std::{net::IpAddr, sync::Arc};
use store::ids::{ApiKeyId, OrganizationId};
use uuid::Uuid;

const ORGANIZATION: HeaderName = HeaderName::from_static("x-organization");
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// The client's address, taken from a trusted proxy's word if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub IpAddr);

/// An authenticated caller.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Whose data this is about.
    pub organization: OrganizationId,
    /// What the caller may do.
    pub scopes: Arc<Scopes>,
    /// The domains it is limited to; empty: all.
    pub domains: Arc<[String]>,
    /// Who it is.
    pub who: Who,
}

/// A program or a person.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    /// A program.
    Key(ApiKeyId),
    /// A person.
    Person(Box<sessions::Principal>),
}

impl Caller {
    /// Goes on only with this permission.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.scopes.allows(scope) {
            return Ok(());
        }
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "insufficient_scope",
            format!("this needs the scope {scope}"),
        ))
    }

    /// Goes on only when the caller is not limited to other domains.
    ///
    /// # Errors
    /// 404: what a caller may not use, it does not see.
    pub(crate) fn require_domain(&self, name: &str) -> Result<(), ApiError> {
        if self.may_use_domain(name) {
            Ok(())
        } else {
            Err(ApiError::not_found())
        }
    }

    /// Whether the caller may use this domain, as far as its own limits go.
    pub(crate) fn may_use_domain(&self, name: &str) -> bool {
        self.domains.is_empty() || self.domains.iter().any(|own| own == name)
    }

    /// What a message remembers as its sender.
    pub(crate) fn credential(&self) -> Uuid {
        match &self.who {
            Who::Key(key) => key.0,
            Who::Person(person) => person.user.0,
        }
    }

    /// What its requests are counted under.
    pub(crate) fn bucket(&self) -> String {
        match &self.who {
            Who::Key(key) => format!("key:{key}"),
            Who::Person(person) => format!("session:{}", person.session),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::unauthenticated)
    }
}

/// The caller, if the request names one.
///
/// # Errors
/// 401 for a key that is not valid; what else keeps a valid one out. A cookie that has ended is as good as none.
pub(crate) async fn authenticate(
    app: &App,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    client: IpAddr,
) -> Result<Option<Caller>, ApiError> {
    let wanted = wanted_organization(headers)?;
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let key = bearer(value).ok_or_else(ApiError::unauthenticated)?;
        let principal = app.api_keys.authenticate(&key, client).await.map_err(refused)?;
        if wanted.is_some_and(|wanted| wanted != principal.organization) {
            return Err(no_organization());
        }
        return Ok(Some(Caller {
            organization: principal.organization,
            scopes: principal.scopes,
            domains: principal.domains,
            who: Who::Key(principal.key),
        }));
    }
    let Some(token) = cookies::session(&app.settings, headers) else {
        return Ok(None);
    };
    let principal = match app.sessions.authenticate(&token).await {
        Ok(principal) => principal,
        Err(sessions::Refusal::Invalid) => return Ok(None),
        Err(sessions::Refusal::Busy(_)) => return Err(ApiError::unavailable()),
        Err(sessions::Refusal::Unavailable(error)) => return Err(error.into()),
    };
    if path == crate::routes::LOGIN || crate::routes::is_confirmation(path) {
        return Ok(None); // a new login does not depend on the old session; the origin is checked there
    }
    if !method.is_safe() && !echoes_csrf(headers, &principal) {
        let message = "a write by cookie needs the session's token in X-CSRF-Token";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "csrf_token_invalid", message));
    }
    person(principal, wanted).map(Some)
}

fn person(principal: sessions::Principal, wanted: Option<OrganizationId>) -> Result<Caller, ApiError> {
    let membership = principal.membership(wanted).ok_or_else(no_organization)?;
    if membership.suspended {
        return Err(suspended());
    }
    Ok(Caller {
        organization: membership.organization,
        scopes: Arc::new(principal.scopes(membership)),
        domains: Arc::new([]),
        who: Who::Person(Box::new(principal)),
    })
}

fn echoes_csrf(headers: &HeaderMap, principal: &sessions::Principal) -> bool {
    headers
        .get(CSRF)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|token| principal.csrf_matches(token))
}

fn wanted_organization(headers: &HeaderMap) -> Result<Option<OrganizationId>, ApiError> {
    let Some(value) = headers.get(ORGANIZATION) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    id.map(Some).ok_or_else(no_organization)
}

fn bearer(value: &http::HeaderValue) -> Option<SecretString> {
    let text = value.to_str().ok()?;
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim().to_owned().into())
}

fn refused(refusal: api_keys::Refusal) -> ApiError {
    match refusal {
        api_keys::Refusal::Invalid => ApiError::unauthenticated(),
        api_keys::Refusal::AddressNotAllowed => ApiError::new(
            StatusCode::FORBIDDEN,
            "address_not_allowed",
            "this API key may not be used from this address",
        ),
        api_keys::Refusal::Suspended => suspended(),
        api_keys::Refusal::Unavailable(error) => error.into(),
    }
}

fn suspended() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "organization_suspended", "this organization is suspended")
}

fn no_organization() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "organization_not_found",
        "you belong to no such organization",
    )
}
