//! The settings as typed values, one struct per section. Every field's unit is in its type or its name.

use crate::{effective::Line, relay::Relay, service::Service};
use ipnet::IpNet;
use secrecy::SecretString;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use url::Url;

/// Everything an operator can set, read and found free of contradictions.
#[derive(Debug, Clone)]
pub struct Config {
    /// The program these values were read for.
    pub service: Service,
    /// The SMTP listener.
    pub smtp: Smtp,
    /// What is taken in, whatever the protocol.
    pub intake: Intake,
    /// The HTTP interface.
    pub api: Api,
    /// The operator's listener.
    pub ops: Ops,
    /// How mail leaves.
    pub delivery: Delivery,
    /// Calls to customers' HTTP endpoints.
    pub webhooks: Webhooks,
    /// Name look-ups.
    pub dns: Dns,
    /// Customers' domains.
    pub domains: Domains,
    /// Alias forwarding.
    pub aliases: Aliases,
    /// Limits on failures, whatever the protocol.
    pub limits: Limits,
    /// PostgreSQL.
    pub database: Database,
    /// Redis, if there is one.
    pub redis: Redis,
    /// The first administrator.
    pub bootstrap: Bootstrap,
    /// The instance secret; always there for the three services, made by `postroad up` when absent.
    pub secret_key: Option<SecretString>,
    /// Embedded database and generated secrets.
    pub data_dir: PathBuf,
    /// How a program ends.
    pub shutdown: Shutdown,
    /// What is written to the log.
    pub log: Log,
    /// Traces.
    pub otel: Otel,
    pub(crate) lines: Vec<Line>,
}

/// `POSTROAD_SMTP__*`: the listener for submission and inbound mail.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// Addresses with STARTTLS.
    pub listen: Vec<SocketAddr>,
    /// Addresses with implicit TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// Our name in the banner, in EHLO and in Received; a valid domain name, lower case.
    pub hostname: String,
    /// PEM files of the certificate chain and its key; a self-signed certificate is made when none is given.
    pub certificate: Option<CertificateFiles>,
    /// AUTH is offered only inside TLS.
    pub require_tls_for_auth: bool,
    /// Peers whose PROXY v2 header is believed (and required).
    pub proxy_networks: Vec<IpNet>,
    /// Largest message, in octets.
    pub max_message_bytes: usize,
    /// Most recipients of one transaction.
    pub max_recipients: usize,
    /// Most sessions of this process.
    pub max_connections: usize,
    /// Most sessions of one address (IPv6: one /64).
    pub max_connections_per_address: usize,
    /// Messages after which a session is closed with 421.
    pub max_messages_per_connection: u32,
    /// Errors after which a session is closed with 421.
    pub max_errors: u32,
    /// How long a client may take for one command.
    pub command_timeout: Duration,
    /// How long the client may be silent inside a message.
    pub data_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// Octets per second below which a message in transfer is given up.
    pub min_data_rate: u32,
    /// The longest a session may last.
    pub session_deadline: Duration,
}

/// The two PEM files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// `POSTROAD_INTAKE__*`: the door by which every message enters.
#[derive(Debug, Clone)]
pub struct Intake {
    /// `Received` fields beyond which a message is looping.
    pub max_hops: usize,
    /// Most messages of one commit.
    pub batch_messages: usize,
    /// Most octets of one commit.
    pub batch_bytes: usize,
    /// Octets of messages that may wait for their commit before new ones are told to come back.
    pub max_waiting_bytes: usize,
}

/// `POSTROAD_API__*`: the HTTP interface.
#[derive(Debug, Clone)]
pub struct Api {
    /// The address.
    pub listen: SocketAddr,
    /// The address users know; no trailing slash in its path.
    pub public_url: Url,
    /// Peers whose X-Forwarded-For counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins allowed to call from a browser; none unless given.
    pub cors_origins: Vec<String>,
    /// Requests per minute of one address that has not said who it is.
    pub rate_limit_anonymous: u32,
    /// Requests per minute of one key or session.
    pub rate_limit_authenticated: u32,
    /// Sending requests per minute of one key.
    pub rate_limit_send: u32,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long a dashboard session lasts.
    pub session_lifetime: Duration,
}

/// `POSTROAD_OPS__*`: liveness, readiness, metrics.
#[derive(Debug, Clone)]
pub struct Ops {
    /// The address.
    pub listen: SocketAddr,
}

/// What becomes of a message that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To the recipient's own servers.
    Direct,
    /// Everything to one upstream server.
    Relay,
    /// Into the built-in mailbox; nobody is dialled.
    Capture,
}

