//! The command line that the three services share.

use crate::{Context, Process, healthcheck, process::settings, run};
use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use config::{Config, Service};
use std::{ffi::OsString, future::Future, io::Write, net::IpAddr, process::ExitCode, time::Duration};

/// The whole of a service's `main`. Exit status 0 after a clean stop, 2 for a fault in the settings or the arguments, 1 for any other.
pub fn main<W, F>(service: Service, about: &'static str, work: W) -> ExitCode
where
    W: FnOnce(Context) -> F,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    main_with_arguments(std::env::args_os(), service, about, work)
}

/// The same with the arguments given, the program's name first.
pub fn main_with_arguments<W, F>(arguments: impl IntoIterator<Item = OsString>, service: Service, about: &'static str, work: W) -> ExitCode
where
    W: FnOnce(Context) -> F,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let arguments = command(service, about).get_matches_from(arguments);
    let config = match Config::load(service).map_err(anyhow::Error::from).and_then(|config| {
        telemetry::check_filter(&settings(&config).filter)?;
        Ok(config)
    }) {
        Ok(config) => config,
        Err(fault) => {
            say(&mut std::io::stderr(), &format!("{service}: {fault}"));
            return ExitCode::from(2);
        }
    };
    if arguments.get_flag("check-config") {
        say(
            &mut std::io::stdout(),
            &format!("{}{service}: the configuration is valid", config.effective()),
        );
        return ExitCode::SUCCESS;
    }
    match begin(service, config, &arguments, work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            say(&mut std::io::stderr(), &format!("{service}: {fault:#}"));
            ExitCode::FAILURE
        }
    }
}

fn begin<W, F>(service: Service, config: Config, arguments: &ArgMatches, work: W) -> anyhow::Result<()>
where
    W: FnOnce(Context) -> F,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let outcome = match arguments.subcommand() {
        Some(("healthcheck", given)) => {
            let url = given.get_one::<String>("url").cloned().unwrap_or_else(|| own_readiness(&config));
            runtime.block_on(healthcheck(&url))
        }
        _ => runtime.block_on(async {
            let process = Process::set_up(&config)?;
            let context = Context::new(config, process.stop())?;
            run(process, context, async |context, parts| {
                parts.spawn(service.name(), work(context.clone()));
                Ok(())
            })
            .await
        }),
    };
    // A thread that is busy with a slow hash must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn command(service: Service, about: &'static str) -> Command {
    Command::new(service.name())
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .after_help("Settings come from the environment: see docs/configuration.md.")
        .args_conflicts_with_subcommands(true)
        .arg(
            Arg::new("check-config")
                .long("check-config")
                .action(ArgAction::SetTrue)
                .help("Check the settings, show them, and exit"),
        )
        .subcommand(
            Command::new("healthcheck")
                .about("Ask whether this service is ready; exit status 0 means yes")
                .arg(Arg::new("url").value_name("URL").help("Instead of this service's own /readyz")),
        )
}

/// Where the service of these settings says whether it is ready, as seen from its own machine.
fn own_readiness(config: &Config) -> String {
    let mut address = config.ops.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            IpAddr::from([127, 0, 0, 1])
        } else {
            IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])
        });
    }
    format!("http://{address}/readyz")
}

fn say(target: &mut dyn Write, text: &str) {
    // Nobody reads: then nobody misses it.
    let _ = writeln!(target, "{}", text.trim_end());
}
