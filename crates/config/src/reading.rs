//! From gathered texts to typed values: one pass that notes every fault and goes on.

use crate::{
    effective::{Line, shown},
    error::Problem,
    relay::{Relay, RelayTls},
    service::Service,
    sources::{Gathered, Given, Source},
    table::{Fallback, Kind, Setting, find, settings},
    values,
};
use ipnet::IpNet;
use secrecy::SecretString;
use std::{collections::HashMap, net::SocketAddr, path::PathBuf, time::Duration};
use url::Url;

/// Reads settings by name. After a fault the value returned is a stand-in that nobody sees: the caller looks at `problems` at the end.
pub(crate) struct Reader {
    pub(crate) service: Service,
    pub(crate) problems: Vec<Problem>,
    given: HashMap<&'static str, Given>,
    lines: HashMap<&'static str, Line>,
}

impl Reader {
    pub(crate) fn new(service: Service, gathered: Gathered) -> Self {
        Self {
            service,
            problems: gathered.problems,
            given: gathered.given,
            lines: HashMap::new(),
        }
    }

    /// Whether somebody gave a value, well-formed or not.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Notes a fault of a setting, with its value as it may be shown.
    pub(crate) fn fault(&mut self, name: &str, fault: impl Into<String>, cure: impl Into<String>) {
        let given = self.given.get(name);
        let (name, value) = match find(name) {
            None => (name.to_owned(), None),
            Some(setting) => (
                match given.map(|given| &given.source) {
                    Some(Source::Toml(path)) => format!("{name} ({} in {path})", setting.toml_key().unwrap_or_default()),
                    Some(Source::File(path)) => format!("{name} (from {path})"),
                    _ => name.to_owned(),
                },
                given.map(|given| shown(setting, &given.text)),
            ),
        };
        self.problems.push(Problem {
            name,
            value,
            fault: fault.into(),
            cure: cure.into(),
        });
    }

    /// Records a value that followed from something else.
    pub(crate) fn computed(&mut self, name: &'static str, text: impl Into<String>) {
        self.lines.insert(
            name,
            Line {
                name,
                shown: text.into(),
                source: Source::Computed,
            },
        );
    }

    /// What took effect, in the order of the table.
    pub(crate) fn lines(&mut self) -> Vec<Line> {
        settings().iter().filter_map(|setting| self.lines.remove(setting.name)).collect()
    }

