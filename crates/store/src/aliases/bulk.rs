//! One change to many aliases.

use super::AliasFilter;
use crate::{
    Result, events,
    events::NewEvent,
    ids::{AliasId, OrganizationId},
};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

/// How many aliases one call changes at most.
pub const MOST_AT_ONCE: i64 = 1000;

/// What happens to all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They refuse for now.
    Pause,
    /// They take mail again.
    Resume,
    /// They are gone; their addresses stay taken.
    Delete,
}

impl Change {
    const fn assignment(self) -> &'static str {
        match self {
            Self::Pause => "state = 'paused'",
            Self::Resume => "state = 'active'",
            Self::Delete => "deleted_at = now()",
        }
    }

    const fn wanting(self) -> &'static str {
        match self {
            Self::Pause => " and a.state = 'active'",
            Self::Resume => " and a.state = 'paused'",
            Self::Delete => "",
        }
    }

    const fn event(self) -> Option<&'static str> {
        match self {
            Self::Pause => Some("alias.paused"),
            Self::Resume => None,
            Self::Delete => Some("alias.deleted"),
        }
    }
}

/// Changes up to [`MOST_AT_ONCE`] of the aliases that the filter means and that are not so already, the oldest first. Gives the changed
/// ones. Call it inside a transaction: several statements.
///
/// # Errors
/// When the database fails.
pub async fn change_many(
    connection: &mut PgConnection,
    organization: OrganizationId,
    filter: &AliasFilter,
    change: Change,
) -> Result<Vec<AliasId>> {
    // aliases::change_many
    let mut query = QueryBuilder::<Postgres>::new("update alias c set ");
    query
        .push(change.assignment())
        .push(" from (select a.id, a.local_part || '@' || d.name as address from alias a join domain d on d.id = a.domain_id where a.deleted_at is null and a.organization_id = ")
        .push_bind(organization.0)
        .push(change.wanting());
    filter.apply(&mut query);
    query
        .push(" order by a.id limit ")
        .push_bind(MOST_AT_ONCE)
        .push(" for update of a) m where c.id = m.id returning c.id, m.address");
    let mut changed: Vec<(Uuid, String)> = query.build_query_as().fetch_all(&mut *connection).await?;
    changed.sort_unstable();
    if let Some(kind) = change.event() {
        for (id, address) in &changed {
            let event = NewEvent {
                kind,
                message: None,
                recipient: None,
                data: serde_json::json!({ "alias": AliasId(*id), "address": address }),
            };
            events::insert(&mut *connection, organization, event).await?;
        }
    }
    Ok(changed.into_iter().map(|(id, _)| AliasId(id)).collect())
}
