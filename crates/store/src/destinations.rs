//! Where mail for aliases goes on to: private mailboxes and HTTP endpoints, each once in an organization.
//!
//! A mailbox confirms by a mailed token before it gets mail, unless the instance waives that. The token is kept only as a hash, an endpoint's
//! signing secret only sealed; whether an unconfirmed one gets mail is the caller's decision.

use crate::{
    Error, Result,
    aliases::{Target, TargetRow, targets},
    ids::{DestinationId, DomainId, OrganizationId},
    models::DestinationKind,
};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, types::Json};
use uuid::Uuid;

/// How long a mailed token counts.
pub const TOKEN_DAYS: i32 = 7;

/// How long nothing is mailed again.
pub const RESEND_SECONDS: i32 = 60;

/// A destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its id.
    pub id: DestinationId,
    /// Whose.
    pub organization: OrganizationId,
    /// A mailbox or an HTTP endpoint.
    pub kind: DestinationKind,
    /// The mailbox, or the URL.
    pub address: String,
    /// When it was confirmed, or made if it needs no confirmation.
    pub verified_at: Option<DateTime<Utc>>,
    /// When the last confirmation mail went out.
    pub verification_sent_at: Option<DateTime<Utc>>,
    /// Since when it has been refusing for good.
    pub failing_since: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What makes a destination.
#[derive(Debug, Clone, Copy)]
pub struct NewDestination<'a> {
    /// Made by the caller, who may have sealed a secret for it.
    pub id: DestinationId,
    /// A mailbox or an HTTP endpoint.
    pub kind: DestinationKind,
    /// The mailbox, or the URL.
    pub address: &'a str,
    /// What makes it the same as another.
    pub address_folded: &'a str,
    /// Whether it needs no confirmation.
    pub verified: bool,
    /// SHA-256 of the token that is about to be mailed.
    pub verification_hash: Option<&'a [u8]>,
    /// Sealed; of an endpoint.
    pub signing_secret: Option<&'a [u8]>,
}

/// Which destinations a list holds; `None` leaves the choice open.
#[derive(Debug, Clone, Copy, Default)]
pub struct DestinationFilter<'a> {
    /// Only of this kind.
    pub kind: Option<DestinationKind>,
    /// Only confirmed ones, or only the others.
    pub verified: Option<bool>,
    /// The address contains this.
    pub q: Option<&'a str>,
}

/// An HTTP endpoint, as the program that calls it needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where.
    pub url: String,
    /// Sealed, for the row of this destination.
    pub signing_secret: Option<Vec<u8>>,
}

/// The destination of this address, made if there is none. `true`: it was made now. One that was waiting for its confirmation is confirmed when
/// `new` needs none. Call it inside a transaction: two statements.
///
/// # Errors
/// When the database fails.
pub async fn find_or_insert(
    connection: &mut PgConnection,
    organization: OrganizationId,
    new: NewDestination<'_>,
) -> Result<(Destination, bool)> {
    // destinations::find_or_insert — xmax is 0 in a row that was not there before
    let made = sqlx::query_scalar!(
        r#"insert into destination as t (id, organization_id, kind, address, address_folded, verified_at, verification_hash,
                                         verification_sent_at, signing_secret)
           values ($1, $2, $3, $4, $5, case when $6 then now() end, $7, case when $7::bytea is not null then now() end, $8)
           on conflict (organization_id, address_folded) do update set verified_at = excluded.verified_at
             where t.verified_at is null and excluded.verified_at is not null
           returning xmax = 0 as "made!""#,
        new.id.0,
        organization.0,
        new.kind as DestinationKind,
        new.address,
        new.address_folded,
        new.verified,
        new.verification_hash,
        new.signing_secret
    )
    .fetch_optional(&mut *connection)
    .await?;
    let found = sqlx::query_as!(
        Destination,
        r#"select id as "id: DestinationId", organization_id as "organization: OrganizationId", kind as "kind: DestinationKind", address,
                  verified_at, verification_sent_at, failing_since, created_at
           from destination where organization_id = $1 and address_folded = $2"#,
        organization.0,
        new.address_folded
    )
    .fetch_one(connection)
    .await?;
    Ok((found, made.unwrap_or_default()))
}