    fn read<T>(&mut self, name: &'static str, read: impl FnOnce(&Setting, &str) -> Result<T, String>) -> Option<T> {
        let Some(setting) = find(name) else {
            self.fault(name, "is not in the table of settings", "Report this fault of the program");
            return None;
        };
        let (text, source) = match self.given.get(name) {
            Some(given) => (Some(given.text.clone()), given.source.clone()),
            None => match setting.default.text(self.service) {
                Some(text) => (Some(text.to_owned()), Source::Default),
                None => (None, Source::Unset),
            },
        };
        let line = Line {
            name: setting.name,
            shown: text.as_deref().map(|text| shown(setting, text)).unwrap_or_default(),
            source,
        };
        self.lines.insert(setting.name, line);
        let Some(text) = text else {
            if setting.default == Fallback::Required && self.service.must_be_told() {
                self.fault(
                    name,
                    format!("is required by {}", self.service),
                    format!("Set it, or {name}_FILE: {}", example(setting)),
                );
            }
            return None;
        };
        match read(setting, &text) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.fault(name, fault, format!("Write {}", example(setting)));
                None
            }
        }
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.read(name, |_, text| {
            if text.chars().any(char::is_control) {
                Err("has a control character".into())
            } else {
                Ok(text.to_owned())
            }
        })
    }

    pub(crate) fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// A secret that is a URL: checked, but kept as text.
    pub(crate) fn secret_url(&mut self, name: &'static str) -> Option<SecretString> {
        self.read(name, |setting, text| match setting.kind {
            Kind::Url(schemes) => values::url(text, schemes).map(|_| SecretString::from(text.to_owned())),
            _ => Err("is not a URL in the table".into()),
        })
    }

    /// The upstream server.
    pub(crate) fn relay(&mut self, name: &'static str, tls: Option<RelayTls>) -> Option<Relay> {
        self.read(name, |_, text| Relay::parse(text, tls))
    }

    pub(crate) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        self.read(name, |_, text| values::boolean(text))
    }

    /// A bounded number; the table's bounds lie within `T`.
    pub(crate) fn integer<T: TryFrom<u64> + Default>(&mut self, name: &'static str) -> T {
        self.read(name, |setting, text| match setting.kind {
            Kind::Integer { min, max } => {
                let number = values::integer(text, min, max)?;
                T::try_from(number).map_err(|_| "is too large for this machine".to_owned())
            }
            _ => Err("is not a number in the table".into()),
        })
        .unwrap_or_default()
    }

    pub(crate) fn share(&mut self, name: &'static str) -> f64 {
        self.read(name, |_, text| values::share(text)).unwrap_or_default()
    }

    pub(crate) fn duration(&mut self, name: &'static str) -> Duration {
        self.read(name, |setting, text| {
            let duration = values::duration(text)?;
            match setting.kind {
                Kind::Duration { min_ms } if duration < Duration::from_millis(min_ms) => Err(format!("is shorter than {min_ms}ms")),
                _ => Ok(duration),
            }
        })
        .unwrap_or_default()
    }

    pub(crate) fn durations(&mut self, name: &'static str) -> Vec<Duration> {
        self.read(name, |_, text| values::durations(text)).unwrap_or_default()
    }

    pub(crate) fn address(&mut self, name: &'static str) -> SocketAddr {
        self.read(name, |_, text| values::address(text))
            .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    pub(crate) fn addresses(&mut self, name: &'static str) -> Vec<SocketAddr> {
        self.read(name, |_, text| values::addresses(text)).unwrap_or_default()
    }

    pub(crate) fn name_servers(&mut self, name: &'static str) -> Vec<SocketAddr> {
        self.read(name, |_, text| values::name_servers(text)).unwrap_or_default()
    }

    pub(crate) fn networks(&mut self, name: &'static str) -> Vec<IpNet> {
        self.read(name, |_, text| values::networks(text)).unwrap_or_default()
    }

    pub(crate) fn origins(&mut self, name: &'static str) -> Vec<String> {
        self.read(name, |_, text| values::origins(text)).unwrap_or_default()
    }

    pub(crate) fn pairs(&mut self, name: &'static str) -> Vec<(String, String)> {
        self.read(name, |_, text| values::pairs(text)).unwrap_or_default()
    }

    pub(crate) fn web_address(&mut self, name: &'static str) -> Option<Url> {
        self.read(name, |setting, text| match setting.kind {
            Kind::Url(schemes) => values::web_address(text, schemes),
            _ => Err("is not a URL in the table".into()),
        })
    }

    pub(crate) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    pub(crate) fn hostname(&mut self, name: &'static str) -> Option<String> {
        self.read(name, |_, text| values::hostname(text))
    }

    pub(crate) fn email(&mut self, name: &'static str) -> Option<String> {
        self.read(name, |_, text| values::email(text))
    }

    /// One of the words of the table.
    pub(crate) fn choice(&mut self, name: &'static str) -> Option<&'static str> {
        self.read(name, |setting, text| match setting.kind {
            Kind::Choice(words) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(text))
                .copied()
                .ok_or_else(|| "is not one of its words".into()),
            _ => Err("is not a choice in the table".into()),
        })
    }
}

/// How a value of this kind is written.
pub(crate) fn example(setting: &Setting) -> String {
    match setting.kind {
        Kind::Text if setting.secret => "at least 32 random characters, for example from `openssl rand -base64 48`".into(),
        Kind::Text => "a line of text".into(),
        Kind::Boolean => "`true` or `false`".into(),
        Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Share => "a number from 0 to 1, such as `0.1`".into(),
        Kind::Duration { .. } => "a number and a unit (ms, s, m, h, d, w), such as `30s` or `1h30m`".into(),
        Kind::Durations => "durations separated by commas, such as `1m,5m,1h`".into(),
        Kind::Address => "an IP address and a port, such as `127.0.0.1:8000` or `[::1]:8000`".into(),
        Kind::Addresses => "IP addresses with ports, such as `0.0.0.0:25,[::]:587`".into(),
        Kind::NameServers => "IP addresses, such as `192.0.2.53,127.0.0.1:5353`".into(),
        Kind::Networks => "networks separated by commas, such as `10.0.0.0/8,2001:db8::/32`".into(),
        Kind::Url(schemes) => match schemes.first().copied().unwrap_or_default() {
            "postgres" => "`postgres://user:password@host:5432/database`".into(),
            "redis" => "`redis://:password@host:6379/0`".into(),
            "smtp" => "`smtp://user:password@host:587` or `smtps://user:password@host`, special characters percent-encoded".into(),
            _ => "an address such as `https://mail.example.org`".into(),
        },
        Kind::Origins => "origins separated by commas, such as `https://app.example.org`".into(),
        Kind::Path => "a path".into(),
        Kind::Hostname => "a domain name such as `mx.example.org`".into(),
        Kind::Email => "an address such as `admin@example.org`".into(),
        Kind::Pairs => "`name=value,name=value`, special characters percent-encoded".into(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
    }
}
