//! What every program of ours does besides its work: read its settings, set up telemetry, open the database, show its health, and end well.
//!
//! Promises: a fault in the settings ends the program before anything starts, with all faults named; a database that is away is waited
//! for with readiness red, and its schema is checked before the work begins; on SIGTERM or SIGINT readiness goes red, the parts are told
//! to stop and may finish within the grace, and those that did not are named; a second signal ends the program at once.
//! Deliberately not here: what the parts do, and migrating the database.
//!
//! A program of one part is `service::main(Service::Smtp, "…", |context| …)`. `postroad up` composes the same pieces itself:
//! [`Process::set_up`], [`Context::new`], [`run`].

mod command_line;
mod context;
mod healthcheck;
mod parts;
mod process;
mod running;
mod schema;

pub use command_line::{main, main_with_arguments};
pub use context::Context;
pub use healthcheck::healthcheck;
pub use parts::Parts;
pub use process::Process;
pub use running::run;
pub use schema::wait_for_schema;
