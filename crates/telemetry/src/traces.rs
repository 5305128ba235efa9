//! Traces over OTLP (HTTP, protobuf), exported in batches by a thread of their own.

use crate::{Error, Settings};
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider, Tracer},
};
use std::{fmt, time::Duration};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

/// Where traces go, and which.
#[derive(Clone)]
pub struct Otlp {
    /// The whole address, `/v1/traces` included.
    pub endpoint: String,
    /// Further request headers; may hold a token.
    pub headers: Vec<(String, String)>,
    /// How long one export may take.
    pub timeout: Duration,
    /// Attributes of the process.
    pub resource_attributes: Vec<(String, String)>,
    /// Share of new traces that is kept, 0 to 1; a caller's decision is followed.
    pub sample_ratio: f64,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp")
            .field("endpoint", &self.endpoint)
            .field("sample_ratio", &self.sample_ratio)
            .finish_non_exhaustive()
    }
}

pub(crate) fn provider(settings: &Settings, otlp: &Otlp) -> Result<SdkTracerProvider, Error> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&otlp.endpoint)
        .with_timeout(otlp.timeout)
        .with_headers(otlp.headers.iter().cloned().collect())
        .build()?;
    let attributes = otlp
        .resource_attributes
        .iter()
        .map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let resource = Resource::builder()
        .with_attributes(attributes)
        .with_attribute(KeyValue::new("service.version", settings.service_version))
        .with_service_name(settings.service_name.clone())
        .build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(otlp.sample_ratio))))
        .with_batch_exporter(exporter)
        .build())
}

pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(provider: &SdkTracerProvider) -> OpenTelemetryLayer<S, Tracer> {
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("postroad"))
        .with_location(false)
        .with_threads(false)
}
