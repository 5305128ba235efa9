//! A small outside world for tests: a DNS server, an SMTP sink with scripted behaviour, certificates, a bare client. Loopback only.
//!
//! Databases come from `#[sqlx::test]`. Nothing here is shipped; a fault of a tool is a panic, which fails the test that uses it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a tool of tests fails by panicking")]

pub mod certificates;
pub mod client;
pub mod dns;
pub mod sink;

pub use client::Client;
pub use sink::Sink;

use std::time::Duration;

/// How long [`eventually`] waits: far longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`]; `what` says in the message what was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