/// How many destinations wait for their confirmation: each has cost somebody a mail.
///
/// # Errors
/// When the database fails.
pub async fn count_unverified(executor: impl PgExecutor<'_>, organization: OrganizationId) -> Result<i64> {
    // destinations::count_unverified
    Ok(sqlx::query_scalar!(
        r#"select count(*) as "count!" from destination where organization_id = $1 and verified_at is null"#,
        organization.0
    )
    .fetch_one(executor)
    .await?)
}

/// One destination.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn find(executor: impl PgExecutor<'_>, organization: OrganizationId, id: DestinationId) -> Result<Destination> {
    // destinations::find
    Ok(sqlx::query_as!(
        Destination,
        r#"select id as "id: DestinationId", organization_id as "organization: OrganizationId", kind as "kind: DestinationKind", address,
                  verified_at, verification_sent_at, failing_since, created_at
           from destination where organization_id = $1 and id = $2"#,
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?)
}

/// Those of these destinations that the organization has, in their order; each is named by its address, its URL or its id (`dst_…`), as a
/// rule's redirect names it.
///
/// # Errors
/// When the database fails.
pub async fn named(executor: impl PgExecutor<'_>, organization: OrganizationId, texts: &[String]) -> Result<Vec<Target>> {
    let ids: Vec<Option<Uuid>> = texts.iter().map(|text| text.parse::<DestinationId>().ok().map(|id| id.0)).collect();
    let folded: Vec<String> = texts.iter().map(|text| fold(text)).collect();
    // destinations::named
    let found = sqlx::query_scalar!(
        r#"select coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'kind', t.kind, 'address', t.address,
                                                        'verified', t.verified_at is not null) order by w.position), '[]')
             as "targets!: Json<Vec<TargetRow>>"
           from unnest($2::uuid[], $3::text[]) with ordinality w (id, address, position)
           join destination t on t.organization_id = $1 and (t.id = w.id or t.address_folded = w.address)"#,
        organization.0,
        &ids as &[Option<Uuid>],
        &folded
    )
    .fetch_one(executor)
    .await?;
    Ok(targets(found))
}

/// What makes one destination the same as another: a mailbox without its case, a URL as it is.
#[must_use]
pub fn fold(address: &str) -> String {
    if address.contains("://") {
        return address.to_owned();
    }
    mail::Address::parse(address).map_or_else(|_| address.to_lowercase(), |address| address.folded())
}

/// What it takes to call an endpoint.
///
/// # Errors
/// `NotFound` when the organization has no endpoint of this id.
pub async fn endpoint(executor: impl PgExecutor<'_>, organization: OrganizationId, id: DestinationId) -> Result<Endpoint> {
    // destinations::endpoint
    Ok(sqlx::query_as!(
        Endpoint,
        "select address as url, signing_secret from destination where organization_id = $1 and id = $2 and kind = 'endpoint'",
        organization.0,
        id.0
    )
    .fetch_one(executor)
    .await?)
}

