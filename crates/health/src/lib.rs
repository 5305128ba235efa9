//! Whether this process lives, whether it can do its work, and its numbers: for orchestrators, load balancers and Prometheus.
//!
//! Promises: liveness never asks anything of the database, so that an outage elsewhere does not restart us in a loop; readiness runs
//! every probe at once, waits at most two seconds for each, and asks at most once a second however many ask us; a probe that panics is a
//! probe that failed. The listener belongs on a private address: it says what is wrong and needs no credential.

mod listener;
mod readiness;

pub use listener::{router, serve};
pub use readiness::{Component, Importance, Readiness, Report, Status};
