//! Whether the server keeps what it has confirmed. A message is acknowledged on the strength of a commit: where a commit may be lost in
//! a power cut, or nothing can be written at all, no mail should be taken in.

use crate::Result;
use sqlx::PgExecutor;

/// What stands in the way of trusting a commit, one sentence each; empty when all is well. Seen from a session of ours: what the session
/// itself asks for (`synchronous_commit`) counts, not what the server's file says.
///
/// # Errors
/// When the database fails.
pub async fn check(executor: impl PgExecutor<'_>) -> Result<Vec<&'static str>> {
    // durability::check
    let row = sqlx::query!(
        r#"select current_setting('fsync') = 'on' as "fsync!", current_setting('full_page_writes') = 'on' as "full_page_writes!",
                  current_setting('synchronous_commit') <> 'off' as "synchronous_commit!",
                  current_setting('transaction_read_only') = 'on' as "read_only!""#
    )
    .fetch_one(executor)
    .await?;
    let faults = [
        (!row.fsync, "fsync is off: a power cut would lose acknowledged mail"),
        (!row.full_page_writes, "full_page_writes is off: a power cut could destroy pages"),
        (
            !row.synchronous_commit,
            "synchronous_commit is off: a power cut would lose acknowledged mail",
        ),
        (row.read_only, "the server is read-only: a standby, or a former primary"),
    ];
    Ok(faults.into_iter().filter_map(|(wrong, fault)| wrong.then_some(fault)).collect())
}

#[cfg(test)]
mod tests {
    use super::check;
    use sqlx::PgPool;

    #[sqlx::test(migrations = false)]
    async fn a_session_that_would_lose_mail_is_found_out(pool: PgPool) {
        let mut connection = pool.acquire().await.unwrap();
        sqlx::query("set synchronous_commit = on").execute(&mut *connection).await.unwrap();
        let before = check(&mut *connection).await.unwrap();
        assert!(
            !before
                .iter()
                .any(|fault| fault.starts_with("synchronous_commit") || fault.contains("read-only")),
            "{before:?}"
        );
        sqlx::query("set synchronous_commit = off").execute(&mut *connection).await.unwrap();
        sqlx::query("set default_transaction_read_only = on")
            .execute(&mut *connection)
            .await
            .unwrap();
        let found = check(&mut *connection).await.unwrap();
        assert_eq!(found.len(), before.len() + 2, "{found:?}");
    }
}
