//! Senders that are let through or refused before every rule, for one alias, one domain or the whole organization.
//!
//! A sender is `a@b.example`, `@b.example` (that domain) or `*.b.example` (every domain below it), folded. What outweighs what is decided
//! by whoever reads the list.

use crate::{
    Result,
    ids::{AliasId, DomainId, OrganizationId, SenderListEntryId},
    models::SenderListing,
    rules::Scope,
};
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// The constraint that keeps one entry for one sender in one scope.
pub const ENTRY: &str = "sender_list_entry_key";

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderListEntry {
    /// Its id.
    pub id: SenderListEntryId,
    /// Whose mail it is about.
    pub scope: Scope,
    /// Let through or refused.
    pub listing: SenderListing,
    /// The sender.
    pub sender: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Which entries a list holds; `None` leaves the choice open.
#[derive(Debug, Clone, Copy, Default)]
pub struct SenderListFilter<'a> {
    /// Only of this scope itself.
    pub scope: Option<Scope>,
    /// Only these.
    pub listing: Option<SenderListing>,
    /// The sender contains this.
    pub q: Option<&'a str>,
}

struct Row {
    id: Uuid,
    domain_id: Option<Uuid>,
    alias_id: Option<Uuid>,
    listing: SenderListing,
    sender: String,
    created_at: DateTime<Utc>,
}

impl From<Row> for SenderListEntry {
    fn from(row: Row) -> Self {
        Self {
            id: SenderListEntryId(row.id),
            scope: Scope::of(row.domain_id, row.alias_id),
            listing: row.listing,
            sender: row.sender,
            created_at: row.created_at,
        }
    }
}

/// Makes an entry.
///
/// # Errors
/// `Conflict(`[`ENTRY`]`)` when the scope has one for this sender.
pub async fn insert(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    scope: Scope,
    listing: SenderListing,
    sender: &str,
) -> Result<SenderListEntry> {
    // sender_lists::insert
    let row = sqlx::query_as!(
        Row,
        r#"insert into sender_list_entry (id, organization_id, domain_id, alias_id, listing, sender) values ($1, $2, $3, $4, $5, $6)
           returning id, domain_id, alias_id, listing as "listing: SenderListing", sender, created_at"#,
        SenderListEntryId::generate().0,
        organization.0,
        scope.domain(),
        scope.alias(),
        listing as SenderListing,
        sender
    )
    .fetch_one(executor)
    .await?;
    Ok(row.into())
}

/// How many entries the scope has.
///
/// # Errors
/// When the database fails.
pub async fn count(executor: impl PgExecutor<'_>, organization: OrganizationId, scope: Scope) -> Result<i64> {
    // sender_lists::count
    Ok(sqlx::query_scalar!(
        r#"select count(*) as "count!" from sender_list_entry
           where organization_id = $1 and domain_id is not distinct from $2 and alias_id is not distinct from $3"#,
        organization.0,
        scope.domain(),
        scope.alias()
    )
    .fetch_one(executor)
    .await?)
}

/// One entry.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn find(executor: impl PgExecutor<'_>, organization: OrganizationId, id: SenderListEntryId) -> Result<SenderListEntry> {
    // sender_lists::find
    let row = sqlx::query_as!(
        Row,
        r#"select id, domain_id, alias_id, listing as "listing: SenderListing", sender, created_at
           from sender_list_entry where organization_id = $1 and id = $2"#,
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?;
    Ok(row.into())
}

/// Up to `limit` entries, the newest first, older than `after`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    filter: SenderListFilter<'_>,
    after: Option<SenderListEntryId>,
    limit: i64,
) -> Result<Vec<SenderListEntry>> {
    // sender_lists::list
    let rows = sqlx::query_as!(
        Row,
        r#"select id, domain_id, alias_id, listing as "listing: SenderListing", sender, created_at
           from sender_list_entry
           where organization_id = $1
             and (not $2 or (domain_id is not distinct from $3 and alias_id is not distinct from $4))
             and ($5::sender_listing is null or listing = $5) and ($6::text is null or position(lower($6) in sender) > 0)
             and ($7::uuid is null or id < $7)
           order by id desc limit $8"#,
        organization.0,
        filter.scope.is_some(),
        filter.scope.and_then(Scope::domain),
        filter.scope.and_then(Scope::alias),
        filter.listing as Option<SenderListing>,
        filter.q,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(SenderListEntry::from).collect())
}

/// The entries of these senders (every form in which an entry may name the message's sender) for mail to this alias (none: the catch-all)
/// of this domain: the alias's first, then the domain's, then the organization's; within one, in the order of `senders`, which [`forms_of`] gives
/// from the narrowest to the widest: the first entry is the one that decides. The cost does not grow with the lists.
///
/// # Errors
/// When the database is out of reach.
pub async fn for_recipient(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    domain: DomainId,
    alias: Option<AliasId>,
    senders: &[String],
) -> Result<Vec<SenderListEntry>> {
    // sender_lists::for_recipient
    let rows = sqlx::query_as!(
        Row,
        r#"select id, domain_id, alias_id, listing as "listing: SenderListing", sender, created_at
           from sender_list_entry
           where organization_id = $1 and sender = any($4)
             and (alias_id = $3 or domain_id = $2 or (alias_id is null and domain_id is null))
           order by (alias_id is null), (domain_id is null), array_position($4, sender), id"#,
        organization.0,
        domain.0,
        alias.map(|id| id.0),
        senders
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(SenderListEntry::from).collect())
}

/// Every form in which an entry may name this folded address: itself, its domain, and each domain above it.
#[must_use]
pub fn forms_of(address: &str) -> Vec<String> {
    let mut forms = vec![address.to_owned()];
    let Some((_, domain)) = address.rsplit_once('@') else {
        return forms;
    };
    forms.push(format!("@{domain}"));
    let mut rest = domain;
    while let Some((_, above)) = rest.split_once('.') {
        forms.push(format!("*.{above}"));
        rest = above;
    }
    forms
}

/// Forgets an entry.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn delete(executor: impl PgExecutor<'_>, organization: OrganizationId, id: SenderListEntryId) -> Result<()> {
    // sender_lists::delete
    let done = sqlx::query!(
        "delete from sender_list_entry where organization_id = $1 and id = $2",
        organization.0,
        id.0
    )
    .execute(executor)
    .await?;
    crate::affected_one(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_listed_by_address_by_domain_or_by_a_domain_above() {
        assert_eq!(forms_of("a@x.b.test"), ["a@x.b.test", "@x.b.test", "*.b.test", "*.test"]);
        assert_eq!(forms_of("a@[192.0.2.1]")[..2], ["a@[192.0.2.1]", "@[192.0.2.1]"]);
        assert_eq!(forms_of("postmaster"), ["postmaster"]);
    }
}
