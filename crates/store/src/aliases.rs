//! Addresses of a domain that forward.
//!
//! A deleted alias stays as a row without mail: nobody can take its address over, and neither a pattern nor the catch-all takes its mail.
//! Local parts arrive folded (lower-case). Each change writes its event in the caller's transaction; triggers tell every process that
//! remembers aliases (see [`crate::changes`]).

mod bulk;
mod expiry;
mod list;
mod resolve;

use crate::{
    Result, events,
    events::NewEvent,
    ids::{AliasId, DestinationId, DomainId, OrganizationId},
    models::{AliasState, DestinationKind, RepliesAs},
};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, types::Json};
use uuid::Uuid;

pub use bulk::{Change, MOST_AT_ONCE, change_many};
pub use expiry::tell_expired;
pub use list::{AliasFilter, export, list};
pub use resolve::{AliasFacts, HostedDomain, Resolution, WhyNot, resolve};

/// The constraint that keeps one address for one alias.
pub const ADDRESS: &str = "alias_address_key";

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Its id.
    pub id: AliasId,
    /// Its domain.
    pub domain: DomainId,
    /// The domain's name.
    pub domain_name: String,
    /// Lower case; `*` stands for anything when it is a pattern.
    pub local_part: String,
    /// Whether it stands for many addresses.
    pub pattern: bool,
    /// Whether it takes mail.
    pub state: AliasState,
    /// How its mail can be answered.
    pub replies: RepliesAs,
    /// Free text.
    pub description: String,
    /// Refuses from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// Refuses after so many.
    pub max_messages: Option<i32>,
    /// Accepted so far.
    pub message_count: i32,
    /// The last one.
    pub last_message_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Where its mail goes, in order.
    pub destinations: Vec<Target>,
}

impl Alias {
    /// `local@domain`, as it is configured.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}@{}", self.local_part, self.domain_name)
    }
}

/// A destination as mail needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub id: DestinationId,
    /// A mailbox or an HTTP endpoint.
    pub kind: DestinationKind,
    /// The mailbox, or the URL.
    pub address: String,
    /// Whether it was confirmed, or needs no confirmation.
    pub verified: bool,
}

/// A destination as the queries below aggregate it.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct TargetRow {
    id: Uuid,
    kind: DestinationKind,
    address: String,
    verified: bool,
}

pub(crate) fn targets(Json(rows): Json<Vec<TargetRow>>) -> Vec<Target> {
    let target = |row: TargetRow| Target {
        id: DestinationId(row.id),
        kind: row.kind,
        address: row.address,
        verified: row.verified,
    };
    rows.into_iter().map(target).collect()
}

/// What makes an alias.
#[derive(Debug, Clone, Copy)]
pub struct NewAlias<'a> {
    /// A verified domain of the organization.
    pub domain: DomainId,
    /// Folded, 1 to 64 octets.
    pub local_part: &'a str,
    /// Whether `*` in it stands for anything.
    pub pattern: bool,
    /// How its mail can be answered.
    pub replies: RepliesAs,
    /// At most 1,000 characters.
    pub description: &'a str,
    /// Refuses from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// Refuses after so many.
    pub max_messages: Option<i32>,
    /// Where its mail goes, in order; see [`crate::destinations::find_or_insert`].
    pub destinations: &'a [DestinationId],
}

/// What may be changed of an alias; `None` leaves it, `Some(None)` takes a limit away.
#[derive(Debug, Clone, Copy, Default)]
pub struct AliasChange<'a> {
    /// Whether it takes mail.
    pub state: Option<AliasState>,
    /// How its mail can be answered.
    pub replies: Option<RepliesAs>,
    /// Free text.
    pub description: Option<&'a str>,
    /// Refuses from then on.
    pub expires_at: Option<Option<DateTime<Utc>>>,
    /// Refuses after so many.
    pub max_messages: Option<Option<i32>>,
    /// Where its mail goes, in order.
    pub destinations: Option<&'a [DestinationId]>,
}

