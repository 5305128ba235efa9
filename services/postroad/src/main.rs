//! The `postroad` program; everything is in the library.

use clap::Parser;
use std::{io::Write, process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let cli = postroad::cli::Cli::parse();
    // The one provider compiled in; a second installation can only fail because the first stands.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(postroad::run(cli));
            // A thread that is busy with a slow hash must not hold up the end.
            runtime.shutdown_timeout(Duration::from_secs(1));
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "postroad: {error:#}");
            // 2: nothing was begun, the settings are wrong.
            ExitCode::from(if error.is::<config::Invalid>() { 2 } else { 1 })
        }
    }
}
