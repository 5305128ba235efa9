//! Dashboard logins. The cookie holds a random token; only its SHA-256 arrives here.

use crate::{
    Result,
    ids::{SessionId, UserId},
};
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use sqlx::PgExecutor;
use std::net::IpAddr;

/// A login that has not ended.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// A write by cookie must echo this.
    pub csrf_token: String,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// Its last use, to the minute.
    pub last_seen_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
}

/// What begins a session.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// SHA-256 of the token.
    pub token_hash: &'a [u8],
    /// What a write must echo.
    pub csrf_token: &'a str,
    /// Where the login came from.
    pub address: Option<IpAddr>,
    /// The browser's name for itself, already shortened.
    pub user_agent: &'a str,
    /// Seconds until it ends by itself.
    pub lifetime_seconds: i64,
}

/// Begins a session.
///
/// # Errors
/// When the database fails.
pub async fn insert(executor: impl PgExecutor<'_>, user: UserId, new: NewSession<'_>) -> Result<Session> {
    // sessions::insert
    Ok(sqlx::query_as!(
        Session,
        r#"insert into session (id, user_id, token_hash, csrf_token, address, user_agent, expires_at)
           values ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7::bigint::double precision))
           returning id as "id: SessionId", user_id as "user: UserId", csrf_token, created_at, last_seen_at, expires_at"#,
        SessionId::generate().0,
        user.0,
        new.token_hash,
        new.csrf_token,
        new.address.map(IpNet::from) as Option<IpNet>,
        new.user_agent,
        new.lifetime_seconds
    )
    .fetch_one(executor)
    .await?)
}

/// The running session of a token.
///
/// # Errors
/// `NotFound` when there is none, it has ended, or it was idle for longer than `idle_seconds`.
pub async fn find_by_token(executor: impl PgExecutor<'_>, token_hash: &[u8], idle_seconds: i64) -> Result<Session> {
    // sessions::find_by_token
    Ok(sqlx::query_as!(
        Session,
        r#"select id as "id: SessionId", user_id as "user: UserId", csrf_token, created_at, last_seen_at, expires_at from session
           where token_hash = $1 and expires_at > now() and last_seen_at > now() - make_interval(secs => $2::bigint::double precision)"#,
        token_hash,
        idle_seconds
    )
    .fetch_one(executor)
    .await?)
}

/// Notes that a session was used; writes at most once a minute.
///
/// # Errors
/// When the database fails.
pub async fn touch(executor: impl PgExecutor<'_>, id: SessionId) -> Result<()> {
    // sessions::touch
    sqlx::query!(
        "update session set last_seen_at = now() where id = $1 and last_seen_at < now() - interval '1 minute'",
        id.0
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Ends the session of a token; none is no error.
///
/// # Errors
/// When the database fails.
pub async fn delete_by_token(executor: impl PgExecutor<'_>, token_hash: &[u8]) -> Result<()> {
    // sessions::delete_by_token
    sqlx::query!("delete from session where token_hash = $1", token_hash)
        .execute(executor)
        .await?;
    Ok(())
}

/// Ends every session of a person but `keep`: after a change of password.
///
/// # Errors
/// When the database fails.
pub async fn delete_of_user(executor: impl PgExecutor<'_>, user: UserId, keep: Option<SessionId>) -> Result<u64> {
    // sessions::delete_of_user
    let done = sqlx::query!(
        "delete from session where user_id = $1 and id is distinct from $2",
        user.0,
        keep.map(|id| id.0)
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected())
}

/// Removes sessions that ended by themselves. Idempotent; returns how many.
///
/// # Errors
/// When the database fails.
pub async fn delete_ended(executor: impl PgExecutor<'_>, idle_seconds: i64) -> Result<u64> {
    // sessions::delete_ended
    let done = sqlx::query!(
        "delete from session
         where expires_at <= now() or last_seen_at <= now() - make_interval(secs => $1::bigint::double precision)",
        idle_seconds
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected())
}