/// Makes an alias. Call it inside a transaction: several statements.
///
/// # Errors
/// `Conflict(`[`ADDRESS`]`)` when the address is or was an alias; `Conflict("alias_local_part_check")` when it is not lower-case;
/// `NotFound` when the organization does not have the domain.
pub async fn insert(connection: &mut PgConnection, organization: OrganizationId, new: NewAlias<'_>) -> Result<Alias> {
    let id = AliasId::generate();
    // aliases::insert
    let made = sqlx::query!(
        "insert into alias (id, organization_id, domain_id, local_part, pattern, replies, description, expires_at, max_messages)
         select $1, d.organization_id, d.id, $4, $5, $6, $7, $8, $9 from domain d where d.organization_id = $2 and d.id = $3",
        id.0,
        organization.0,
        new.domain.0,
        new.local_part,
        new.pattern,
        new.replies as RepliesAs,
        new.description,
        new.expires_at,
        new.max_messages
    )
    .execute(&mut *connection)
    .await?;
    crate::affected_one(made.rows_affected())?;
    link(connection, organization, id, new.destinations).await?;
    let alias = find(&mut *connection, organization, id).await?;
    note(connection, organization, &alias, "alias.created").await?;
    Ok(alias)
}

/// One alias that is not deleted.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn find(executor: impl PgExecutor<'_>, organization: OrganizationId, id: AliasId) -> Result<Alias> {
    // aliases::find
    let row = sqlx::query_as!(
        Row,
        r#"select a.id, a.domain_id, d.name as domain_name, a.local_part, a.pattern, a.state as "state: AliasState",
                  a.replies as "replies: RepliesAs", a.description, a.expires_at, a.max_messages, a.message_count, a.last_message_at,
                  a.created_at,
                  (select coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'kind', t.kind, 'address', t.address,
                                                                'verified', t.verified_at is not null) order by l.position), '[]')
                   from alias_destination l join destination t on t.id = l.destination_id
                   where l.alias_id = a.id) as "destinations!: Json<Vec<TargetRow>>"
           from alias a join domain d on d.id = a.domain_id
           where a.organization_id = $1 and a.id = $2 and a.deleted_at is null"#,
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?;
    Ok(row.into())
}

/// The alias of this address that is not deleted.
///
/// # Errors
/// `NotFound` when the organization has none.
pub async fn find_by_address(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    domain: DomainId,
    local_part: &str,
) -> Result<AliasId> {
    // aliases::find_by_address
    let id = sqlx::query_scalar!(
        "select id from alias where organization_id = $1 and domain_id = $2 and local_part = $3 and deleted_at is null",
        organization.0,
        domain.0,
        local_part
    )
    .fetch_one(executor)
    .await?;
    Ok(AliasId(id))
}

/// How many patterns the domain has: each is tried for each recipient that no plain alias takes.
///
/// # Errors
/// When the database fails.
pub async fn count_patterns(executor: impl PgExecutor<'_>, organization: OrganizationId, domain: DomainId) -> Result<i64> {
    // aliases::count_patterns
    Ok(sqlx::query_scalar!(
        r#"select count(*) as "count!" from alias where organization_id = $1 and domain_id = $2 and pattern and deleted_at is null"#,
        organization.0,
        domain.0
    )
    .fetch_one(executor)
    .await?)
}

/// Changes an alias. Call it inside a transaction: several statements.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn update(connection: &mut PgConnection, organization: OrganizationId, id: AliasId, change: AliasChange<'_>) -> Result<Alias> {
    // aliases::update
    let former = sqlx::query_scalar!(
        r#"with former as (
             select id, state from alias where organization_id = $1 and id = $2 and deleted_at is null for update)
           update alias a set state = coalesce($3, a.state), replies = coalesce($4, a.replies), description = coalesce($5, a.description),
                  expires_at = case when $6 then $7 else a.expires_at end, max_messages = case when $8 then $9 else a.max_messages end,
                  expiry_told = a.expiry_told and not ($6 or $8)
           from former f where a.id = f.id
           returning f.state as "state: AliasState""#,
        organization.0,
        id.0,
        change.state as Option<AliasState>,
        change.replies as Option<RepliesAs>,
        change.description,
        change.expires_at.is_some(),
        change.expires_at.flatten(),
        change.max_messages.is_some(),
        change.max_messages.flatten()
    )
    .fetch_one(&mut *connection)
    .await?;
    if let Some(destinations) = change.destinations {
        link(connection, organization, id, destinations).await?;
    }
    let alias = find(&mut *connection, organization, id).await?;
    if former == AliasState::Active && alias.state == AliasState::Paused {
        note(connection, organization, &alias, "alias.paused").await?;
    }
    Ok(alias)
}

