//! What exists once in a process, however many services run in it: telemetry, the TLS provider, the signals, the limit on descriptors.

use anyhow::Context as _;
use config::{Config, ExposeSecret, LogFormat};
use rustix::process::{Resource, getrlimit, setrlimit};
use telemetry::{Format, Guard, Otlp};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The process, set up.
#[derive(Debug)]
pub struct Process {
    pub(crate) telemetry: Guard,
    stop: CancellationToken,
}

impl Process {
    /// Sets up the process; inside a tokio runtime, before anything else. From here on SIGTERM and SIGINT cancel [`Process::stop`], and a
    /// second one ends the process at once.
    ///
    /// # Errors
    /// When the log filter or the exporter's settings cannot be used, or signals cannot be caught.
    pub fn set_up(config: &Config) -> anyhow::Result<Self> {
        let telemetry = telemetry::init(&settings(config))?;
        // An error means that a provider is installed already, which is all we want.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        allow_descriptors();
        let stop = CancellationToken::new();
        watch_signals(stop.clone()).context("catching signals")?;
        Ok(Self { telemetry, stop })
    }

    /// Cancelled when the process has been told to end.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}

pub(crate) fn settings(config: &Config) -> telemetry::Settings {
    let otel = &config.otel;
    telemetry::Settings {
        service_name: otel.service_name.clone().unwrap_or_else(|| config.service.name().into()),
        service_version: env!("CARGO_PKG_VERSION"),
        filter: config.log.filter.clone(),
        format: match config.log.format {
            LogFormat::Auto => Format::Auto,
            LogFormat::Json => Format::Json,
            LogFormat::Pretty => Format::Pretty,
        },
        otlp: otel.traces_endpoint.as_ref().map(|endpoint| Otlp {
            endpoint: endpoint.to_string(),
            headers: otel
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.expose_secret().to_owned()))
                .collect(),
            timeout: otel.timeout,
            resource_attributes: otel.resource_attributes.clone(),
            sample_ratio: otel.sample_ratio,
        }),
    }
}

/// A session is a descriptor: the usual soft limit of 1024 would refuse the most of them long before our own limit does.
fn allow_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(cause) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%cause, "the limit on open files stays as it is");
        }
    }
}

fn watch_signals(stop: CancellationToken) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(
            signal = name,
            "stopping: finishing what is in progress; a second signal ends at once"
        );
        stop.cancel();
        let name = next().await;
        tracing::warn!(signal = name, "ended at once by a second signal");
        std::process::exit(130);
    });
    Ok(())
}