/// Up to `limit` destinations, the newest first, older than `after`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    filter: DestinationFilter<'_>,
    after: Option<DestinationId>,
    limit: i64,
) -> Result<Vec<Destination>> {
    // destinations::list
    Ok(sqlx::query_as!(
        Destination,
        r#"select id as "id: DestinationId", organization_id as "organization: OrganizationId", kind as "kind: DestinationKind", address,
                  verified_at, verification_sent_at, failing_since, created_at
           from destination
           where organization_id = $1 and ($2::destination_kind is null or kind = $2)
             and ($3::boolean is null or (verified_at is not null) = $3) and ($4::text is null or position(lower($4) in address_folded) > 0)
             and ($5::uuid is null or id < $5)
           order by id desc limit $6"#,
        organization.0,
        filter.kind as Option<DestinationKind>,
        filter.verified,
        filter.q,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(executor)
    .await?)
}

/// Notes that a new token is about to be mailed; the former one no longer counts. `None`: one was mailed within [`RESEND_SECONDS`], or it is
/// confirmed already.
///
/// # Errors
/// When the database fails.
pub async fn renew_token(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    id: DestinationId,
    hash: &[u8],
) -> Result<Option<Destination>> {
    // destinations::renew_token
    Ok(sqlx::query_as!(
        Destination,
        r#"update destination set verification_hash = $3, verification_sent_at = now()
           where organization_id = $1 and id = $2 and verified_at is null
             and (verification_sent_at is null or verification_sent_at < now() - make_interval(secs => $4))
           returning id as "id: DestinationId", organization_id as "organization: OrganizationId", kind as "kind: DestinationKind", address,
                     verified_at, verification_sent_at, failing_since, created_at"#,
        organization.0,
        id.0,
        hash,
        f64::from(RESEND_SECONDS)
    )
    .fetch_optional(executor)
    .await?)
}

/// Confirms a destination by the hash of its token. Whoever holds the token need not be of the organization. Confirming again is no fault.
///
/// # Errors
/// `NotFound` when there is none of this id, or the token is another or too old.
pub async fn confirm(executor: impl PgExecutor<'_>, id: DestinationId, hash: &[u8]) -> Result<Destination> {
    // destinations::confirm — the comparison is of hashes: its time tells nothing of the token
    Ok(sqlx::query_as!(
        Destination,
        r#"update destination set verified_at = coalesce(verified_at, now())
           where id = $1 and verification_hash = $2 and verification_sent_at > now() - make_interval(days => $3)
           returning id as "id: DestinationId", organization_id as "organization: OrganizationId", kind as "kind: DestinationKind", address,
                     verified_at, verification_sent_at, failing_since, created_at"#,
        id.0,
        hash,
        TOKEN_DAYS
    )
    .fetch_one(executor)
    .await?)
}

/// Gives an endpoint another signing secret, sealed.
///
/// # Errors
/// `NotFound` when the organization has no endpoint of this id.
pub async fn set_signing_secret(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    id: DestinationId,
    sealed: &[u8],
) -> Result<()> {
    // destinations::set_signing_secret
    let done = sqlx::query!(
        "update destination set signing_secret = $3 where organization_id = $1 and id = $2 and kind = 'endpoint'",
        organization.0,
        id.0,
        sealed
    )
    .execute(executor)
    .await?;
    crate::affected_one(done.rows_affected())
}

/// Forgets a destination.
///
/// # Errors
/// `NotFound` when the organization has none of this id; `Conflict("destination_in_use")` when an alias, a catch-all or a rule names it.
pub async fn delete(connection: &mut PgConnection, organization: OrganizationId, id: DestinationId) -> Result<()> {
    // destinations::delete
    let done = sqlx::query!(
        "delete from destination t where t.organization_id = $1 and t.id = $2
           and not exists (select from alias_destination l join alias a on a.id = l.alias_id
                           where l.destination_id = t.id and a.deleted_at is null)
           and not exists (select from catch_all_destination c where c.destination_id = t.id)
           and not exists (select from rule r where r.organization_id = $1 and r.definition #> '{action,destinations}' ?| array[t.address, t.address_folded, $3])",
        organization.0,
        id.0,
        id.to_string()
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    find(connection, organization, id).await?;
    Err(Error::Conflict("destination_in_use".to_owned()))
}

/// Replaces a domain's catch-all; empty takes it away. Call it inside a transaction: two statements.
///
/// # Errors
/// When the database fails. Domains and destinations of another organization are left alone.
pub async fn set_catch_all(
    connection: &mut PgConnection,
    organization: OrganizationId,
    domain: DomainId,
    destinations: &[DestinationId],
) -> Result<()> {
    let wanted: Vec<Uuid> = destinations.iter().map(|destination| destination.0).collect();
    // destinations::set_catch_all
    sqlx::query!(
        "delete from catch_all_destination c using domain d where d.id = c.domain_id and d.organization_id = $1 and d.id = $2",
        organization.0,
        domain.0
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into catch_all_destination (domain_id, destination_id, position)
         select d.id, t.id, min(w.position)::smallint from unnest($3::uuid[]) with ordinality w (id, position)
         join destination t on t.id = w.id and t.organization_id = $1
         join domain d on d.id = $2 and d.organization_id = $1
         group by d.id, t.id",
        organization.0,
        domain.0,
        &wanted
    )
    .execute(connection)
    .await?;
    Ok(())
}
