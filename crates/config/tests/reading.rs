//! What an operator experiences: values from three places, and refusals that say what to do.
#![expect(clippy::unwrap_used, reason = "a test")]

use config::{Config, ExposeSecret, Invalid, LogFormat, Mode, RelayTls, Service, reference_markdown, settings};
use std::{collections::HashMap, io, path::Path, time::Duration};

const KEY: &str = "Zk3v9Qd7Wm1xT5pR8yLc2HbN6jGf4sUa";

fn read_with(service: Service, variables: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Config, Invalid> {
    let files: HashMap<&str, &str> = files.iter().copied().collect();
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_sources(service, environment, |path: &Path| {
        let text = path.to_str().and_then(|path| files.get(path));
        text.map(|text| (*text).to_owned())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    })
}

fn read(service: Service, variables: &[(&str, &str)]) -> Result<Config, Invalid> {
    let mut all = vec![("DATABASE_URL", "postgres://u:sesame@db/postroad"), ("POSTROAD_SECRET_KEY", KEY)];
    all.extend_from_slice(variables);
    read_with(service, &all, &[])
}

fn refusal(service: Service, variables: &[(&str, &str)]) -> String {
    read(service, variables).unwrap_err().to_string()
}

#[test]
fn without_any_setting_up_starts_in_capture_mode_on_loopback() {
    let config = read_with(Service::Up, &[], &[("/etc/hostname", "laptop\n")]).unwrap();
    assert_eq!(config.delivery.mode, Mode::Capture);
    assert_eq!(config.smtp.listen[0].to_string(), "127.0.0.1:1025");
    assert!(!config.smtp.require_tls_for_auth, "a newcomer on loopback needs no certificate");
    assert_eq!(
        (config.smtp.hostname.as_str(), config.delivery.helo_name.as_str()),
        ("laptop", "laptop")
    );
    assert_eq!(config.ops.listen.port(), 9102);
    assert!(config.database.url.is_none() && config.secret_key.is_none());
    let hours: Vec<u64> = config.delivery.retry_schedule.iter().map(|wait| wait.as_secs() / 60).collect();
    assert_eq!(hours, [1, 5, 15, 60, 120, 240, 480, 960, 1440, 1440, 1440]);
    assert_eq!(config.delivery.expire_after, Duration::from_secs(5 * 86_400));
}

#[test]
fn up_on_an_outside_address_hides_auth_before_tls() {
    let listen = [("POSTROAD_SMTP__LISTEN", "127.0.0.1:1025,0.0.0.0:2525")];
    assert!(read(Service::Up, &listen).unwrap().smtp.require_tls_for_auth);
    assert!(read(Service::Smtp, &[]).unwrap().smtp.require_tls_for_auth);
}

#[test]
fn defaults_differ_per_service() {
    let port = |service| read(service, &[]).unwrap().ops.listen.port();
    assert_eq!(
        [Service::Smtp, Service::Api, Service::Worker, Service::Up].map(port),
        [9101, 9102, 9103, 9102]
    );
    assert_eq!(read(Service::Worker, &[]).unwrap().delivery.mode, Mode::Direct);
}

#[test]
fn the_three_services_need_a_database_and_a_secret() {
    for service in [Service::Smtp, Service::Api, Service::Worker] {
        let refused = read_with(service, &[], &[]).unwrap_err();
        let names: Vec<&str> = refused.problems.iter().map(|problem| problem.name.as_str()).collect();
        assert_eq!(names, ["DATABASE_URL", "POSTROAD_SECRET_KEY"], "{refused}");
    }
    assert!(read_with(Service::Cli, &[], &[]).is_ok());
}

#[test]
fn all_faults_are_reported_at_once_with_name_value_and_cure() {
    let refused = refusal(
        Service::Up,
        &[
            ("POSTROAD_SMTP__LISTEN", "1025"),
            ("POSTROAD_SMTP__LITSEN_TLS", "0.0.0.0:465"),
            ("POSTROAD_SMTP__MAX_RECIPIENTS", "many"),
            ("POSTROAD_DELIVERY__EXPIRE_AFTER", "5"),
            ("POSTROAD_DELIVERY__MODE", "drop"),
            ("POSTROAD_DELIVERY__ALLOW_NETWORKS", "10.0.0.1/8"),
        ],
    );
    for expected in [
        "has 6 problems",
        "POSTROAD_SMTP__LISTEN = \"1025\": has \"1025\", which is not an IP address with a port. Write IP addresses with ports",
        "POSTROAD_SMTP__LITSEN_TLS: there is no such setting. Did you mean POSTROAD_SMTP__LISTEN_TLS?",
        "POSTROAD_SMTP__MAX_RECIPIENTS = \"many\": is not a whole number. Write a whole number from 100 to 50000",
        "POSTROAD_DELIVERY__EXPIRE_AFTER = \"5\": has no unit. Write a number and a unit",
        "POSTROAD_DELIVERY__MODE = \"drop\": is not one of its words. Write `direct`, `relay`, `capture`",
        "did you mean 10.0.0.0/8?",
    ] {
        assert!(refused.contains(expected), "{expected}\n--- is missing in ---\n{refused}");
    }
}

#[test]
fn names_injected_by_kubernetes_are_ignored_and_slips_are_not() {
    let injected = [
        ("POSTROAD_SMTP_SERVICE_HOST", "10.0.0.1"),
        ("POSTROAD_SMTP_SERVICE_PORT", "25"),
        ("POSTROAD_SMTP_SERVICE_PORT_SUBMISSION", "587"),
        ("POSTROAD_SMTP_PORT", "tcp://10.0.0.1:25"),
        ("POSTROAD_SMTP_PORT_25_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(read(Service::Smtp, &injected).is_ok());
    assert!(refusal(Service::Smtp, &[("POSTROAD_DELIVRY__MX_PORT", "25")]).contains("Did you mean POSTROAD_DELIVERY__MX_PORT?"));
    assert!(refusal(Service::Smtp, &[("POSTROAD_COLOUR", "red")]).contains("there is no such setting"));
}

#[test]
fn one_set_of_variables_serves_every_service() {
    let shared = [
        ("POSTROAD_API__LISTEN", "0.0.0.0:8000"),
        ("POSTROAD_DELIVERY__MX_PORT", "2525"),
        ("POSTROAD_OPS__LISTEN", "0.0.0.0:9100"),
    ];
    for service in [Service::Smtp, Service::Api, Service::Worker] {
        assert_eq!(read(service, &shared).unwrap().delivery.mx_port, 2525);
    }
}

#[test]
fn every_variable_also_reads_a_file() {
    let variables = [
        ("POSTROAD_SECRET_KEY_FILE", "/run/secrets/key"),
        ("DATABASE_URL_FILE", "/run/secrets/db"),
        ("RUST_LOG_FILE", "/log"),
    ];
    let files = [
        ("/run/secrets/key", "Zk3v9Qd7Wm1xT5pR8yLc2HbN6jGf4sUa\n"),
        ("/run/secrets/db", "postgres://db/x\n"),
        ("/log", "debug"),
    ];
    let config = read_with(Service::Api, &variables, &files).unwrap();
    assert_eq!(config.secret_key.unwrap().expose_secret(), KEY);
    assert_eq!(config.log.filter, "debug");

    let refused = read_with(Service::Api, &variables, &files[..1]).unwrap_err().to_string();
    assert!(
        refused.contains("DATABASE_URL_FILE = \"/run/secrets/db\": cannot be read"),
        "{refused}"
    );
    let both = read(Service::Api, &[("POSTROAD_SECRET_KEY_FILE", "/run/secrets/key")])
        .unwrap_err()
        .to_string();
    assert!(both.contains("POSTROAD_SECRET_KEY is given as well"), "{both}");
}

#[test]
fn the_environment_comes_before_the_toml_file() {
    let toml = "secret_key = \"Zk3v9Qd7Wm1xT5pR8yLc2HbN6jGf4sUa\"\n[database]\nurl = \"postgres://db/x\"\nmax_connections = 7\n[smtp]\nlisten = [\"127.0.0.1:2525\", \"127.0.0.1:2526\"]\nrequire_tls_for_auth = false\n[delivery]\nmx_port = 2600\n[log]\nformat = \"json\"\n";
    let variables = [("POSTROAD_CONFIG", "/etc/postroad.toml"), ("POSTROAD_DELIVERY__MX_PORT", "2700")];
    let config = read_with(Service::Smtp, &variables, &[("/etc/postroad.toml", toml)]).unwrap();
    assert_eq!(
        (config.delivery.mx_port, config.database.max_connections, config.smtp.listen.len()),
        (2700, 7, 2)
    );
    assert!(!config.smtp.require_tls_for_auth);
    assert_eq!(config.log.format, LogFormat::Json);
    let effective = config.effective();
    assert!(effective.contains("POSTROAD_DELIVERY__MX_PORT = 2700 (environment)"), "{effective}");
    assert!(
        effective.contains("POSTROAD_DATABASE__MAX_CONNECTIONS = 7 (/etc/postroad.toml)"),
        "{effective}"
    );
}

#[test]
fn a_toml_file_is_held_to_the_table_too() {
    let file = |text: &str| {
        read_with(Service::Cli, &[("POSTROAD_CONFIG", "/p.toml")], &[("/p.toml", text)])
            .unwrap_err()
            .to_string()
    };
    assert!(file("[smpt]\nlisten = \"x\"").contains("smpt in /p.toml: there is no such setting"));
    assert!(file("[smtp]\nlisten_tsl = \"x\"").contains("Did you mean smtp.listen_tls?"));
    assert!(file("[smtp]\nmax_recipients = -1").contains("POSTROAD_SMTP__MAX_RECIPIENTS (smtp.max_recipients in /p.toml) = \"-1\""));
    assert!(file("[smtp.listen]\na = 1").contains("cannot be a table"));
    assert!(file("smtp = 1").contains("there is no such setting"));
    let broken = file("[smtp]\nlisten = \"127.0.0.1:25\"\nsecret_key = \"hunter2 hunter2\" oops");
    assert!(broken.contains("is not TOML: line 3") && !broken.contains("hunter2"), "{broken}");
    let missing = read_with(Service::Cli, &[("POSTROAD_CONFIG", "/none.toml")], &[])
        .unwrap_err()
        .to_string();
    assert!(missing.contains("POSTROAD_CONFIG = \"/none.toml\": cannot be read"), "{missing}");
}

#[test]
fn weak_secrets_are_refused_by_name_and_never_shown() {
    for weak in [
        "feeble",
        "changeme-changeme-changeme-changeme!",
        "Change_Me_0123456789abcdefghijklmnopq",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let refused = read_with(Service::Up, &[("POSTROAD_SECRET_KEY", weak)], &[])
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("POSTROAD_SECRET_KEY = [redacted]: ") && refused.contains("openssl rand"),
            "{refused}"
        );
        assert!(!refused.contains(weak), "{refused}");
    }
}

#[test]
fn contradictions_are_refused() {
    let table: &[(&[(&str, &str)], &str)] = &[
        (
            &[("POSTROAD_DELIVERY__MODE", "relay")],
            "POSTROAD_DELIVERY__MODE = \"relay\": needs POSTROAD_DELIVERY__RELAY_URL",
        ),
        (
            &[("POSTROAD_DELIVERY__RELAY_TLS", "never")],
            "is given without POSTROAD_DELIVERY__RELAY_URL",
        ),
        (
            &[
                ("POSTROAD_DELIVERY__RELAY_URL", "smtps://up.test"),
                ("POSTROAD_DELIVERY__RELAY_TLS", "never"),
            ],
            "contradicts the `smtps:`",
        ),
        (
            &[("POSTROAD_SMTP__TLS_CERT", "/c.pem")],
            "POSTROAD_SMTP__TLS_CERT = \"/c.pem\": is given without POSTROAD_SMTP__TLS_KEY",
        ),
        (&[("POSTROAD_DELIVERY__EXPIRE_AFTER", "30s")], "so nothing would be tried twice"),
        (
            &[("POSTROAD_BOOTSTRAP__ADMIN_PASSWORD", "long enough to be one")],
            "is given without POSTROAD_BOOTSTRAP__ADMIN_EMAIL",
        ),
        (
            &[
                ("POSTROAD_BOOTSTRAP__ADMIN_EMAIL", "a@b.test"),
                ("POSTROAD_BOOTSTRAP__ADMIN_PASSWORD", "short"),
            ],
            "is shorter than 12 characters",
        ),
        (
            &[("POSTROAD_API__LISTEN", "127.0.0.1:1025")],
            "takes 127.0.0.1:1025, which POSTROAD_SMTP__LISTEN takes as well",
        ),
        (
            &[("POSTROAD_OPS__LISTEN", "0.0.0.0:8000")],
            "which POSTROAD_API__LISTEN takes as well",
        ),
        (
            &[("POSTROAD_INTAKE__MAX_WAITING_BYTES", "2000000")],
            "the largest message could never wait",
        ),
        (&[("POSTROAD_API__CORS_ORIGINS", "*")], "would open the interface to every site"),
        (&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "Write `http/protobuf`"),
        (&[("POSTROAD_SMTP__HOSTNAME", "mx.test\r\nMAIL FROM:<>")], "is not a domain name"),
    ];
    for (variables, expected) in table {
        let refused = refusal(Service::Up, variables);
        assert!(
            refused.contains(expected) && refused.contains("has a problem"),
            "{expected}\n--- is missing in ---\n{refused}"
        );
    }
}

#[test]
fn a_relay_url_alone_chooses_relay_mode() {
    let config = read(Service::Up, &[("POSTROAD_DELIVERY__RELAY_URL", "smtp://me:pa%40ss@up.test:2587")]).unwrap();
    let relay = config.delivery.relay.unwrap();
    assert_eq!(
        (config.delivery.mode, relay.tls, relay.port),
        (Mode::Relay, RelayTls::Required, 2587)
    );
    assert_eq!(relay.login.unwrap().1.expose_secret(), "pa@ss");
    let explicit = [
        ("POSTROAD_DELIVERY__RELAY_URL", "smtp://up.test"),
        ("POSTROAD_DELIVERY__MODE", "direct"),
    ];
    assert_eq!(read(Service::Up, &explicit).unwrap().delivery.mode, Mode::Direct);
}

#[test]
fn secrets_appear_neither_in_debug_nor_in_the_effective_configuration() {
    let config = read(
        Service::Up,
        &[
            ("POSTROAD_DELIVERY__RELAY_URL", "smtp://me:sesame@up.test"),
            ("REDIS_URL", "redis://:sesame@redis"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20sesame"),
            ("POSTROAD_BOOTSTRAP__ADMIN_EMAIL", "a@b.test"),
            ("POSTROAD_BOOTSTRAP__ADMIN_PASSWORD", "open sesame now"),
        ],
    )
    .unwrap();
    let shown = format!("{config:?}\n{}", config.effective());
    assert!(!shown.contains("sesame") && !shown.contains(KEY), "{shown}");
    assert!(config.effective().contains("DATABASE_URL = [redacted] (environment)"));
    assert_eq!(config.otel.headers[0].1.expose_secret(), "Bearer sesame");
}

#[test]
fn the_effective_configuration_names_every_setting() {
    let effective = read(Service::Up, &[]).unwrap().effective();
    for setting in settings() {
        assert!(
            effective.lines().any(|line| line.split(' ').next() == Some(setting.name)),
            "{} is missing:\n{effective}",
            setting.name
        );
    }
    assert!(effective.contains("POSTROAD_DELIVERY__MODE = capture (computed)"), "{effective}");
    assert!(effective.contains("REDIS_URL (not set)"), "{effective}");
}

#[test]
fn traces_go_where_the_standard_names_say() {
    let config = read(
        Service::Api,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ],
    )
    .unwrap();
    assert_eq!(config.otel.traces_endpoint.unwrap().as_str(), "http://collector:4318/v1/traces");
    assert!((config.otel.sample_ratio - 0.25).abs() < f64::EPSILON);
    let disabled = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_SDK_DISABLED", "true"),
    ];
    assert!(read(Service::Api, &disabled).unwrap().otel.traces_endpoint.is_none());
}

#[test]
fn an_empty_value_counts_as_not_given() {
    let config = read(Service::Up, &[("POSTROAD_SMTP__LISTEN_TLS", ""), ("REDIS_URL", " ")]).unwrap();
    assert!(config.smtp.listen_tls.is_empty() && config.redis.url.is_none());
}

#[test]
fn the_reference_page_is_the_one_committed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if std::env::vars_os().any(|(name, _)| name == "UPDATE") {
        std::fs::write(&path, reference_markdown()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == reference_markdown(),
        "docs/configuration.md is out of date: run `UPDATE=1 cargo nextest run -p config`"
    );
}
