//! Opening the pool, and agreement with the database about the schema.

use crate::{Error, Result};
use sqlx::{
    PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{str::FromStr, time::Duration};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// How to open a pool.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Most connections at a time.
    pub max_connections: u32,
    /// How long a caller waits for one before it is told that the database is unavailable.
    pub acquire_timeout: Duration,
    /// The longest a statement may run before the server cancels it.
    pub statement_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

/// Opens a pool on a `postgres://` URL. Connections are made on demand: a database that is down does not fail this call.
///
/// # Errors
/// When the URL cannot be read.
pub fn connect(url: &str, application: &str, options: Options) -> Result<PgPool> {
    let connection = PgConnectOptions::from_str(url)
        .map_err(Error::Other)?
        .application_name(application)
        .options([
            ("statement_timeout", options.statement_timeout.as_millis().to_string()),
            ("synchronous_commit", "on".to_owned()),
        ]);
    Ok(PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(Duration::from_secs(300))
        .connect_lazy_with(connection))
}

/// Applies every migration that is missing. Safe to call from several processes at once.
///
/// # Errors
/// When the database is out of reach, refuses a statement, or holds migrations this program does not know.
pub async fn migrate(pool: &PgPool) -> std::result::Result<(), sqlx::migrate::MigrateError> {
    MIGRATIONS.run(pool).await
}

/// Where the database's schema stands beside this program's.
pub mod schema {
    use super::{MIGRATIONS, PgPool};
    use crate::Result;

    /// The answer of [`state`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum State {
        /// Exactly what this program was built for.
        Current,
        /// Migrations are missing: run `postroad migrate`.
        Behind,
        /// Made by a later program: this one must not run on it.
        Unknown,
    }

    /// Compares the applied migrations with the ones built in.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn state(pool: &PgPool) -> Result<State> {
        // schema::state — the table is made by the first migration run, so its absence means an empty database
        let exists = sqlx::query_scalar!("select to_regclass('_sqlx_migrations') is not null")
            .fetch_one(pool)
            .await?;
        if exists != Some(true) {
            return Ok(State::Behind);
        }
        // The migrator's own table is not part of our schema, so this one query cannot be checked at compile time.
        let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as("select version, checksum from _sqlx_migrations where success order by version")
            .fetch_all(pool)
            .await?;
        let known: Vec<(i64, &[u8])> = MIGRATIONS.iter().map(|m| (m.version, &*m.checksum)).collect();
        let unknown = applied.iter().any(|(version, checksum)| !known.contains(&(*version, checksum)));
        Ok(match (unknown, applied.len() == known.len()) {
            (true, _) => State::Unknown,
            (false, true) => State::Current,
            (false, false) => State::Behind,
        })
    }
}