/// Deletes an alias; its address stays taken. Call it inside a transaction: several statements.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn delete(connection: &mut PgConnection, organization: OrganizationId, id: AliasId) -> Result<()> {
    let alias = find(&mut *connection, organization, id).await?;
    // aliases::delete
    let done = sqlx::query!(
        "update alias set deleted_at = now() where organization_id = $1 and id = $2 and deleted_at is null",
        organization.0,
        id.0
    )
    .execute(&mut *connection)
    .await?;
    crate::affected_one(done.rows_affected())?;
    note(connection, organization, &alias, "alias.deleted").await
}

/// Counts an accepted message, in the accepting transaction. `false`: the alias has taken as many as it may, or is deleted; nothing is
/// counted then.
///
/// # Errors
/// When the database fails.
pub async fn count_message(executor: impl PgExecutor<'_>, organization: OrganizationId, id: AliasId) -> Result<bool> {
    // aliases::count_message
    let done = sqlx::query!(
        "update alias set message_count = message_count + 1, last_message_at = now()
         where organization_id = $1 and id = $2 and deleted_at is null and (max_messages is null or message_count < max_messages)",
        organization.0,
        id.0
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces an alias's destinations. Those of another organization are left out.
async fn link(connection: &mut PgConnection, organization: OrganizationId, id: AliasId, destinations: &[DestinationId]) -> Result<()> {
    let wanted: Vec<Uuid> = destinations.iter().map(|destination| destination.0).collect();
    // aliases::link
    sqlx::query!(
        "delete from alias_destination l using alias a where a.id = l.alias_id and a.organization_id = $1 and a.id = $2
           and l.destination_id <> all($3)",
        organization.0,
        id.0,
        &wanted
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into alias_destination (alias_id, destination_id, position)
         select $2, t.id, min(w.position)::smallint from unnest($3::uuid[]) with ordinality w (id, position)
         join destination t on t.id = w.id and t.organization_id = $1
         group by t.id
         on conflict (alias_id, destination_id) do update set position = excluded.position",
        organization.0,
        id.0,
        &wanted
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn note(connection: &mut PgConnection, organization: OrganizationId, alias: &Alias, kind: &str) -> Result<()> {
    let event = NewEvent {
        kind,
        message: None,
        recipient: None,
        data: serde_json::json!({ "alias": alias.id, "address": alias.address() }),
    };
    events::insert(connection, organization, event).await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    domain_id: Uuid,
    domain_name: String,
    local_part: String,
    pattern: bool,
    state: AliasState,
    replies: RepliesAs,
    description: String,
    expires_at: Option<DateTime<Utc>>,
    max_messages: Option<i32>,
    message_count: i32,
    last_message_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    destinations: Json<Vec<TargetRow>>,
}

impl From<Row> for Alias {
    fn from(row: Row) -> Self {
        Self {
            id: AliasId(row.id),
            domain: DomainId(row.domain_id),
            domain_name: row.domain_name,
            local_part: row.local_part,
            pattern: row.pattern,
            state: row.state,
            replies: row.replies,
            description: row.description,
            expires_at: row.expires_at,
            max_messages: row.max_messages,
            message_count: row.message_count,
            last_message_at: row.last_message_at,
            created_at: row.created_at,
            destinations: targets(row.destinations),
        }
    }
}
