//! The worker between a real database and a small outside world: what happens to messages. One module per kind of trouble.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on may panic"
)]

mod bounces;
mod capture;
mod conversations;
mod drain;
mod fairness;
mod kept_connections;
mod leases;
mod peer;
mod reports;
mod retries;
mod routes;
mod upstream;
mod world;
