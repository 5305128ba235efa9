//! The one place that contains SQL: models, queries, the queue's claims, and the migrator.
//!
//! Free functions grouped by noun; the executor comes first, then the organization, then the input, so that they compose inside a
//! caller's transaction. Every read or write of customer data takes the organization's id. Nothing here decides policy.

pub mod ids;
pub mod models;

mod connection;
mod error;

pub use connection::{Options, connect, migrate, schema};
pub use error::{Error, Result};
pub use sqlx::{PgConnection, PgPool, Postgres, Transaction};
