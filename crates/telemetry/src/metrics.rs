//! Prometheus metrics: the table of those we publish, the buckets of histograms, and their text.

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{fmt, time::Duration};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One metric that this product publishes.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name; the unit is in it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it says, for the operator.
    pub help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        help,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        help,
    }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram,
        help,
    }
}

/// Every metric, whichever process publishes it. A test holds the code to it.
pub const METRICS: &[Metric] = &[
    counter("postroad_messages_accepted_total", "Messages committed and answered with success."),
    counter("postroad_messages_received_total", "Messages taken for addresses hosted here."),
    counter("postroad_messages_replayed_total", "Sends answered from an idempotency record."),
    counter("postroad_messages_refused_total", "Messages refused, by reason."),
    gauge("postroad_smtp_sessions", "SMTP sessions open now."),
    counter("postroad_smtp_sessions_total", "SMTP sessions ended, by how."),
    counter(
        "postroad_smtp_connections_refused_total",
        "SMTP connections turned away at a cap, by reason.",
    ),
    counter(
        "postroad_smtp_accept_failures_total",
        "Pauses of accepting SMTP connections for want of resources.",
    ),
    counter("postroad_smtp_logins_total", "SMTP logins, by outcome."),
    counter(
        "postroad_smtp_refused_total",
        "SMTP commands answered 4xx or 5xx, by verb and code.",
    ),
    counter("postroad_bounces_received_total", "Bounces taken at our return paths."),
    histogram("postroad_intake_batch_messages", "Messages of one intake commit."),
    histogram("postroad_intake_commit_seconds", "Duration of one intake commit."),
    counter(
        "postroad_commit_unanswered_total",
        "Commits whose outcome had to be looked up because the connection was lost.",
    ),
    counter("postroad_attempts_total", "Delivery attempts, by outcome."),
    histogram("postroad_attempt_seconds", "Duration of one delivery attempt."),
    histogram("postroad_outcome_batch_size", "Outcomes written in one transaction."),
    histogram("postroad_outcome_write_seconds", "Duration of one write of outcomes."),
    counter(
        "postroad_outcomes_fenced_total",
        "Outcomes refused because the claim belonged to somebody else by then.",
    ),
    histogram("postroad_claim_batch_size", "Deliveries claimed at a time."),
    counter(
        "postroad_claims_lost_total",
        "Claims taken back from workers that died, each an attempt in doubt.",
    ),
    counter(
        "postroad_quarantined_total",
        "Deliveries set aside because trying them kept failing in this program.",
    ),
    counter(
        "postroad_destination_rests_total",
        "Times that a destination was left alone because it did not answer.",
    ),
    gauge("postroad_queue_rows", "Deliveries in the queue."),
    gauge(
        "postroad_queue_oldest_due_seconds",
        "How long the oldest due delivery has been waiting.",
    ),
    counter("postroad_reports_sent_total", "Delivery reports written to senders."),
    histogram(
        "postroad_http_request_seconds",
        "Duration of one HTTP request, by method, route and status.",
    ),
    gauge(
        "postroad_database_connections",
        "Connections of this process to PostgreSQL, by state.",
    ),
    gauge("postroad_ready", "Whether this process is ready: 1, degraded: 0.5, not ready: 0."),
    gauge("postroad_rate_limit_fallback", "1 while Redis is away and limits hold per process."),
    counter("postroad_rate_limit_fallbacks_total", "Times that Redis went away."),
    counter("postroad_panics_total", "Panics; each is a fault of this program."),
];

/// From half a millisecond (a commit) to ten minutes (the wait after the final dot).
const SECONDS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 600.0,
];
const COUNTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];
const OCTETS: [f64; 8] = [1e3, 4e3, 16e3, 64e3, 256e3, 1e6, 4e6, 16e6];

/// The metrics of this process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// The text that Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Makes this the process's recorder; nothing when there is one already. Inside a tokio runtime.
    pub(crate) fn install() -> Option<Self> {
        let recorder = [
            ("_seconds", &SECONDS[..]),
            ("_bytes", &OCTETS),
            ("_messages", &COUNTS),
            ("_size", &COUNTS),
        ]
        .into_iter()
        .try_fold(PrometheusBuilder::new(), |builder, (suffix, buckets)| {
            builder.set_buckets_for_metric(Matcher::Suffix(suffix.into()), buckets)
        })
        .ok()?
        .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok()?;
        for metric in METRICS {
            let unit = if metric.name.ends_with("_seconds") {
                Unit::Seconds
            } else {
                Unit::Count
            };
            match metric.kind {
                Kind::Counter => metrics::describe_counter!(metric.name, unit, metric.help),
                Kind::Gauge => metrics::describe_gauge!(metric.name, unit, metric.help),
                Kind::Histogram => metrics::describe_histogram!(metric.name, unit, metric.help),
            }
        }
        let upkeep = handle.clone();
        // Histograms gather samples until somebody folds them; nobody may ever ask for the text.
        tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_secs(5));
            loop {
                every.tick().await;
                upkeep.run_upkeep();
            }
        });
        Some(Self(handle))
    }
}
