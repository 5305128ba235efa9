//! postroad-worker: delivery as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::main(
        config::Service::Worker,
        "Delivers what is in the queue, and does what has to be done on a schedule",
        postroad_worker::start,
    )
}
