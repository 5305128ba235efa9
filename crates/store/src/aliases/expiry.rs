//! Telling an alias's owner that it takes no more mail.

use crate::{
    Result, events,
    events::NewEvent,
    ids::{AliasId, OrganizationId},
};
use sqlx::PgPool;

/// Writes the event of up to `limit` aliases that have expired, by date or by number of messages, and were not told of. Gives how many; call
/// again while that is the limit.
///
/// # Errors
/// When the database is out of reach.
pub async fn tell_expired(pool: &PgPool, limit: i64) -> Result<u64> {
    let mut transaction = pool.begin().await?;
    // aliases::tell_expired — two halves, so that each finds its index
    let told = sqlx::query!(
        r#"with due as (
             (select id from alias where expires_at <= now() and not expiry_told and deleted_at is null limit $1)
             union
             (select id from alias where max_messages is not null and message_count >= max_messages and not expiry_told and deleted_at is null
              limit $1)
           ), locked as (
             select a.id, a.local_part || '@' || d.name as address from alias a join domain d on d.id = a.domain_id
             where a.id in (select id from due) and not a.expiry_told order by a.id limit $1 for update of a skip locked
           )
           update alias a set expiry_told = true from locked where a.id = locked.id
           returning a.id as "id: AliasId", a.organization_id as "organization: OrganizationId", locked.address as "address!""#,
        limit
    )
    .fetch_all(&mut *transaction)
    .await?;
    for alias in &told {
        let event = NewEvent {
            kind: "alias.expired",
            message: None,
            recipient: None,
            data: serde_json::json!({ "alias": alias.id, "address": alias.address }),
        };
        events::insert(&mut *transaction, alias.organization, event).await?;
    }
    transaction.commit().await?;
    Ok(told.len() as u64)
}
