//! `postroad-api`: the HTTP interface as a program of its own.

use config::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    service::main(Service::Api, "The HTTP interface of Postroad", postroad_api::start)
}
