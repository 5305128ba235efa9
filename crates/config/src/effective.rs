//! The configuration as it took effect, for `postroad config check`. Holds no secret: texts are redacted when they are recorded.

use crate::{sections::Config, sources::Source, table::Setting};
use std::fmt::Write;

/// What stands for a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// One setting as it took effect.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) shown: String,
    pub(crate) source: Source,
}

/// The text as it may be shown: secrets not at all, and no password inside a URL.
pub(crate) fn shown(setting: &Setting, text: &str) -> String {
    if setting.secret { REDACTED.into() } else { without_password(text) }
}

fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{REDACTED}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

impl Config {
    /// Every setting as `NAME = value (source)`, one per line, in the order of the documentation; secrets redacted.
    #[must_use]
    pub fn effective(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            // Writing to a String cannot fail.
            let _ = if line.source == Source::Unset {
                writeln!(text, "{} (not set)", line.name)
            } else {
                writeln!(text, "{} = {} ({})", line.name, line.shown.replace(['\r', '\n'], " "), line.source)
            };
        }
        text
    }
}
