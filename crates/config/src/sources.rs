//! Where values come from: the environment, files named by it, and the TOML file. Only gathers; nothing is interpreted here.

use crate::{
    effective::{REDACTED, shown},
    error::Problem,
    nearest::nearest,
    table::{self, Setting, settings},
};
use std::{collections::HashMap, fmt, io, path::Path};

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The variable itself.
    Environment,
    /// The file named by `<NAME>_FILE`.
    File(String),
    /// The TOML file.
    Toml(String),
    /// The table.
    Default,
    /// Worked out from something else.
    Computed,
    /// Nowhere.
    Unset,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::File(path) | Self::Toml(path) => f.write_str(path),
            Self::Default => f.write_str("default"),
            Self::Computed => f.write_str("computed"),
            Self::Unset => f.write_str("not set"),
        }
    }
}

/// A text somebody gave.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) source: Source,
}

/// What was gathered, and what went wrong on the way.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) given: HashMap<&'static str, Given>,
    pub(crate) problems: Vec<Problem>,
}

/// Reads one file as text.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

pub(crate) fn gather(environment: impl Iterator<Item = (String, String)>, read_file: ReadFile<'_>) -> Gathered {
    let mut gathered = Gathered::default();
    let mut files = Vec::new();
    for (name, value) in environment {
        let value = value.trim();
        if let Some(setting) = table::find(&name) {
            gathered.take(setting, value, Source::Environment);
        } else if let Some(setting) = name.strip_suffix("_FILE").and_then(table::find) {
            if !value.is_empty() {
                files.push((setting, value.to_owned()));
            }
        } else if name.starts_with("POSTROAD_") && !injected_by_kubernetes(&name) {
            gathered.unknown_variable(name);
        }
    }
    for (setting, path) in files {
        gathered.take_file(setting, &path, read_file);
    }
    if let Some(path) = gathered.given.get("POSTROAD_CONFIG").map(|given| given.text.clone()) {
        gathered.take_toml(&path, read_file);
    }
    gathered
}

/// Kubernetes describes every service of the namespace by variables such as `POSTROAD_SMTP_PORT_1025_TCP`. Its names come from
/// labels in which `__` cannot be expected, so a slip in one of ours is not mistaken for one of its own.
fn injected_by_kubernetes(name: &str) -> bool {
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.ends_with("_PORT") || name.contains("_PORT_"))
}

impl Gathered {
    fn take(&mut self, setting: &'static Setting, text: &str, source: Source) {
        // An empty value is how compose files write "not given".
        if text.is_empty() {
            return;
        }
        if text.contains(['\u{fffd}', '\0']) {
            self.problems.push(Problem {
                name: setting.name.into(),
                value: Some(shown(setting, text)),
                fault: "is not valid UTF-8 text".into(),
                cure: "Write it in UTF-8".into(),
            });
            return;
        }
        self.given.insert(
            setting.name,
            Given {
                text: text.to_owned(),
                source,
            },
        );
    }

    fn unknown_variable(&mut self, name: String) {
        let with_files: Vec<String> = settings().iter().map(|setting| format!("{}_FILE", setting.name)).collect();
        let known = settings()
            .iter()
            .map(|setting| setting.name)
            .chain(with_files.iter().map(String::as_str));
        let cure = match nearest(&name, known) {
            Some(known) => format!("Did you mean {known}?"),
            None => "Remove it, or see docs/configuration.md for the names".into(),
        };
        self.problems.push(Problem {
            name,
            value: None,
            fault: "there is no such setting".into(),
            cure,
        });
    }

    fn take_file(&mut self, setting: &'static Setting, path: &str, read_file: ReadFile<'_>) {
        let mut problem = |fault: String, cure: String| {
            self.problems.push(Problem {
                name: format!("{}_FILE", setting.name),
                value: Some(path.to_owned()),
                fault,
                cure,
            });
        };
        if self.given.contains_key(setting.name) {
            return problem(format!("{} is given as well", setting.name), "Keep one of the two".into());
        }
        match read_file(Path::new(path)) {
            Err(error) => problem(format!("cannot be read ({error})"), "Give a file that this user may read".into()),
            Ok(text) if text.trim().is_empty() => problem("is an empty file".into(), "Write the value into it".into()),
            Ok(text) => self.take(setting, text.trim(), Source::File(path.to_owned())),
        }
    }

    fn take_toml(&mut self, path: &str, read_file: ReadFile<'_>) {
        let mut problem = |fault: String, cure: &str| {
            self.problems.push(Problem {
                name: "POSTROAD_CONFIG".into(),
                value: Some(path.to_owned()),
                fault,
                cure: cure.into(),
            });
        };
        let text = match read_file(Path::new(path)) {
            Ok(text) => text,
            Err(error) => return problem(format!("cannot be read ({error})"), "Give a file that this user may read"),
        };
        match text.parse::<toml::Table>() {
            Ok(content) => self.take_table(path, "", &content),
            // Only the message and the line: the parser's own display would show the line, which may hold a secret.
            Err(error) => {
                let line = error
                    .span()
                    .map_or(1, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
                problem(
                    format!("is not TOML: line {line}, {}", error.message().replace('\n', " ")),
                    "Correct that line",
                );
            }
        }
    }

    fn take_table(&mut self, path: &str, prefix: &str, content: &toml::Table) {
        for (name, value) in content {
            let key = format!("{prefix}{name}");
            let section = format!("{key}.");
            let keys = || settings().iter().filter_map(|setting| Some((setting, setting.toml_key()?)));
            match (keys().find(|(_, known)| *known == key), value) {
                (_, toml::Value::Table(inner)) if keys().any(|(_, known)| known.starts_with(&section)) => {
                    self.take_table(path, &section, inner);
                }
                (Some((setting, _)), value) => match plain(value) {
                    _ if self.given.contains_key(setting.name) => {}
                    Some(text) => self.take(setting, text.trim(), Source::Toml(path.to_owned())),
                    None => self.problems.push(Problem {
                        name: format!("{key} in {path}"),
                        value: Some(if setting.secret { REDACTED.into() } else { value.to_string() }),
                        fault: format!("cannot be a {}", value.type_str()),
                        cure: "Write it as a string, a number, a boolean or a list of these".into(),
                    }),
                },
                (None, _) => {
                    let known: Vec<String> = keys().map(|(_, known)| known).collect();
                    let cure = match nearest(&key, known.iter().map(String::as_str)) {
                        Some(known) => format!("Did you mean {known}?"),
                        None => "Remove it, or see docs/configuration.md for the keys".into(),
                    };
                    let fault = "there is no such setting".into();
                    self.problems.push(Problem {
                        name: format!("{key} in {path}"),
                        value: None,
                        fault,
                        cure,
                    });
                }
            }
        }
    }
}

/// The text that the environment would have carried.
fn plain(value: &toml::Value) -> Option<String> {
    Some(match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Option<Vec<_>>>()?.join(","),
        toml::Value::Datetime(_) | toml::Value::Table(_) => return None,
    })
}
