//! Lists of aliases, by filters that the caller combines.

use super::{Alias, Row};
use crate::{
    Result,
    ids::{AliasId, OrganizationId},
    models::AliasState,
};
use sqlx::{PgExecutor, Postgres, QueryBuilder};

const COLUMNS: &str = "select a.id, a.domain_id, d.name as domain_name, a.local_part, a.pattern, a.state, a.replies, a.description, \
     a.expires_at, a.max_messages, a.message_count, a.last_message_at, a.created_at, \
     (select coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'kind', t.kind, 'address', t.address, \
                                                   'verified', t.verified_at is not null) order by l.position), '[]') \
      from alias_destination l join destination t on t.id = l.destination_id where l.alias_id = a.id) as destinations \
     from alias a join domain d on d.id = a.domain_id where a.deleted_at is null and a.organization_id = ";

/// Which aliases are meant; empty fields leave the choice open.
#[derive(Debug, Clone, Default)]
pub struct AliasFilter {
    /// Only these.
    pub ids: Option<Vec<AliasId>>,
    /// Only of the domain of this name.
    pub domain: Option<String>,
    /// Only of these domains.
    pub within: Vec<String>,
    /// Only in this state.
    pub state: Option<AliasState>,
    /// Only those that forward to this folded address.
    pub destination: Option<String>,
    /// The address or the description contains this.
    pub q: Option<String>,
}

impl AliasFilter {
    /// Adds the conditions to a query whose `alias` is `a` and `domain` is `d`.
    pub(super) fn apply(&self, query: &mut QueryBuilder<Postgres>) {
        if let Some(ids) = &self.ids {
            let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
            query.push(" and a.id = any(").push_bind(ids).push(")");
        }
        if let Some(domain) = &self.domain {
            query.push(" and d.name = ").push_bind(domain.clone());
        }
        if !self.within.is_empty() {
            query.push(" and d.name = any(").push_bind(self.within.clone()).push(")");
        }
        if let Some(state) = self.state {
            query.push(" and a.state = ").push_bind(state);
        }
        if let Some(address) = &self.destination {
            query
                .push(
                    " and exists (select from alias_destination l join destination t on t.id = l.destination_id \
                     where l.alias_id = a.id and t.address_folded = ",
                )
                .push_bind(address.clone())
                .push(")");
        }
        if let Some(part) = &self.q {
            query
                .push(" and position(lower(")
                .push_bind(part.clone())
                .push(") in lower(a.local_part || '@' || d.name || ' ' || a.description)) > 0");
        }
    }
}

/// Up to `limit` aliases, the newest first, older than `after`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    filter: &AliasFilter,
    after: Option<AliasId>,
    limit: i64,
) -> Result<Vec<Alias>> {
    fetch(
        executor,
        organization,
        filter,
        after.map(|id| (" and a.id < ", id)),
        " order by a.id desc limit ",
        limit,
    )
    .await
}

/// Up to `limit` aliases, the oldest first, newer than `after`: for an export, which reads them piece by piece.
///
/// # Errors
/// When the database fails.
pub async fn export(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    filter: &AliasFilter,
    after: Option<AliasId>,
    limit: i64,
) -> Result<Vec<Alias>> {
    fetch(
        executor,
        organization,
        filter,
        after.map(|id| (" and a.id > ", id)),
        " order by a.id limit ",
        limit,
    )
    .await
}

async fn fetch(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    filter: &AliasFilter,
    after: Option<(&'static str, AliasId)>,
    order: &'static str,
    limit: i64,
) -> Result<Vec<Alias>> {
    // aliases::list
    let mut query = QueryBuilder::<Postgres>::new(COLUMNS);
    query.push_bind(organization.0);
    if let Some((condition, id)) = after {
        query.push(condition).push_bind(id.0);
    }
    filter.apply(&mut query);
    query.push(order).push_bind(limit);
    let rows: Vec<Row> = query.build_query_as().fetch_all(executor).await?;
    Ok(rows.into_iter().map(Alias::from).collect())
}
