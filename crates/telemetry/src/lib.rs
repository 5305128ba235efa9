//! Logs, metrics and traces of a process: set up once, then used through `tracing` and `metrics` from anywhere.
//!
//! Promises: one JSON object per line when nobody watches, with the trace's id when there is one; metrics without a network of their own
//! ([`Metrics::render`]); traces only when a collector is named, sent from a thread of their own so that a dead collector costs nothing.
//! What must never be written above debug level stands in `docs/logging.md`. Deliberately not here: reading settings.

mod context;
mod logs;
mod metrics;
mod panics;
mod traces;

pub use context::{current_trace_id, current_traceparent, set_parent};
pub use logs::Format;
pub use metrics::{Kind as MetricKind, METRICS, Metric, Metrics};
pub use traces::Otlp;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// What to set up.
#[derive(Debug)]
pub struct Settings {
    /// The process's name in logs and traces.
    pub service_name: String,
    /// Its version.
    pub service_version: &'static str,
    /// Which events are logged and traced, in the syntax of `RUST_LOG`.
    pub filter: String,
    /// How log lines look.
    pub format: Format,
    /// Where traces go.
    pub otlp: Option<Otlp>,
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be read.
    #[error("RUST_LOG = {text:?}: {fault}. Write a level such as `info`, or `info,postroad_worker=debug`.")]
    Filter {
        /// The filter.
        text: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The exporter refuses its settings.
    #[error("traces cannot be exported: {0}")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Somebody was faster.
    #[error("telemetry was set up before in this process")]
    Twice,
}

/// Reads the filter, to find a mistake before anything starts.
///
/// # Errors
/// [`Error::Filter`].
pub fn check_filter(text: &str) -> Result<(), Error> {
    filter(text).map(|_| ())
}

fn filter(text: &str) -> Result<EnvFilter, Error> {
    EnvFilter::builder().parse(text).map_err(|fault| Error::Filter {
        text: text.into(),
        fault: fault.to_string(),
    })
}

/// Keeps telemetry going; end it with [`Guard::shutdown`].
#[derive(Debug)]
pub struct Guard {
    metrics: Metrics,
    traces: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

/// Sets up logs, metrics, traces and the panic hook for the whole process. Call it once, inside a tokio runtime.
///
/// # Errors
/// When a setting cannot be used, or this was done before.
pub fn init(settings: &Settings) -> Result<Guard, Error> {
    let filter = filter(&settings.filter)?;
    let traces = settings.otlp.as_ref().map(|otlp| traces::provider(settings, otlp)).transpose()?;
    tracing_subscriber::registry()
        .with(filter)
        .with(traces.as_ref().map(traces::layer))
        .with(logs::layer(settings.format, &settings.service_name, std::io::stderr))
        .try_init()
        .map_err(|_| Error::Twice)?;
    let metrics = Metrics::install().ok_or(Error::Twice)?;
    panics::log_panics();
    Ok(Guard { metrics, traces })
}

impl Guard {
    /// The metrics of this process.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Sends what is left. Takes at most five seconds.
    pub async fn shutdown(self) {
        if let Some(traces) = self.traces {
            // The exporter blocks: on a runtime's thread it could wait for itself.
            let sent = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(std::time::Duration::from_secs(5))).await;
            if let Ok(Err(cause)) = sent {
                tracing::warn!(%cause, "the last traces were not sent");
            }
        }
    }
}
