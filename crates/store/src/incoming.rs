//! What a domain does with mail that comes in: subaddressing, the answer of paused aliases, DMARC failures, the catch-all.

use crate::{
    Result,
    aliases::{Target, TargetRow, targets},
    destinations,
    ids::{DestinationId, DomainId, OrganizationId},
    models::DmarcFailure,
};
use sqlx::{PgConnection, PgExecutor, types::Json};
use std::collections::HashMap;
use uuid::Uuid;

/// A domain's settings for mail that comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Whether `local+tag` is `local`.
    pub subaddressing: bool,
    /// Instead of the standard refusal of a paused alias.
    pub paused_reply: Option<String>,
    /// What becomes of mail that fails DMARC.
    pub dmarc_fail: DmarcFailure,
    /// What takes mail that no alias does, in order; empty: nothing does.
    pub catch_all: Vec<Target>,
}

/// What may be changed; `None` leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct IncomingChange<'a> {
    /// Whether `local+tag` is `local`.
    pub subaddressing: Option<bool>,
    /// `Some(None)` takes it away.
    pub paused_reply: Option<Option<&'a str>>,
    /// What becomes of mail that fails DMARC.
    pub dmarc_fail: Option<DmarcFailure>,
    /// Empty takes it away.
    pub catch_all: Option<&'a [DestinationId]>,
}

/// The settings of those of these domains that the organization has.
///
/// # Errors
/// When the database fails.
pub async fn of_domains(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    domains: &[DomainId],
) -> Result<HashMap<DomainId, Incoming>> {
    let wanted: Vec<Uuid> = domains.iter().map(|id| id.0).collect();
    // incoming::of_domains
    let rows = sqlx::query!(
        r#"select d.id as "id: DomainId", d.subaddressing, d.paused_reply, d.dmarc_fail as "dmarc_fail: DmarcFailure",
                  (select coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'kind', t.kind, 'address', t.address,
                                                                'verified', t.verified_at is not null) order by c.position), '[]')
                   from catch_all_destination c join destination t on t.id = c.destination_id
                   where c.domain_id = d.id) as "catch_all!: Json<Vec<TargetRow>>"
           from domain d where d.organization_id = $1 and d.id = any($2)"#,
        organization.0,
        &wanted
    )
    .fetch_all(executor)
    .await?;
    let settings = rows.into_iter().map(|row| {
        let incoming = Incoming {
            subaddressing: row.subaddressing,
            paused_reply: row.paused_reply,
            dmarc_fail: row.dmarc_fail,
            catch_all: targets(row.catch_all),
        };
        (row.id, incoming)
    });
    Ok(settings.collect())
}

/// Changes a domain's settings. Call it inside a transaction: several statements.
///
/// # Errors
/// `NotFound` when the organization has none of this id.
pub async fn update(connection: &mut PgConnection, organization: OrganizationId, id: DomainId, change: IncomingChange<'_>) -> Result<()> {
    // incoming::update
    let done = sqlx::query!(
        "update domain set subaddressing = coalesce($3, subaddressing), paused_reply = case when $4 then $5 else paused_reply end,
                dmarc_fail = coalesce($6, dmarc_fail)
         where organization_id = $1 and id = $2",
        organization.0,
        id.0,
        change.subaddressing,
        change.paused_reply.is_some(),
        change.paused_reply.flatten(),
        change.dmarc_fail as Option<DmarcFailure>
    )
    .execute(&mut *connection)
    .await?;
    crate::affected_one(done.rows_affected())?;
    match change.catch_all {
        Some(destinations) => destinations::set_catch_all(connection, organization, id, destinations).await,
        None => Ok(()),
    }
}
