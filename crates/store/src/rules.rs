//! Rules about mail that comes in, kept as they were given; what they mean is `crates/rules`'.
//!
//! A rule is about one alias, one domain or the whole organization. Positions order the rules of one scope; the narrower scope comes first.

mod past;

use crate::{
    Result,
    ids::{AliasId, DomainId, OrganizationId, RuleId},
};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

pub use past::{PastMessage, past};

/// What a rule or an entry of a sender list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that comes in for the organization.
    Organization,
    /// What comes in for one domain.
    Domain(DomainId),
    /// What comes in for one alias.
    Alias(AliasId),
}

impl Scope {
    pub(crate) fn of(domain: Option<Uuid>, alias: Option<Uuid>) -> Self {
        match (domain, alias) {
            (_, Some(alias)) => Self::Alias(AliasId(alias)),
            (Some(domain), None) => Self::Domain(DomainId(domain)),
            (None, None) => Self::Organization,
        }
    }

    pub(crate) const fn domain(self) -> Option<Uuid> {
        match self {
            Self::Domain(domain) => Some(domain.0),
            _ => None,
        }
    }

    pub(crate) const fn alias(self) -> Option<Uuid> {
        match self {
            Self::Alias(alias) => Some(alias.0),
            _ => None,
        }
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRule {
    /// Its id.
    pub id: RuleId,
    /// What it is about.
    pub scope: Scope,
    /// What its people call it.
    pub name: String,
    /// Its place among the rules of its scope, the lowest first.
    pub position: i32,
    /// Whether it counts.
    pub enabled: bool,
    /// Match, conditions and action, as the API takes them.
    pub definition: serde_json::Value,
    /// How often it decided.
    pub match_count: i64,
    /// When it last did.
    pub last_matched_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What makes a rule.
#[derive(Debug, Clone, Copy)]
pub struct NewRule<'a> {
    /// What it is about; of the same organization, which the caller has made sure of.
    pub scope: Scope,
    /// 1 to 200 characters.
    pub name: &'a str,
    /// Its place; the last one unless given.
    pub position: Option<i32>,
    /// Whether it counts.
    pub enabled: bool,
    /// Match, conditions and action.
    pub definition: &'a serde_json::Value,
}

/// What may be changed of a rule; `None` leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RuleChange<'a> {
    /// What it is about.
    pub scope: Option<Scope>,
    /// 1 to 200 characters.
    pub name: Option<&'a str>,
    /// Its place.
    pub position: Option<i32>,
    /// Whether it counts.
    pub enabled: Option<bool>,
    /// Match, conditions and action.
    pub definition: Option<&'a serde_json::Value>,
}

struct Row {
    id: Uuid,
    domain_id: Option<Uuid>,
    alias_id: Option<Uuid>,
    name: String,
    position: i32,
    enabled: bool,
    definition: serde_json::Value,
    match_count: i64,
    last_matched_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<Row> for StoredRule {
    fn from(row: Row) -> Self {
        Self {
            id: RuleId(row.id),
            scope: Scope::of(row.domain_id, row.alias_id),
            name: row.name,
            position: row.position,
            enabled: row.enabled,
            definition: row.definition,
            match_count: row.match_count,
            last_matched_at: row.last_matched_at,
            created_at: row.created_at,
        }
    }
}

/// Makes a rule.
///
/// # Errors
/// `Conflict` when the name is empty or too long, or the scope is gone.
pub async fn insert(executor: impl PgExecutor<'_>, organization: OrganizationId, new: NewRule<'_>) -> Result<StoredRule> {
    // rules::insert
    let row = sqlx::query_as!(
        Row,
        "insert into rule (id, organization_id, domain_id, alias_id, name, position, enabled, definition)
         values ($1, $2, $3, $4, $5, coalesce($6, (select coalesce(max(position), 0) + 1 from rule where organization_id = $2)), $7, $8)
         returning id, domain_id, alias_id, name, position, enabled, definition, match_count, last_matched_at, created_at",
        RuleId::generate().0,
        organization.0,
        new.scope.domain(),
        new.scope.alias(),
        new.name,
        new.position,
        new.enabled,
        new.definition
    )
    .fetch_one(executor)
    .await?;
    Ok(row.into())
}

/// How many rules the organization has.
///
/// # Errors
/// When the database fails.
pub async fn count(executor: impl PgExecutor<'_>, organization: OrganizationId) -> Result<i64> {
    // rules::count
    Ok(sqlx::query_scalar!(
        r#"select count(*) as "count!" from rule where organization_id = $1"#,
        organization.0
    )
    .fetch_one(executor)
    .await?)
}

/// One rule.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn find(executor: impl PgExecutor<'_>, organization: OrganizationId, id: RuleId) -> Result<StoredRule> {
    // rules::find
    let row = sqlx::query_as!(
        Row,
        "select id, domain_id, alias_id, name, position, enabled, definition, match_count, last_matched_at, created_at
         from rule where organization_id = $1 and id = $2",
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?;
    Ok(row.into())
}

/// Up to `limit` rules in their order, behind `after`. `scope`: only those of this scope itself.
///
/// # Errors
/// When the database fails.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    scope: Option<Scope>,
    after: Option<RuleId>,
    limit: i64,
) -> Result<Vec<StoredRule>> {
    // rules::list
    let rows = sqlx::query_as!(
        Row,
        "select id, domain_id, alias_id, name, position, enabled, definition, match_count, last_matched_at, created_at
         from rule
         where organization_id = $1
           and (not $2 or (domain_id is not distinct from $3 and alias_id is not distinct from $4))
           and ($5::uuid is null or (position, id) > (select r.position, r.id from rule r where r.organization_id = $1 and r.id = $5))
         order by position, id limit $6",
        organization.0,
        scope.is_some(),
        scope.and_then(Scope::domain),
        scope.and_then(Scope::alias),
        after.map(|id| id.0),
        limit
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(StoredRule::from).collect())
}

/// The enabled rules for mail to this alias (none: the catch-all) of this domain, in the order in which they are asked: the alias's, the
/// domain's, the organization's, each by position.
///
/// # Errors
/// When the database is out of reach.
pub async fn for_recipient(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    domain: DomainId,
    alias: Option<AliasId>,
) -> Result<Vec<StoredRule>> {
    // rules::for_recipient
    let rows = sqlx::query_as!(
        Row,
        "select id, domain_id, alias_id, name, position, enabled, definition, match_count, last_matched_at, created_at
         from rule
         where organization_id = $1 and enabled
           and (alias_id = $3 or domain_id = $2 or (alias_id is null and domain_id is null))
         order by (alias_id is null), (domain_id is null), position, id",
        organization.0,
        domain.0,
        alias.map(|id| id.0)
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(StoredRule::from).collect())
}

/// Notes that a rule decided. One that is gone meanwhile is no fault.
///
/// # Errors
/// When the database is out of reach.
pub async fn count_match(executor: impl PgExecutor<'_>, organization: OrganizationId, id: RuleId) -> Result<()> {
    // rules::count_match
    sqlx::query!(
        "update rule set match_count = match_count + 1, last_matched_at = now() where organization_id = $1 and id = $2",
        organization.0,
        id.0
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Changes a rule.
///
/// # Errors
/// `NotFound` when the organization has none of this id; `Conflict` as in [`insert`].
pub async fn update(executor: impl PgExecutor<'_>, organization: OrganizationId, id: RuleId, change: RuleChange<'_>) -> Result<StoredRule> {
    // rules::update
    let row = sqlx::query_as!(
        Row,
        "update rule set domain_id = case when $3 then $4 else domain_id end, alias_id = case when $3 then $5 else alias_id end,
                name = coalesce($6, name), position = coalesce($7, position), enabled = coalesce($8, enabled),
                definition = coalesce($9, definition)
         where organization_id = $1 and id = $2
         returning id, domain_id, alias_id, name, position, enabled, definition, match_count, last_matched_at, created_at",
        organization.0,
        id.0,
        change.scope.is_some(),
        change.scope.and_then(Scope::domain),
        change.scope.and_then(Scope::alias),
        change.name,
        change.position,
        change.enabled,
        change.definition
    )
    .fetch_one(executor)
    .await?;
    Ok(row.into())
}

/// Puts these rules in this order, before all others. Call it inside a transaction.
///
/// # Errors
/// `NotFound` when one of them is not the organization's.
pub async fn reorder(connection: &mut PgConnection, organization: OrganizationId, ids: &[RuleId]) -> Result<()> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    // rules::reorder — locked in one order, so that two callers wait for each other instead of blocking each other
    let known = sqlx::query_scalar!(
        r#"select count(*) as "count!" from (select id from rule where organization_id = $1 order by id for update) r where r.id = any($2)"#,
        organization.0,
        &ids
    )
    .fetch_one(&mut *connection)
    .await?;
    if usize::try_from(known) != Ok(ids.len()) {
        return Err(crate::Error::NotFound);
    }
    sqlx::query!(
        "with wanted as (
           select r.id, row_number() over (order by w.place nulls last, r.position, r.id)::integer as place
           from rule r left join unnest($2::uuid[]) with ordinality w (id, place) on w.id = r.id
           where r.organization_id = $1)
         update rule r set position = wanted.place from wanted where r.id = wanted.id and r.position <> wanted.place",
        organization.0,
        &ids
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets a rule.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn delete(executor: impl PgExecutor<'_>, organization: OrganizationId, id: RuleId) -> Result<()> {
    // rules::delete
    let done = sqlx::query!("delete from rule where organization_id = $1 and id = $2", organization.0, id.0)
        .execute(executor)
        .await?;
    crate::affected_one(done.rows_affected())
}
