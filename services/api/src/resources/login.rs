//! Dashboard logins.
//!
//! Failures are counted per address and per account; a success counts nothing and takes nothing off. A login from a foreign page is
//! refused by its Origin, so that nobody can be logged in as somebody else.

use crate::{
    ApiError,
    access::{Caller, Client, Who},
    app::App,
    cookies,
    extract::Body,
    layers::admission,
    resources::me::Organization,
};
use auth::sessions::{LoginFrom, Refusal};
use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};
use rate_limit::Quota;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::ids::UserId;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Who wants to log in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The account's e-mail address.
    email: String,
    /// Its password.
    #[schema(value_type = String)]
    password: SecretString,
}

/// A login that succeeded. The session itself is in the cookie.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoggedIn {
    /// Who.
    user: User,
    /// Where: name one as `X-Organization`, or the first is meant.
    organizations: Vec<Organization>,
    /// Writes must echo this as `X-CSRF-Token`.
    csrf_token: String,
    /// When the session ends at the latest.
    expires_at: DateTime<Utc>,
}

/// A person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    /// Their id.
    #[schema(value_type = String)]
    pub id: UserId,
    /// Their e-mail address.
    pub email: String,
    /// What to call them.
    pub name: String,
}

impl From<store::users::User> for User {
    fn from(row: store::users::User) -> Self {
        Self {
            id: row.id,
            email: row.email,
            name: row.name,
        }
    }
}

/// Log in.
#[utoipa::path(post, path = "/auth/login", tag = "auth", request_body = Credentials, security(()),
    responses((status = 200, body = LoggedIn), (status = 401, body = crate::error::ErrorBody), (status = 429, body = crate::error::ErrorBody)))]
async fn login(
    State(app): State<Arc<App>>,
    Extension(Client(client)): Extension<Client>,
    headers: HeaderMap,
    Body(credentials): Body<Credentials>,
) -> Result<Response, ApiError> {
    require_own_origin(&app, &headers)?;
    let windows = windows(&app, client, &credentials.email);
    for (key, quota) in &windows {
        let decision = app.limiter.check(key, *quota, 0).await;
        if decision.remaining == 0 {
            return Err(ApiError::too_many(decision.reset_after));
        }
    }
    let previous = cookies::session(&app.settings, &headers);
    let from = LoginFrom {
        address: Some(client),
        user_agent: headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default(),
        previous: previous.as_ref(),
    };
    let login = match app.sessions.login(&credentials.email, &credentials.password, from).await {
        Ok(login) => login,
        Err(Refusal::Invalid) => {
            for (key, quota) in &windows {
                app.limiter.check(key, *quota, 1).await;
            }
            let message = "the e-mail address or password is not right";
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, "invalid_credentials", message));
        }
        Err(Refusal::Busy(_)) => return Err(ApiError::unavailable()),
        Err(Refusal::Unavailable(error)) => return Err(error.into()),
    };
    let age = (login.expires_at - Utc::now()).num_seconds().max(0);
    let cookie = cookies::set(&app.settings, &login.token, age).ok_or_else(ApiError::internal)?;
    let view = LoggedIn {
        user: login.user.into(),
        organizations: login.memberships.into_iter().map(Organization::from).collect(),
        csrf_token: login.csrf_token,
        expires_at: login.expires_at,
    };
    Ok(([(header::SET_COOKIE, cookie)], Json(view)).into_response())
}

/// Log out.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", security(("session" = [])),
    responses((status = 204), (status = 401, body = crate::error::ErrorBody)))]
async fn logout(State(app): State<Arc<App>>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    if let (Who::Person(_), Some(token)) = (&caller.who, cookies::session(&app.settings, &headers)) {
        app.sessions.logout(&token).await?;
    }
    let cookie = cookies::clear(&app.settings).ok_or_else(ApiError::internal)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// The windows in which failures of this login count.
fn windows(app: &App, client: std::net::IpAddr, email: &str) -> [(String, Quota); 2] {
    let account = app
        .secrets
        .keyed_hash(auth::secrets::Purpose::Cursor, email.trim().to_lowercase().as_bytes());
    [
        (
            format!("login:address:{}", admission::group(client)),
            app.settings.failed_logins_per_address,
        ),
        // Hashed: addresses of people do not belong into Redis.
        (
            format!("login:account:{}", hex::encode(account)),
            app.settings.failed_logins_per_account,
        ),
    ]
}

/// Browsers say which page a request comes from; programs say nothing.
fn require_own_origin(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let foreign = || ApiError::new(StatusCode::FORBIDDEN, "foreign_origin", "this page may not log anybody in");
    let Some(origin) = headers.get(header::ORIGIN) else {
        let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
        return if site == Some("cross-site") { Err(foreign()) } else { Ok(()) };
    };
    let origin = origin.to_str().unwrap_or_default();
    let own = app.settings.public_url.origin().ascii_serialization();
    let same_host = origin
        .split_once("://")
        .is_some_and(|(_, host)| headers.get(header::HOST).is_some_and(|here| here.as_bytes() == host.as_bytes()));
    if origin == own || same_host || app.settings.cors_origins.iter().any(|allowed| allowed == origin) {
        Ok(())
    } else {
        Err(foreign())
    }
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(login)).routes(routes!(logout))
}
