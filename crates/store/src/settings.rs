//! Facts about the instance itself that must outlive a process, such as the check value of its secret key.

use crate::Result;
use sqlx::PgExecutor;

/// The value of a setting, if it was ever written.
///
/// # Errors
/// When the database fails.
pub async fn get(executor: impl PgExecutor<'_>, name: &str) -> Result<Option<String>> {
    // settings::get
    Ok(sqlx::query_scalar!("select value from instance_setting where name = $1", name)
        .fetch_optional(executor)
        .await?)
}

/// Writes a setting unless it is there already; the answer is the value that stands, whoever wrote it first.
///
/// # Errors
/// When the database fails.
pub async fn get_or_insert(executor: impl PgExecutor<'_>, name: &str, value: &str) -> Result<String> {
    // settings::get_or_insert — the update that changes nothing makes RETURNING see the row of another process
    Ok(sqlx::query_scalar!(
        "insert into instance_setting (name, value) values ($1, $2)
         on conflict (name) do update set value = instance_setting.value returning value",
        name,
        value
    )
    .fetch_one(executor)
    .await?)
}

/// Writes a setting, replacing what was there.
///
/// # Errors
/// When the database fails.
pub async fn set(executor: impl PgExecutor<'_>, name: &str, value: &str) -> Result<()> {
    // settings::set
    sqlx::query!(
        "insert into instance_setting (name, value) values ($1, $2)
         on conflict (name) do update set value = excluded.value, updated_at = now()",
        name,
        value
    )
    .execute(executor)
    .await?;
    Ok(())
}
