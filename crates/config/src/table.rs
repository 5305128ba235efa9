//! The table of settings: the only place where a name, its default and its meaning are written.

use crate::service::Service;

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number between two bounds, both included.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number from 0 to 1.
    Share,
    /// `500ms`, `30s`, `5m`, `2h`, `5d`, `1w`, or several together: `1h30m`.
    Duration {
        /// Shortest, in milliseconds.
        min_ms: u64,
    },
    /// Durations separated by commas.
    Durations,
    /// An IP address and a port.
    Address,
    /// Addresses separated by commas.
    Addresses,
    /// IP addresses separated by commas, each with a port unless it is 53.
    NameServers,
    /// CIDRs separated by commas; a single address stands for itself.
    Networks,
    /// A URL with one of these schemes.
    Url(&'static [&'static str]),
    /// `scheme://host[:port]` separated by commas.
    Origins,
    /// A path in the file system.
    Path,
    /// A domain name.
    Hostname,
    /// A mail address.
    Email,
    /// `name=value` separated by commas.
    Pairs,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// The value that stands when none is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing.
    None,
    /// Nothing, and the three services do not start without it.
    Required,
    /// This text, in every program.
    Fixed(&'static str),
    /// A text per program.
    PerService {
        /// `postroad-smtp`
        smtp: &'static str,
        /// `postroad-api`
        api: &'static str,
        /// `postroad-worker`
        worker: &'static str,
        /// `postroad up`, and the other commands
        up: &'static str,
    },
    /// Follows from something else, described here.
    Computed(&'static str),
}

impl Fallback {
    /// The text for this program, unless there is none or it must be worked out.
    pub(crate) const fn text(self, service: Service) -> Option<&'static str> {
        match self {
            Self::None | Self::Required | Self::Computed(_) => None,
            Self::Fixed(text) => Some(text),
            Self::PerService { smtp, api, worker, up } => Some(match service {
                Service::Smtp => smtp,
                Service::Api => api,
                Service::Worker => worker,
                Service::Up | Service::Cli => up,
            }),
        }
    }
}

/// One row: one environment variable, and the same setting in the TOML file.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// What stands when it is not given.
    pub default: Fallback,
    /// Never shown.
    pub secret: bool,
    /// One sentence for the operator.
    pub doc: &'static str,
}

impl Setting {
    /// The place in the TOML file: `POSTROAD_SMTP__LISTEN` is `smtp.listen`. The path of that file itself has none.
    #[must_use]
    pub fn toml_key(&self) -> Option<String> {
        Some(match self.name {
            "POSTROAD_CONFIG" => return None,
            "DATABASE_URL" => "database.url".into(),
            "REDIS_URL" => "redis.url".into(),
            "RUST_LOG" => "log.filter".into(),
            name => match name.strip_prefix("OTEL_") {
                Some(rest) => format!("otel.{}", rest.to_ascii_lowercase()),
                None => name.trim_start_matches("POSTROAD_").replace("__", ".").to_ascii_lowercase(),
            },
        })
    }
}

/// The row of this name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    settings().iter().find(|setting| setting.name == name)
}

const fn row(name: &'static str, kind: Kind, default: Fallback, doc: &'static str) -> Setting {
    Setting {
        name,
        kind,
        default,
        secret: false,
        doc,
    }
}

const fn secret(name: &'static str, kind: Kind, default: Fallback, doc: &'static str) -> Setting {
    Setting {
        name,
        kind,
        default,
        secret: true,
        doc,
    }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

const fn lasting(min_ms: u64) -> Kind {
    Kind::Duration { min_ms }
}

/// Every setting, in the order of the documentation.
#[must_use]
pub const fn settings() -> &'static [Setting] {
    SETTINGS
}

use Fallback::{Computed, Fixed, PerService, Required};
use Kind::{
    Address, Addresses, Boolean, Choice, Durations, Email, Hostname, NameServers, Networks, Origins, Pairs, Path, Share, Text, Url,
};

