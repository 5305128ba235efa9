//! Making one alias inside the caller's transaction.

use super::given::Wanted;
use crate::{
    ApiError, FieldError,
    access::Caller,
    app::App,
    resources::{
        destinations::given::{self, Ensured},
        rule_scopes,
    },
};
use http::StatusCode;
use mail::Domain;
use store::{
    PgConnection,
    aliases::{self, Alias, AliasChange, NewAlias},
    ids::{DomainId, OrganizationId},
    models::AliasState,
};

/// Patterns of a domain: each is tried for every recipient that no plain alias takes.
const MOST_PATTERNS: i64 = 1000;

/// The caller's domain of this name, if mail may come in for it.
///
/// # Errors
/// 404 when it is not the organization's, 403 when it is not verified.
pub(super) async fn usable_domain(app: &App, caller: &Caller, name: &Domain) -> Result<DomainId, ApiError> {
    let domain = rule_scopes::domain_named(app, caller, name.as_str()).await?;
    if domain.verified_at.is_some() {
        return Ok(domain.id);
    }
    let message = "this domain is not verified yet: publish its records and verify it first";
    Err(ApiError {
        fields: vec![FieldError::new("domain", message)],
        ..ApiError::new(StatusCode::FORBIDDEN, "domain_not_verified", message)
    })
}

/// Makes the alias and the destinations that are new.
///
/// # Errors
/// 409 `alias_exists` when the address is or was an alias, or what [`given::ensure`] refuses.
pub(super) async fn make(
    app: &App,
    connection: &mut PgConnection,
    organization: OrganizationId,
    domain: DomainId,
    wanted: &Wanted,
) -> Result<(Alias, Ensured), ApiError> {
    if wanted.pattern() && aliases::count_patterns(&mut *connection, organization, domain).await? >= MOST_PATTERNS {
        return Err(ApiError::conflict(
            "too_many_patterns",
            format!("a domain has at most {MOST_PATTERNS} patterns"),
        ));
    }
    let ensured = given::ensure(app, connection, organization, &wanted.destinations).await?;
    let ids = ensured.ids();
    let new = NewAlias {
        domain,
        local_part: &wanted.local_part,
        pattern: wanted.pattern(),
        replies: wanted.replies,
        description: &wanted.description,
        expires_at: wanted.expires_at,
        max_messages: wanted.max_messages,
        destinations: &ids,
    };
    let made = aliases::insert(&mut *connection, organization, new).await.map_err(refused)?;
    if wanted.state == AliasState::Active {
        return Ok((made, ensured));
    }
    let change = AliasChange {
        state: Some(wanted.state),
        ..AliasChange::default()
    };
    Ok((aliases::update(connection, organization, made.id, change).await?, ensured))
}

fn refused(error: store::Error) -> ApiError {
    if error.violates(aliases::ADDRESS) {
        let message = "this address is an alias already, or was one: a deleted alias keeps its address";
        ApiError {
            fields: vec![FieldError::new("local_part", message)],
            ..ApiError::conflict("alias_exists", message)
        }
    } else if error.violates("alias_local_part_check") {
        ApiError::field("local_part", "holds a letter whose case is not clear") // the database folds a few letters differently
    } else {
        error.into()
    }
}
