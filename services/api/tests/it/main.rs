//! The real router on a real database, with a scripted DNS. One module per promise.
#![expect(clippy::unwrap_used, reason = "a fault of a test's own is a panic, which fails it")]

mod conventions;
mod domains;
mod idempotency;
mod isolation;
mod keys;
mod login;
mod messages;
mod openapi;
mod sending;
mod suppressions;
mod world;