/// `POSTROAD_DELIVERY__*`: how mail leaves.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Where to.
    pub mode: Mode,
    /// The upstream server; always there in [`Mode::Relay`].
    pub relay: Option<Relay>,
    /// The port of recipients' servers.
    pub mx_port: u16,
    /// Networks exempt from the dialling guard.
    pub allow_networks: Vec<IpNet>,
    /// Age at which an undelivered message is given up.
    pub expire_after: Duration,
    /// Waits between tries, before jitter; the last one repeats. Never empty.
    pub retry_schedule: Vec<Duration>,
    /// Attempts in progress in this process.
    pub concurrency: usize,
    /// Connections of this process to one destination.
    pub connections_per_destination: usize,
    /// Messages after which a connection is not used again.
    pub messages_per_connection: u32,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// How long a TCP connection may take.
    pub connect_timeout: Duration,
    /// How long the server may take for its greeting and for each reply but the last.
    pub command_timeout: Duration,
    /// How long the server may take after the final dot.
    pub final_dot_timeout: Duration,
    /// The name we greet with; `smtp.hostname` unless given.
    pub helo_name: String,
    /// How often the queue is looked at when nobody has called.
    pub poll_interval: Duration,
    /// Claims lost without an outcome after which a message is put in quarantine.
    pub quarantine_after: u32,
}

/// `POSTROAD_WEBHOOKS__*`: calls to customers' HTTP endpoints.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Networks exempt from the dialling guard; plain `http:` is allowed only inside them.
    pub allow_networks: Vec<IpNet>,
}

/// `POSTROAD_DNS__*`: name look-ups.
#[derive(Debug, Clone)]
pub struct Dns {
    /// Servers to ask; the system's when empty.
    pub servers: Vec<SocketAddr>,
    /// How long one look-up may take.
    pub timeout: Duration,
}

/// `POSTROAD_DOMAINS__*`: customers' domains.
#[derive(Debug, Clone)]
pub struct Domains {
    /// How often the records of a verified domain are looked at again.
    pub check_interval: Duration,
}

/// `POSTROAD_ALIASES__*`: alias forwarding.
#[derive(Debug, Clone)]
pub struct Aliases {
    /// A destination confirms by mail before anything is forwarded to it.
    pub require_verified_destinations: bool,
}

/// `POSTROAD_LIMITS__*`: how many failures are answered normally before an address or account is slowed or cut off.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Failed logins of one address (IPv6: one /64) inside the window.
    pub failed_logins_per_address: u32,
    /// Failed logins of one account inside the window.
    pub failed_logins_per_account: u32,
    /// Unknown recipients asked for by one address inside the window.
    pub unknown_recipients_per_address: u32,
    /// The window.
    pub window: Duration,
}

/// `DATABASE_URL` and `POSTROAD_DATABASE__*`: PostgreSQL.
#[derive(Debug, Clone)]
pub struct Database {
    /// Always there for the three services; `postroad up` makes a cluster of its own when absent.
    pub url: Option<SecretString>,
    /// Most connections of this process.
    pub max_connections: u32,
    /// How long to wait for a free one.
    pub acquire_timeout: Duration,
    /// The longest a statement may run.
    pub statement_timeout: Duration,
}

/// `REDIS_URL` and `POSTROAD_REDIS__*`.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Limits are kept per process when absent.
    pub url: Option<SecretString>,
    /// Most connections of this process.
    pub max_connections: usize,
    /// How long one question may take before the answer is worked out in this process.
    pub timeout: Duration,
}

/// `POSTROAD_BOOTSTRAP__*`: the first administrator, made on first start.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// Their address.
    pub admin_email: Option<String>,
    /// Their password; one is made and printed when absent.
    pub admin_password: Option<SecretString>,
}

/// `POSTROAD_SHUTDOWN__*`: how a program ends.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// How long work in progress may take to finish after SIGTERM.
    pub grace: Duration,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Pretty,
}

/// `RUST_LOG` and `POSTROAD_LOG__*`.
#[derive(Debug, Clone)]
pub struct Log {
    /// Which events are written, in the syntax of `RUST_LOG`.
    pub filter: String,
    /// How they look.
    pub format: LogFormat,
}

/// `OTEL_*`: traces over OTLP (HTTP, protobuf).
#[derive(Debug, Clone)]
pub struct Otel {
    /// Where traces go, `/v1/traces` included; none are made when absent.
    pub traces_endpoint: Option<Url>,
    /// Further request headers, such as a token.
    pub headers: Vec<(String, SecretString)>,
    /// How long one export may take.
    pub timeout: Duration,
    /// Instead of the program's own name.
    pub service_name: Option<String>,
    /// Attributes of the process, such as `deployment.environment.name`.
    pub resource_attributes: Vec<(String, String)>,
    /// Share of new traces that is kept, 0 to 1; a caller's decision is followed.
    pub sample_ratio: f64,
}
