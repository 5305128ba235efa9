//! What a rule or an entry of a sender list is about, as requests name it and as it is kept.

use crate::{ApiError, access::Caller, app::App};
use http::StatusCode;
use serde::Serialize;
use std::collections::HashMap;
use store::{
    domains::{self, DomainFilter},
    ids::{DomainId, OrganizationId},
    rules::Scope,
};
use utoipa::ToSchema;

/// Whose mail it is about: exactly one member.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScopeView {
    /// Mail for this alias, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    /// Mail for this domain, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    /// All mail: `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<bool>,
}

/// The names needed to show these scopes.
#[derive(Debug, Default)]
pub(crate) struct DomainNames(HashMap<DomainId, String>);

impl DomainNames {
    /// Looks them up.
    pub(crate) async fn of(app: &App, organization: OrganizationId, scopes: impl Iterator<Item = Scope>) -> Result<Self, ApiError> {
        let ids: Vec<DomainId> = scopes
            .filter_map(|scope| match scope {
                Scope::Domain(id) => Some(id),
                Scope::Organization | Scope::Alias(_) => None,
            })
            .collect();
        if ids.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self(domains::names(&app.pool, organization, &ids).await?))
    }

    /// How a scope is shown.
    pub(crate) fn view(&self, scope: Scope) -> ScopeView {
        let empty = ScopeView {
            alias: None,
            domain: None,
            organization: None,
        };
        match scope {
            Scope::Organization => ScopeView {
                organization: Some(true),
                ..empty
            },
            Scope::Domain(id) => ScopeView {
                domain: Some(self.0.get(&id).cloned().unwrap_or_else(|| id.to_string())),
                ..empty
            },
            Scope::Alias(id) => ScopeView {
                alias: Some(id.to_string()),
                ..empty
            },
        }
    }
}

/// The scope that a request names, if the caller may use it.
///
/// # Errors
/// 404 when the organization has no such alias or domain; 403 when the caller is limited to domains and names none.
pub(crate) async fn resolve(app: &App, caller: &Caller, scope: &::rules::Scope) -> Result<Scope, ApiError> {
    match scope {
        ::rules::Scope::Organization => {
            require_everything(caller)?;
            Ok(Scope::Organization)
        }
        ::rules::Scope::Alias(text) => {
            let id = text.parse().map_err(|_| ApiError::not_found())?;
            let alias = store::aliases::find(&app.pool, caller.organization, id).await?;
            caller.require_domain(&alias.domain_name)?;
            Ok(Scope::Alias(id))
        }
        ::rules::Scope::Domain(text) => {
            let domain = match text.parse() {
                Ok(id) => domains::find(&app.pool, caller.organization, id).await?,
                Err(_) => domain_named(app, caller, text).await?,
            };
            caller.require_domain(&domain.name)?;
            Ok(Scope::Domain(domain.id))
        }
    }
}

/// Goes on only when the caller may see or change what is kept in this scope.
///
/// # Errors
/// 404: what a caller may not use, it does not see.
pub(crate) async fn require(app: &App, caller: &Caller, scope: Scope) -> Result<(), ApiError> {
    if caller.domains.is_empty() {
        return Ok(());
    }
    let name = match scope {
        Scope::Organization => return Err(ApiError::not_found()),
        Scope::Alias(id) => store::aliases::find(&app.pool, caller.organization, id).await?.domain_name,
        Scope::Domain(id) => domains::find(&app.pool, caller.organization, id).await?.name,
    };
    caller.require_domain(&name)
}

/// Goes on only when the caller is not limited to domains.
///
/// # Errors
/// 403.
pub(crate) fn require_everything(caller: &Caller) -> Result<(), ApiError> {
    if caller.domains.is_empty() {
        return Ok(());
    }
    let message = "a key limited to domains must name one of them, or one of their aliases";
    Err(ApiError::new(StatusCode::FORBIDDEN, "domain_not_allowed", message))
}

/// The scope that a list's parameters name; none: everything.
///
/// # Errors
/// As [`resolve`]; 422 when both are given.
pub(crate) async fn of_list(app: &App, caller: &Caller, domain: Option<String>, alias: Option<String>) -> Result<Option<Scope>, ApiError> {
    match (domain, alias) {
        (Some(_), Some(_)) => Err(ApiError::field("alias", "give either a domain or an alias")),
        (Some(domain), None) => resolve(app, caller, &::rules::Scope::Domain(domain)).await.map(Some),
        (None, Some(alias)) => resolve(app, caller, &::rules::Scope::Alias(alias)).await.map(Some),
        (None, None) => require_everything(caller).map(|()| None),
    }
}

/// The organization's domain of this name.
///
/// # Errors
/// 404.
pub(crate) async fn domain_named(app: &App, caller: &Caller, name: &str) -> Result<domains::Domain, ApiError> {
    let name = mail::Domain::parse(name.trim()).map_err(|_| ApiError::not_found())?;
    let filter = DomainFilter {
        name: Some(name.as_str()),
        ..DomainFilter::default()
    };
    let found = domains::list(&app.pool, caller.organization, filter, None, 1).await?.pop();
    let domain = found.ok_or_else(ApiError::not_found)?;
    caller.require_domain(&domain.name)?;
    Ok(domain)
}
