//! The caller itself.

use crate::{
    ApiError,
    access::{Caller, Who},
    app::App,
    resources::login::User,
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use store::{
    ids::{ApiKeyId, OrganizationId},
    users::{MemberRole, Membership},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// An organization, and what the person may do in it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Organization {
    /// Its id.
    #[schema(value_type = String)]
    id: OrganizationId,
    /// Its name.
    name: String,
    /// `owner`, `admin`, `member` or `viewer`.
    #[schema(value_type = String)]
    role: MemberRole,
}

impl From<Membership> for Organization {
    fn from(membership: Membership) -> Self {
        Self {
            id: membership.organization,
            name: membership.organization_name,
            role: membership.role,
        }
    }
}

/// Who is calling.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// `api_key` or `user`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The organization this request is about.
    #[schema(value_type = String)]
    organization: OrganizationId,
    /// What the caller may do there.
    scopes: Vec<String>,
    /// The key, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    api_key: Option<ApiKeyId>,
    /// The person, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User>,
    /// The person's organizations.
    #[serde(skip_serializing_if = "Option::is_none")]
    organizations: Option<Vec<Organization>>,
    /// What writes must echo as `X-CSRF-Token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
}

/// Who is calling, and what it may do.
#[utoipa::path(get, path = "/me", tag = "auth", security(("api_key" = []), ("session" = [])),
    responses((status = 200, body = Me), (status = 401, body = crate::error::ErrorBody)))]
async fn get(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Me>, ApiError> {
    let mut me = Me {
        kind: "api_key",
        organization: caller.organization,
        scopes: caller.scopes.to_texts(),
        api_key: None,
        user: None,
        organizations: None,
        csrf_token: None,
    };
    match caller.who {
        Who::Key(key) => me.api_key = Some(key),
        Who::Person(person) => {
            me.kind = "user";
            me.user = Some(store::users::find(&app.pool, person.user).await?.into());
            me.csrf_token = Some(person.csrf_token().to_owned());
            me.organizations = Some(person.memberships.into_iter().map(Organization::from).collect());
        }
    }
    Ok(Json(me))
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(get))
}
