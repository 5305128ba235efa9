//! What became of a transaction whose COMMIT was never answered.

use super::NewMessage;
use sqlx::PgPool;
use std::time::Duration;

/// How long the caller's client is kept waiting for the answer: longer, and it would give up and send again anyway.
const PATIENCE: Duration = Duration::from_secs(20);

/// The database's word about a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitVerdict {
    /// It holds.
    Committed,
    /// It never happened.
    Aborted,
    /// The database could not be asked in time.
    Unknown,
}

/// Asks until the transaction is no longer in progress; `witness` is one of its messages, looked up when its number is too old.
pub(super) async fn of(pool: &PgPool, transaction: &str, witness: &NewMessage) -> CommitVerdict {
    let asking = async {
        loop {
            match ask(pool, transaction, witness).await {
                Ok(Some(verdict)) => return verdict,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "cannot ask what became of a transaction"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or(CommitVerdict::Unknown)
}

async fn ask(pool: &PgPool, transaction: &str, witness: &NewMessage) -> Result<Option<CommitVerdict>, sqlx::Error> {
    // acceptance::verdict — null when the number is too old to be remembered, or of another cluster's future
    let asked = sqlx::query_scalar!("select pg_xact_status($1::text::xid8)", transaction)
        .fetch_one(pool)
        .await;
    match asked {
        Ok(Some(status)) if status == "committed" => return Ok(Some(CommitVerdict::Committed)),
        Ok(Some(status)) if status == "aborted" => return Ok(Some(CommitVerdict::Aborted)),
        Ok(Some(_)) => return Ok(None),
        // "transaction ID is in the future": a crash forgot it, so it was not committed here; the message decides all the same
        Ok(None) | Err(sqlx::Error::Database(_)) => {}
        Err(error) => return Err(error),
    }
    let found = sqlx::query_scalar!(
        r#"select exists (select from message where organization_id = $1 and id = $2) as "found!""#,
        witness.organization.0,
        witness.id.0
    )
    .fetch_one(pool)
    .await?;
    Ok(Some(if found { CommitVerdict::Committed } else { CommitVerdict::Aborted }))
}
