//! Values that are fine alone and wrong together, and secrets that are none.

use crate::{
    reading::Reader,
    relay::RelayTls,
    sections::{Config, Mode},
};
use secrecy::ExposeSecret;
use std::{collections::HashSet, net::SocketAddr, time::Duration};

/// Notes every contradiction. Values that could not be read are not judged again.
pub(crate) fn find(reader: &mut Reader, config: &Config) {
    secret_key(reader, config);
    certificate(reader);
    relay(reader, config);
    retries(reader, config);
    bootstrap(reader, config);
    listeners(reader, config);
    batches(reader, config);
}

fn secret_key(reader: &mut Reader, config: &Config) {
    const NAME: &str = "POSTROAD_SECRET_KEY";
    let Some(key) = config.secret_key.as_ref().map(ExposeSecret::expose_secret) else {
        return;
    };
    let plain: String = key.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    let placeholder = [
        "changeme",
        "replaceme",
        "replacewith",
        "changethis",
        "yoursecret",
        "placeholder",
        "example",
        "insecure",
        "generateme",
    ];
    let fault = if placeholder.iter().any(|word| plain.contains(word)) {
        "is a placeholder, not a secret"
    } else if key.chars().count() < 32 {
        "is shorter than 32 characters"
    } else if key.chars().collect::<HashSet<_>>().len() < 10 {
        "repeats so few characters that it can be guessed"
    } else {
        return;
    };
    reader.fault(NAME, fault, "Make one with `openssl rand -base64 48`");
}

fn certificate(reader: &mut Reader) {
    let names = ["POSTROAD_SMTP__TLS_CERT", "POSTROAD_SMTP__TLS_KEY"];
    for (given, missing) in [(names[0], names[1]), (names[1], names[0])] {
        if reader.is_given(given) && !reader.is_given(missing) {
            reader.fault(
                given,
                format!("is given without {missing}"),
                "Give both, or neither for a self-signed certificate",
            );
        }
    }
}

fn relay(reader: &mut Reader, config: &Config) {
    const MODE: &str = "POSTROAD_DELIVERY__MODE";
    const URL: &str = "POSTROAD_DELIVERY__RELAY_URL";
    const TLS: &str = "POSTROAD_DELIVERY__RELAY_TLS";
    if config.delivery.mode == Mode::Relay && !reader.is_given(URL) {
        reader.fault(
            MODE,
            format!("needs {URL}, which is not set"),
            "Set it to `smtp://user:password@host:587`, or choose another mode",
        );
    }
    if reader.is_given(TLS) && !reader.is_given(URL) {
        reader.fault(TLS, format!("is given without {URL}"), "Give both, or neither");
    }
    if config
        .delivery
        .relay
        .as_ref()
        .is_some_and(|relay| relay.implicit_tls && relay.tls == RelayTls::Never)
    {
        reader.fault(
            TLS,
            format!("contradicts the `smtps:` of {URL}"),
            "Write `smtp:` there, or ask for TLS here",
        );
    }
}

fn retries(reader: &mut Reader, config: &Config) {
    const SCHEDULE: &str = "POSTROAD_DELIVERY__RETRY_SCHEDULE";
    const EXPIRE: &str = "POSTROAD_DELIVERY__EXPIRE_AFTER";
    let first = config.delivery.retry_schedule.first().copied().unwrap_or_default();
    if config.delivery.expire_after > Duration::ZERO && first >= config.delivery.expire_after {
        reader.fault(
            SCHEDULE,
            format!("begins with a wait as long as {EXPIRE}, so nothing would be tried twice"),
            "Shorten the first wait or lengthen the other",
        );
    }
}

fn bootstrap(reader: &mut Reader, config: &Config) {
    const EMAIL: &str = "POSTROAD_BOOTSTRAP__ADMIN_EMAIL";
    const PASSWORD: &str = "POSTROAD_BOOTSTRAP__ADMIN_PASSWORD";
    let Some(password) = &config.bootstrap.admin_password else {
        return;
    };
    if !reader.is_given(EMAIL) {
        reader.fault(PASSWORD, format!("is given without {EMAIL}"), "Give both, or neither");
    }
    if password.expose_secret().chars().count() < 12 {
        reader.fault(
            PASSWORD,
            "is shorter than 12 characters",
            "Choose a longer one, or leave it out and one is made and printed once",
        );
    }
}

/// Two listeners of one program cannot share an address; a listener on every address of a family takes its port from the others.
fn listeners(reader: &mut Reader, config: &Config) {
    let service = config.service;
    let mut listeners: Vec<(&str, SocketAddr)> = Vec::new();
    if service.serves_smtp() {
        listeners.extend(config.smtp.listen.iter().map(|address| ("POSTROAD_SMTP__LISTEN", *address)));
        listeners.extend(config.smtp.listen_tls.iter().map(|address| ("POSTROAD_SMTP__LISTEN_TLS", *address)));
    }
    if service.serves_api() {
        listeners.push(("POSTROAD_API__LISTEN", config.api.listen));
    }
    listeners.push(("POSTROAD_OPS__LISTEN", config.ops.listen));
    let clash = |a: SocketAddr, b: SocketAddr| {
        let same_family = a.is_ipv4() == b.is_ipv4();
        a.port() == b.port() && a.port() != 0 && same_family && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
    };
    for (index, (name, address)) in listeners.iter().enumerate() {
        if let Some((other, _)) = listeners[..index].iter().find(|(_, earlier)| clash(*earlier, *address)) {
            reader.fault(
                name,
                format!("takes {address}, which {other} takes as well"),
                "Give each listener an address or port of its own",
            );
        }
    }
}

fn batches(reader: &mut Reader, config: &Config) {
    const WAITING: &str = "POSTROAD_INTAKE__MAX_WAITING_BYTES";
    if config.intake.max_waiting_bytes > 0 && config.intake.max_waiting_bytes < config.smtp.max_message_bytes {
        reader.fault(
            WAITING,
            "is less than POSTROAD_SMTP__MAX_MESSAGE_BYTES, so the largest message could never wait",
            "Raise it, or lower the other",
        );
    }
}
