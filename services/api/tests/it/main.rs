//! The real router on a real database, with a scripted DNS. One module per promise.
#![expect(clippy::unwrap_used, reason = "a fault of a test's own is a panic, which fails it")]

mod aliases;
mod conventions;
mod domains;
mod forwarding;
mod idempotency;
mod incoming;
mod isolation;
mod keys;
mod login;
mod messages;
mod openapi;
mod sending;
mod suppressions;
mod world;
