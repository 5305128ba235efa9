//! From the sources to the configuration; the one function that touches the process's environment.

use crate::{
    contradictions,
    error::Invalid,
    reading::Reader,
    relay::RelayTls,
    sections::{
        Aliases, Api, Bootstrap, CertificateFiles, Config, Database, Delivery, Dns, Domains, Intake, Limits, Log, LogFormat, Mode, Ops,
        Otel, Redis, Shutdown, Smtp, Webhooks,
    },
    service::Service,
    sources::{ReadFile, gather},
    values,
};
use secrecy::SecretString;
use std::{io, path::Path, time::Duration};
use url::Url;

impl Config {
    /// Reads the process's environment and the files it names.
    ///
    /// # Errors
    /// Every fault that was found, together.
    pub fn load(service: Service) -> Result<Self, Invalid> {
        let environment =
            std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        Self::from_sources(service, environment, |path| {
            std::fs::read_to_string(path).or_else(|error| {
                if path == Path::new(HOSTNAME_FILE) {
                    ask_for_hostname()
                } else {
                    Err(error)
                }
            })
        })
    }

    /// The same from an environment and a reader of files given as parameters.
    ///
    /// # Errors
    /// Every fault that was found, together.
    pub fn from_sources(
        service: Service,
        environment: impl Iterator<Item = (String, String)>,
        read_file: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, Invalid> {
        let mut reader = Reader::new(service, gather(environment, &read_file));
        let mut config = read(&mut reader, &read_file);
        contradictions::find(&mut reader, &config);
        config.lines = reader.lines();
        if reader.problems.is_empty() {
            Ok(config)
        } else {
            Err(Invalid { problems: reader.problems })
        }
    }
}

const HOSTNAME_FILE: &str = "/etc/hostname";

/// Where there is no such file (macOS), the system's own program knows.
fn ask_for_hostname() -> io::Result<String> {
    let asked = std::process::Command::new("hostname").output()?;
    Ok(String::from_utf8_lossy(&asked.stdout).into_owned())
}

fn system_name(read_file: ReadFile<'_>) -> String {
    ["/proc/sys/kernel/hostname", HOSTNAME_FILE]
        .iter()
        .filter_map(|path| read_file(Path::new(path)).ok())
        .find_map(|text| values::hostname(text.trim()).ok())
        .unwrap_or_else(|| "localhost".into())
}

fn read(reader: &mut Reader, read_file: ReadFile<'_>) -> Config {
    let _ = reader.path("POSTROAD_CONFIG");
    let smtp = smtp(reader, read_file);
    Config {
        service: reader.service,
        delivery: delivery(reader, &smtp),
        smtp,
        intake: Intake {
            max_hops: reader.integer("POSTROAD_INTAKE__MAX_HOPS"),
            batch_messages: reader.integer("POSTROAD_INTAKE__BATCH_MESSAGES"),
            batch_bytes: reader.integer("POSTROAD_INTAKE__BATCH_BYTES"),
            max_waiting_bytes: reader.integer("POSTROAD_INTAKE__MAX_WAITING_BYTES"),
        },
        api: api(reader),
        ops: Ops {
            listen: reader.address("POSTROAD_OPS__LISTEN"),
        },
        webhooks: Webhooks {
            allow_networks: reader.networks("POSTROAD_WEBHOOKS__ALLOW_NETWORKS"),
        },
        dns: Dns {
            servers: reader.name_servers("POSTROAD_DNS__SERVERS"),
            timeout: reader.duration("POSTROAD_DNS__TIMEOUT"),
        },
        domains: Domains {
            check_interval: reader.duration("POSTROAD_DOMAINS__CHECK_INTERVAL"),
        },
        aliases: Aliases {
            require_verified_destinations: reader.boolean("POSTROAD_ALIASES__REQUIRE_VERIFIED_DESTINATIONS").unwrap_or(true),
        },
        limits: Limits {
            failed_logins_per_address: reader.integer("POSTROAD_LIMITS__FAILED_LOGINS_PER_ADDRESS"),
            failed_logins_per_account: reader.integer("POSTROAD_LIMITS__FAILED_LOGINS_PER_ACCOUNT"),
            unknown_recipients_per_address: reader.integer("POSTROAD_LIMITS__UNKNOWN_RECIPIENTS_PER_ADDRESS"),
            window: reader.duration("POSTROAD_LIMITS__WINDOW"),
        },
        database: Database {
            url: reader.secret_url("DATABASE_URL"),
            max_connections: reader.integer("POSTROAD_DATABASE__MAX_CONNECTIONS"),
            acquire_timeout: reader.duration("POSTROAD_DATABASE__ACQUIRE_TIMEOUT"),
            statement_timeout: reader.duration("POSTROAD_DATABASE__STATEMENT_TIMEOUT"),
        },
        redis: Redis {
            url: reader.secret_url("REDIS_URL"),
            max_connections: reader.integer("POSTROAD_REDIS__MAX_CONNECTIONS"),
            timeout: reader.duration("POSTROAD_REDIS__TIMEOUT"),
        },
        bootstrap: Bootstrap {
            admin_email: reader.email("POSTROAD_BOOTSTRAP__ADMIN_EMAIL"),
            admin_password: reader.secret("POSTROAD_BOOTSTRAP__ADMIN_PASSWORD"),
        },
        secret_key: reader.secret("POSTROAD_SECRET_KEY"),
        data_dir: reader.path("POSTROAD_DATA_DIR").unwrap_or_default(),
        shutdown: Shutdown {
            grace: reader.duration("POSTROAD_SHUTDOWN__GRACE"),
        },
        log: Log {
            filter: reader.text("RUST_LOG").unwrap_or_default(),
            format: match reader.choice("POSTROAD_LOG__FORMAT") {
                Some("json") => LogFormat::Json,
                Some("pretty") => LogFormat::Pretty,
                _ => LogFormat::Auto,
            },
        },
        otel: otel(reader),
        lines: Vec::new(),
    }
}

fn smtp(reader: &mut Reader, read_file: ReadFile<'_>) -> Smtp {
    const HOSTNAME: &str = "POSTROAD_SMTP__HOSTNAME";
    const REQUIRE_TLS: &str = "POSTROAD_SMTP__REQUIRE_TLS_FOR_AUTH";
    let listen = reader.addresses("POSTROAD_SMTP__LISTEN");
    let hostname = reader.hostname(HOSTNAME);
    let hostname = hostname.unwrap_or_else(|| {
        let name = system_name(read_file);
        reader.computed(HOSTNAME, name.clone());
        name
    });
    let certificate = match (reader.path("POSTROAD_SMTP__TLS_CERT"), reader.path("POSTROAD_SMTP__TLS_KEY")) {
        (Some(chain), Some(key)) => Some(CertificateFiles { chain, key }),
        _ => None,
    };
    let require_tls_for_auth = reader.boolean(REQUIRE_TLS).unwrap_or_else(|| {
        let loopback = !listen.is_empty() && listen.iter().all(|address| address.ip().is_loopback());
        let required = reader.service != Service::Up || !loopback;
        reader.computed(REQUIRE_TLS, required.to_string());
        required
    });
    Smtp {
        listen,
        listen_tls: reader.addresses("POSTROAD_SMTP__LISTEN_TLS"),
        hostname,
        certificate,
        require_tls_for_auth,
        proxy_networks: reader.networks("POSTROAD_SMTP__PROXY_NETWORKS"),
        max_message_bytes: reader.integer("POSTROAD_SMTP__MAX_MESSAGE_BYTES"),
        max_recipients: reader.integer("POSTROAD_SMTP__MAX_RECIPIENTS"),
        max_connections: reader.integer("POSTROAD_SMTP__MAX_CONNECTIONS"),
        max_connections_per_address: reader.integer("POSTROAD_SMTP__MAX_CONNECTIONS_PER_ADDRESS"),
        max_messages_per_connection: reader.integer("POSTROAD_SMTP__MAX_MESSAGES_PER_CONNECTION"),
        max_errors: reader.integer("POSTROAD_SMTP__MAX_ERRORS"),
        command_timeout: reader.duration("POSTROAD_SMTP__COMMAND_TIMEOUT"),
        data_timeout: reader.duration("POSTROAD_SMTP__DATA_TIMEOUT"),
        handshake_timeout: reader.duration("POSTROAD_SMTP__HANDSHAKE_TIMEOUT"),
        min_data_rate: reader.integer("POSTROAD_SMTP__MIN_DATA_RATE"),
        session_deadline: reader.duration("POSTROAD_SMTP__SESSION_DEADLINE"),
    }
}

fn api(reader: &mut Reader) -> Api {
    Api {
        listen: reader.address("POSTROAD_API__LISTEN"),
        public_url: reader.web_address("POSTROAD_API__PUBLIC_URL").unwrap_or_else(stand_in_url),
        trusted_proxies: reader.networks("POSTROAD_API__TRUSTED_PROXIES"),
        cors_origins: reader.origins("POSTROAD_API__CORS_ORIGINS"),
        rate_limit_anonymous: reader.integer("POSTROAD_API__RATE_LIMIT_ANONYMOUS"),
        rate_limit_authenticated: reader.integer("POSTROAD_API__RATE_LIMIT_AUTHENTICATED"),
        rate_limit_send: reader.integer("POSTROAD_API__RATE_LIMIT_SEND"),
        request_timeout: reader.duration("POSTROAD_API__REQUEST_TIMEOUT"),
        session_lifetime: reader.duration("POSTROAD_API__SESSION_LIFETIME"),
    }
}

fn delivery(reader: &mut Reader, smtp: &Smtp) -> Delivery {
    const MODE: &str = "POSTROAD_DELIVERY__MODE";
    const RELAY_URL: &str = "POSTROAD_DELIVERY__RELAY_URL";
    const RELAY_TLS: &str = "POSTROAD_DELIVERY__RELAY_TLS";
    const HELO_NAME: &str = "POSTROAD_DELIVERY__HELO_NAME";
    let tls = reader.choice(RELAY_TLS).map(|word| match word {
        "required" => RelayTls::Required,
        "opportunistic" => RelayTls::Opportunistic,
        _ => RelayTls::Never,
    });
    let relay = reader.relay(RELAY_URL, tls);
    if let (None, Some(relay)) = (tls, &relay) {
        let text = if relay.tls == RelayTls::Required {
            "required"
        } else {
            "opportunistic"
        };
        reader.computed(RELAY_TLS, text);
    }
    let mode = match reader.choice(MODE) {
        Some("direct") => Mode::Direct,
        Some("relay") => Mode::Relay,
        Some(_) => Mode::Capture,
        None => {
            let (mode, text) = match reader.service {
                _ if reader.is_given(RELAY_URL) => (Mode::Relay, "relay"),
                Service::Up => (Mode::Capture, "capture"),
                _ => (Mode::Direct, "direct"),
            };
            if !reader.is_given(MODE) {
                reader.computed(MODE, text);
            }
            mode
        }
    };
    let helo_name = reader.hostname(HELO_NAME).unwrap_or_else(|| {
        reader.computed(HELO_NAME, smtp.hostname.clone());
        smtp.hostname.clone()
    });
    Delivery {
        mode,
        relay,
        mx_port: reader.integer("POSTROAD_DELIVERY__MX_PORT"),
        allow_networks: reader.networks("POSTROAD_DELIVERY__ALLOW_NETWORKS"),
        expire_after: reader.duration("POSTROAD_DELIVERY__EXPIRE_AFTER"),
        retry_schedule: reader.durations("POSTROAD_DELIVERY__RETRY_SCHEDULE"),
        concurrency: reader.integer("POSTROAD_DELIVERY__CONCURRENCY"),
        connections_per_destination: reader.integer("POSTROAD_DELIVERY__CONNECTIONS_PER_DESTINATION"),
        messages_per_connection: reader.integer("POSTROAD_DELIVERY__MESSAGES_PER_CONNECTION"),
        idle_timeout: reader.duration("POSTROAD_DELIVERY__IDLE_TIMEOUT"),
        connect_timeout: reader.duration("POSTROAD_DELIVERY__CONNECT_TIMEOUT"),
        command_timeout: reader.duration("POSTROAD_DELIVERY__COMMAND_TIMEOUT"),
        final_dot_timeout: reader.duration("POSTROAD_DELIVERY__FINAL_DOT_TIMEOUT"),
        helo_name,
        poll_interval: reader.duration("POSTROAD_DELIVERY__POLL_INTERVAL"),
        quarantine_after: reader.integer("POSTROAD_DELIVERY__QUARANTINE_AFTER"),
    }
}

fn otel(reader: &mut Reader) -> Otel {
    let base = reader.web_address("OTEL_EXPORTER_OTLP_ENDPOINT").map(|mut url| {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    });
    let traces = reader.web_address("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let disabled = reader.boolean("OTEL_SDK_DISABLED").unwrap_or_default();
    let _ = reader.choice("OTEL_EXPORTER_OTLP_PROTOCOL");
    let share = reader.share("OTEL_TRACES_SAMPLER_ARG");
    let sample_ratio = match reader.choice("OTEL_TRACES_SAMPLER") {
        Some("always_off" | "parentbased_always_off") => 0.0,
        Some("traceidratio" | "parentbased_traceidratio") => share,
        _ => 1.0,
    };
    let headers = reader.pairs("OTEL_EXPORTER_OTLP_HEADERS");
    let service_name = reader.text("OTEL_SERVICE_NAME");
    if service_name.is_none() {
        let name = reader.service.name();
        reader.computed("OTEL_SERVICE_NAME", name);
    }
    Otel {
        traces_endpoint: traces.or(base).filter(|_| !disabled),
        headers: headers.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect(),
        timeout: Duration::from_millis(reader.integer("OTEL_EXPORTER_OTLP_TIMEOUT")),
        service_name,
        resource_attributes: reader.pairs("OTEL_RESOURCE_ATTRIBUTES"),
        sample_ratio,
    }
}

/// Stands where a URL could not be read; the configuration is refused then.
fn stand_in_url() -> Url {
    #[expect(clippy::expect_used, reason = "a constant, which the tests read")]
    Url::parse("http://localhost/").expect("a valid URL")
}
