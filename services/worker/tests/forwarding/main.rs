//! The way in and the way back: mail for aliases from the door to the mailbox, over a real database and a small outside world.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on may panic"
)]

mod bounces;
mod decisions;
mod dmarc;
mod endpoints;
mod neighbours;
mod recipients;
mod replies;
mod shapes;
mod signatures;
mod world;
