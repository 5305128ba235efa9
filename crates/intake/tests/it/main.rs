//! The door on a real database: what is stored, what is refused, and what happens when the database goes away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on may panic"
)]

mod commits;
mod completing;
mod database_proxy;
mod refusals;
mod return_paths;
mod world;