const SECOND: u64 = 1_000;
const NOTHING: Fallback = Fallback::None;

#[rustfmt::skip]
const SETTINGS: &[Setting] = &[
    row("POSTROAD_CONFIG", Path, NOTHING, "A TOML file with the settings that the environment does not give."),
    secret("POSTROAD_SECRET_KEY", Text, Required, "At least 32 random characters (`openssl rand -base64 48`). Keys, cookies, tokens and stored private keys depend on it: keep it, and keep it the same in every service. `postroad up` makes one and keeps it in the data directory."),
    row("POSTROAD_DATA_DIR", Path, Fixed(".postroad"), "Directory of the embedded database and of generated secrets."),
    row("POSTROAD_SHUTDOWN__GRACE", lasting(0), Fixed("30s"), "How long work in progress may take to finish after SIGTERM. Give the container more than this."),

    secret("DATABASE_URL", Url(&["postgres", "postgresql"]), Required, "PostgreSQL 15 or newer. `postroad up` makes a private cluster when this is not given."),
    row("POSTROAD_DATABASE__MAX_CONNECTIONS", count(2, 10_000), PerService { smtp: "16", api: "16", worker: "16", up: "40" }, "Most connections of this process."),
    row("POSTROAD_DATABASE__ACQUIRE_TIMEOUT", lasting(10), Fixed("5s"), "How long to wait for a free connection before the database counts as unavailable."),
    row("POSTROAD_DATABASE__STATEMENT_TIMEOUT", lasting(100), Fixed("30s"), "The longest a statement may run before PostgreSQL cancels it."),
    secret("REDIS_URL", Url(&["redis", "rediss", "redis+unix", "unix"]), NOTHING, "Redis or Valkey, for rate limits shared between processes. Without it each process limits for itself."),
    row("POSTROAD_REDIS__MAX_CONNECTIONS", count(1, 10_000), Fixed("16"), "Most connections of this process."),
    row("POSTROAD_REDIS__TIMEOUT", lasting(1), Fixed("50ms"), "How long a rate-limit question may take before this process answers it alone."),

    row("POSTROAD_SMTP__LISTEN", Addresses, Fixed("127.0.0.1:1025"), "Submission and inbound mail, with STARTTLS. Several addresses may be given (`0.0.0.0:25,0.0.0.0:587`). Images set `0.0.0.0:1025`."),
    row("POSTROAD_SMTP__LISTEN_TLS", Addresses, NOTHING, "The same with implicit TLS (usually port 465)."),
    row("POSTROAD_SMTP__HOSTNAME", Hostname, Computed("the system's name"), "Our name in the banner, in EHLO and in Received. For direct delivery it should resolve to us, and back."),
    row("POSTROAD_SMTP__TLS_CERT", Path, NOTHING, "PEM file of the certificate chain, read again when it changes. Without one a self-signed certificate is made."),
    row("POSTROAD_SMTP__TLS_KEY", Path, NOTHING, "PEM file of the certificate's private key."),
    row("POSTROAD_SMTP__REQUIRE_TLS_FOR_AUTH", Boolean, Computed("`true`; in `postroad up` `false` when every listener is on loopback"), "Hide and refuse AUTH outside TLS."),
    row("POSTROAD_SMTP__PROXY_NETWORKS", Networks, NOTHING, "Load balancers: connections from here must begin with a PROXY v2 header, connections from elsewhere must not."),
    row("POSTROAD_SMTP__MAX_MESSAGE_BYTES", count(1_024, 1 << 30), Fixed("26214400"), "Largest message in octets, announced as SIZE."),
    row("POSTROAD_SMTP__MAX_RECIPIENTS", count(100, 50_000), Fixed("1000"), "Most recipients of one transaction; more are told to come again (452)."),
    row("POSTROAD_SMTP__MAX_CONNECTIONS", count(1, 1_000_000), Fixed("10000"), "Most sessions of this process; more are answered 421."),
    row("POSTROAD_SMTP__MAX_CONNECTIONS_PER_ADDRESS", count(1, 1_000_000), Fixed("500"), "Most sessions of one address (IPv6: one /64)."),
    row("POSTROAD_SMTP__MAX_MESSAGES_PER_CONNECTION", count(1, 1_000_000_000), Fixed("10000"), "Messages after which a session is asked to connect again (421)."),
    row("POSTROAD_SMTP__MAX_ERRORS", count(1, 10_000), Fixed("20"), "Errors after which a session is closed (421)."),
    row("POSTROAD_SMTP__COMMAND_TIMEOUT", lasting(SECOND), Fixed("5m"), "How long a client may take for one command."),
    row("POSTROAD_SMTP__DATA_TIMEOUT", lasting(SECOND), Fixed("3m"), "How long a client may be silent inside a message."),
    row("POSTROAD_SMTP__HANDSHAKE_TIMEOUT", lasting(SECOND), Fixed("30s"), "How long a TLS handshake may take."),
    row("POSTROAD_SMTP__MIN_DATA_RATE", count(0, 1 << 30), Fixed("500"), "Octets per second below which a message in transfer is given up."),
    row("POSTROAD_SMTP__SESSION_DEADLINE", lasting(10 * SECOND), Fixed("1d"), "The longest a session may last."),

    row("POSTROAD_INTAKE__MAX_HOPS", count(10, 1_000), Fixed("100"), "Received fields beyond which a message is refused as looping (5.4.6)."),
    row("POSTROAD_INTAKE__BATCH_MESSAGES", count(1, 10_000), Fixed("256"), "Most messages of one commit."),
    row("POSTROAD_INTAKE__BATCH_BYTES", count(65_536, 1 << 30), Fixed("16777216"), "Octets after which a commit takes no further message."),
    row("POSTROAD_INTAKE__MAX_WAITING_BYTES", count(1 << 20, 1 << 40), Fixed("268435456"), "Octets of messages that may wait for their commit; beyond it senders are told to come back (452, 503)."),

    row("POSTROAD_API__LISTEN", Address, Fixed("127.0.0.1:8000"), "The HTTP interface. Images set `0.0.0.0:8000`."),
    row("POSTROAD_API__PUBLIC_URL", Url(&["http", "https"]), Fixed("http://localhost:8000"), "The address under which users reach it: links, cookies, CORS."),
    row("POSTROAD_API__TRUSTED_PROXIES", Networks, NOTHING, "Reverse proxies whose X-Forwarded-For counts."),
    row("POSTROAD_API__CORS_ORIGINS", Origins, NOTHING, "Origins that may call from a browser (`https://app.example`), besides the public URL's own."),
    row("POSTROAD_API__RATE_LIMIT_ANONYMOUS", count(1, 10_000_000), Fixed("60"), "Requests per minute of one address without key or session."),
    row("POSTROAD_API__RATE_LIMIT_AUTHENTICATED", count(1, 10_000_000), Fixed("600"), "Requests per minute of one key or session."),
    row("POSTROAD_API__RATE_LIMIT_SEND", count(1, 10_000_000), Fixed("600"), "Sending requests per minute of one key."),
    row("POSTROAD_API__REQUEST_TIMEOUT", lasting(SECOND), Fixed("30s"), "How long a request may take."),
    row("POSTROAD_API__SESSION_LIFETIME", lasting(60 * SECOND), Fixed("14d"), "How long a dashboard session lasts."),

    row("POSTROAD_OPS__LISTEN", Address, PerService { smtp: "127.0.0.1:9101", api: "127.0.0.1:9102", worker: "127.0.0.1:9103", up: "127.0.0.1:9102" }, "`/livez`, `/readyz` and `/metrics`. Keep it private. Images set `0.0.0.0`."),

    row("POSTROAD_DELIVERY__MODE", Choice(&["direct", "relay", "capture"]), Computed("`direct`, or `relay` when a relay URL is given; otherwise `capture` in `postroad up`"), "To recipients' own servers, everything to one upstream server, or into the built-in mailbox (nobody is dialled)."),
    secret("POSTROAD_DELIVERY__RELAY_URL", Url(&["smtp", "smtps"]), NOTHING, "The upstream server: `smtp://user:password@host:587` (STARTTLS) or `smtps://…` (implicit TLS); special characters percent-encoded."),
    row("POSTROAD_DELIVERY__RELAY_TLS", Choice(&["required", "opportunistic", "never"]), Computed("`required` when a password is sent or the URL is `smtps:`, else `opportunistic`"), "What is asked of TLS towards the upstream server; `required` includes a certificate that holds for its name."),
    row("POSTROAD_DELIVERY__MX_PORT", count(1, 65_535), Fixed("25"), "Port of recipients' servers; for tests."),
    row("POSTROAD_DELIVERY__ALLOW_NETWORKS", Networks, NOTHING, "Networks that may be dialled although they are private or special, for SMTP."),
    row("POSTROAD_DELIVERY__EXPIRE_AFTER", lasting(SECOND), Fixed("5d"), "Age at which an undelivered message is given up."),
    row("POSTROAD_DELIVERY__RETRY_SCHEDULE", Durations, Fixed("1m,5m,15m,1h,2h,4h,8h,16h,1d,1d,1d"), "Waits between tries, jittered; the last one repeats until expiry."),
    row("POSTROAD_DELIVERY__CONCURRENCY", count(1, 100_000), Fixed("200"), "Attempts in progress in this process."),
    row("POSTROAD_DELIVERY__CONNECTIONS_PER_DESTINATION", count(1, 10_000), Fixed("10"), "Connections of this process to one destination."),
    row("POSTROAD_DELIVERY__MESSAGES_PER_CONNECTION", count(1, 1_000_000), Fixed("100"), "Messages after which a connection is closed."),
    row("POSTROAD_DELIVERY__IDLE_TIMEOUT", lasting(0), Fixed("5s"), "How long an unused connection is kept for the next message."),
    row("POSTROAD_DELIVERY__CONNECT_TIMEOUT", lasting(100), Fixed("30s"), "How long a TCP connection may take, per address."),
    row("POSTROAD_DELIVERY__COMMAND_TIMEOUT", lasting(SECOND), Fixed("5m"), "How long a server may take for its greeting and for each reply but the last."),
    row("POSTROAD_DELIVERY__FINAL_DOT_TIMEOUT", lasting(SECOND), Fixed("10m"), "How long a server may take after the final dot; a shorter value raises the number of duplicates."),
    row("POSTROAD_DELIVERY__HELO_NAME", Hostname, Computed("`POSTROAD_SMTP__HOSTNAME`"), "The name we greet other servers with."),
    row("POSTROAD_DELIVERY__POLL_INTERVAL", lasting(50), Fixed("1s"), "How often the queue is looked at when no commit has called."),
    row("POSTROAD_DELIVERY__QUARANTINE_AFTER", count(1, 1_000), Fixed("5"), "Tries that ended with the worker rather than with an outcome, after which a message is put in quarantine."),

    row("POSTROAD_WEBHOOKS__ALLOW_NETWORKS", Networks, NOTHING, "Networks that webhooks may call although they are private or special; plain `http:` works only inside them."),
    row("POSTROAD_DNS__SERVERS", NameServers, Computed("the system's"), "Name servers to ask: `127.0.0.1:5353,192.0.2.53`."),
    row("POSTROAD_DNS__TIMEOUT", lasting(100), Fixed("5s"), "How long one question may take."),
    row("POSTROAD_DOMAINS__CHECK_INTERVAL", lasting(SECOND), Fixed("6h"), "How often the DNS records of verified domains are looked at again."),
    row("POSTROAD_ALIASES__REQUIRE_VERIFIED_DESTINATIONS", Boolean, Fixed("true"), "A destination confirms by mail before anything is forwarded to it."),

    row("POSTROAD_LIMITS__FAILED_LOGINS_PER_ADDRESS", count(1, 1_000_000), Fixed("50"), "Failed logins of one address (IPv6: one /64) inside the window before it is cut off."),
    row("POSTROAD_LIMITS__FAILED_LOGINS_PER_ACCOUNT", count(1, 1_000_000), Fixed("200"), "Failed logins of one account inside the window, from wherever, before new logins to it are slowed."),
    row("POSTROAD_LIMITS__UNKNOWN_RECIPIENTS_PER_ADDRESS", count(1, 1_000_000), Fixed("100"), "Unknown recipients asked for by one address inside the window before it is slowed."),
    row("POSTROAD_LIMITS__WINDOW", lasting(SECOND), Fixed("10m"), "The window of these limits."),

    row("POSTROAD_BOOTSTRAP__ADMIN_EMAIL", Email, NOTHING, "Address of the administrator made on first start."),
    secret("POSTROAD_BOOTSTRAP__ADMIN_PASSWORD", Text, NOTHING, "Their password, at least 12 characters; one is made and printed once when this is not given."),

    row("RUST_LOG", Text, Fixed("info"), "Which events are logged: `info`, `debug`, `info,postroad_worker=debug`, …"),
    row("POSTROAD_LOG__FORMAT", Choice(&["auto", "json", "pretty"]), Fixed("auto"), "`auto` is pretty on a terminal and JSON elsewhere."),

    row("OTEL_EXPORTER_OTLP_ENDPOINT", Url(&["http", "https"]), NOTHING, "Base address of an OTLP collector (HTTP, port 4318); `/v1/traces` is appended. Traces are made only when it is given."),
    row("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Url(&["http", "https"]), NOTHING, "The whole address for traces, instead of the former."),
    row("OTEL_EXPORTER_OTLP_PROTOCOL", Choice(&["http/protobuf"]), Fixed("http/protobuf"), "The only protocol spoken."),
    secret("OTEL_EXPORTER_OTLP_HEADERS", Pairs, NOTHING, "Further request headers: `name=value,…`, percent-encoded."),
    row("OTEL_EXPORTER_OTLP_TIMEOUT", count(1, 600_000), Fixed("10000"), "How long one export may take, in milliseconds."),
    row("OTEL_SERVICE_NAME", Text, Computed("the program's name"), "`service.name` of the traces."),
    row("OTEL_RESOURCE_ATTRIBUTES", Pairs, NOTHING, "Attributes of the process: `deployment.environment.name=production,…`."),
    row("OTEL_TRACES_SAMPLER", Choice(&["always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"]), Fixed("parentbased_always_on"), "Which new traces are kept; a caller's own decision is followed in any case."),
    row("OTEL_TRACES_SAMPLER_ARG", Share, Fixed("1"), "The share kept by the two `traceidratio` samplers."),
    row("OTEL_SDK_DISABLED", Boolean, Fixed("false"), "Make no traces, whatever else is set."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_keys_are_unique_and_documented() {
        let mut seen = HashSet::new();
        for setting in settings() {
            assert!(seen.insert(setting.name.to_owned()), "{} twice", setting.name);
            assert!(
                setting.toml_key().is_none_or(|key| seen.insert(key)),
                "{} shares its key",
                setting.name
            );
            assert!(setting.doc.ends_with(['.', '…']), "{} has no sentence", setting.name);
        }
    }

    #[test]
    fn the_toml_key_follows_from_the_name() {
        let key = |name| find(name).and_then(Setting::toml_key).unwrap_or_default();
        assert_eq!(key("POSTROAD_SMTP__MAX_MESSAGE_BYTES"), "smtp.max_message_bytes");
        assert_eq!(key("POSTROAD_SECRET_KEY"), "secret_key");
        assert_eq!(key("DATABASE_URL"), "database.url");
        assert_eq!(key("OTEL_EXPORTER_OTLP_ENDPOINT"), "otel.exporter_otlp_endpoint");
    }
}
