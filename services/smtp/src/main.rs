//! postroad-smtp: the listener as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::main(
        config::Service::Smtp,
        "Takes mail by SMTP: from applications that log in, and reports that come back",
        postroad_smtp::start,
    )
}
