//! The one place that contains SQL: models, queries, the queue's claims, and the migrator.
//!
//! Free functions grouped by noun; the executor comes first, then the organization, then the input, so that they compose inside a
//! caller's transaction. Every read or write of customer data takes the organization's id. Nothing here decides policy.

pub mod acceptance;
pub mod aliases;
pub mod api_keys;
pub mod attempts;
pub mod bounces;
pub mod changes;
pub mod contacts;
pub mod destinations;
pub mod dkim_keys;
pub mod domains;
pub mod durability;
pub mod events;
pub mod idempotency;
pub mod ids;
pub mod incarnations;
pub mod incoming;
pub mod lanes;
pub mod maintenance;
pub mod messages;
pub mod models;
pub mod operator;
pub mod organizations;
pub mod queue;
pub mod reports;
pub mod rules;
pub mod sender_lists;
pub mod sending;
pub mod sessions;
pub mod settings;
pub mod smtp_credentials;
pub mod suppressions;
pub mod users;
pub mod wake;

mod connection;
mod error;

pub use connection::{Options, connect, migrate, schema};
pub use error::{Error, Result};
pub use sqlx::{PgConnection, PgPool, Postgres, Transaction};

/// One row changed, or there was none to change.
fn affected_one(rows: u64) -> Result<()> {
    if rows == 0 { Err(Error::NotFound) } else { Ok(()) }
}
