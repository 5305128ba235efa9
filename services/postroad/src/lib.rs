//! `postroad`: all three services in one process on an embedded PostgreSQL, and the operator's command line.
//!
//! The only crate that imports the services. It decides nothing about mail; it finds or makes the database, the secrets and the
//! first account, starts the services and stops them in order.

pub mod data_directory;
pub mod embedded;
