//! A panic is a fault of ours that must not pass unseen, nor break the form of the log.

/// Writes panics as log events, with their place.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let backtrace = std::backtrace::Backtrace::capture();
        let message = panic.payload_as_str().unwrap_or("not a text");
        let backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(place, thread = thread.name().unwrap_or_default(), backtrace, "panic: {message}");
        ::metrics::counter!("postroad_panics_total").increment(1);
    }));
}
