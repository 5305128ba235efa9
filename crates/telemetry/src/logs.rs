//! Log lines: JSON for machines, one object per line, or compact text for people.

use opentelemetry::{Context, trace::TraceContextExt};
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};
use std::{fmt, io::IsTerminal};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    fmt::{
        FmtContext, FormatEvent, FormattedFields, MakeWriter,
        format::{JsonFields, Writer},
    },
    registry::LookupSpan,
};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Pretty when standard error is a terminal, JSON otherwise.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Pretty,
}

pub(crate) fn layer<S, W>(format: Format, service_name: &str, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let terminal = std::io::stderr().is_terminal();
    let pretty = match format {
        Format::Auto => terminal,
        Format::Json => false,
        Format::Pretty => true,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    if pretty {
        layer.compact().with_ansi(terminal).boxed()
    } else {
        let service = service_name.to_owned();
        layer.fmt_fields(JsonFields::new()).event_format(Json { service }).boxed()
    }
}

/// `timestamp`, `level`, `service`, `target`, `message`, then the fields of the spans from the outside in and of the event itself (the
/// innermost wins), then `trace_id` and `span_id` when a trace is made.
struct Json {
    service: String,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for Json {
    fn format_event(&self, context: &FmtContext<'_, S, JsonFields>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Map::new();
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            let extensions = span.extensions();
            let text = extensions.get::<FormattedFields<JsonFields>>().map(|fields| fields.fields.as_str());
            if let Some(Ok(Value::Object(more))) = text.map(serde_json::from_str) {
                fields.extend(more);
            }
        }
        event.record(&mut Recorder(&mut fields));
        let metadata = event.metadata();
        let trace = Context::current();
        let span = trace.span().span_context().clone();
        let mut line = Vec::with_capacity(256);
        let mut serializer = serde_json::Serializer::new(&mut line);
        let written = serializer.serialize_map(None).and_then(|mut map| {
            map.serialize_entry(
                "timestamp",
                &chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            )?;
            map.serialize_entry("level", metadata.level().as_str())?;
            map.serialize_entry("service", &self.service)?;
            map.serialize_entry("target", metadata.target())?;
            map.serialize_entry("message", &fields.remove("message").unwrap_or_default())?;
            for (name, value) in &fields {
                // A field cannot pose as one of the line's own.
                if OWN.contains(&name.as_str()) {
                    map.serialize_entry(&format!("field.{name}"), value)?;
                } else {
                    map.serialize_entry(name, value)?;
                }
            }
            if span.is_valid() {
                map.serialize_entry("trace_id", &span.trace_id().to_string())?;
                map.serialize_entry("span_id", &span.span_id().to_string())?;
            }
            map.end()
        });
        written.map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", String::from_utf8_lossy(&line))
    }
}

const OWN: [&str; 7] = ["timestamp", "level", "service", "target", "message", "trace_id", "span_id"];

struct Recorder<'a>(&'a mut Map<String, Value>);

impl Recorder<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().trim_start_matches("r#").to_owned(), value);
    }
}

impl Visit for Recorder<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        self.put(field, text.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, events: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::registry().with(layer(format, "postroad-test", move || writer.clone()));
        tracing::subscriber::with_default(subscriber, events);
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_is_one_json_object_with_the_spans_fields() {
        let text = logged(Format::Json, || {
            let outer = tracing::info_span!("session", session = 7, tls = false);
            let inner = outer.in_scope(|| tracing::info_span!("message", tls = true));
            inner.in_scope(|| tracing::warn!(code = 451, cause = %"away\nforged line", level = "none", "try \"again\""));
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["service"], "postroad-test");
        assert_eq!(line["message"], "try \"again\"");
        assert_eq!(
            (&line["session"], &line["tls"], &line["code"]),
            (&7.into(), &true.into(), &451.into())
        );
        assert_eq!(line["cause"], "away\nforged line");
        assert_eq!(line["field.level"], "none");
        assert!(line.get("trace_id").is_none());
        assert!(text.starts_with("{\"timestamp\":"), "{text}");
        assert!(chrono::DateTime::parse_from_rfc3339(line["timestamp"].as_str().unwrap()).is_ok());
    }

    #[test]
    fn a_line_inside_a_trace_names_it() {
        use opentelemetry::trace::TracerProvider;
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")))
            .with(layer(Format::Json, "postroad-test", move || writer.clone()));
        let trace_id = tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("session").in_scope(|| {
                tracing::info!("inside");
                crate::current_trace_id()
            })
        });
        let line: Value = serde_json::from_slice(&buffer.0.lock().unwrap()).unwrap();
        assert!(trace_id.is_some());
        assert_eq!(line["trace_id"].as_str().map(ToOwned::to_owned), trace_id);
        assert_eq!(line["span_id"].as_str().map(str::len), Some(16));
    }

    #[test]
    fn people_get_a_line_they_can_read() {
        let text = logged(Format::Pretty, || tracing::info!(port = 1025, "listening"));
        assert!(text.contains("INFO") && text.contains("listening port=1025"), "{text}");
    }
}
