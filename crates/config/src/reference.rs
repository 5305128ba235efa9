//! `docs/configuration.md`, written from the table so that it cannot drift.

use crate::{
    reading::example,
    table::{Fallback, Setting, settings},
};
use std::fmt::Write;

const OPENING: &str = "\
# Configuration

<!-- Written by the program from `crates/config/src/table.rs`. Change it there, then run `UPDATE=1 cargo nextest run -p config`. -->

Every setting is an environment variable. Read in this order, the first one found stands:

1. the variable itself, for example `POSTROAD_SMTP__LISTEN`; an empty value counts as not given;
2. the file named by the variable with `_FILE` appended, for example `POSTROAD_SECRET_KEY_FILE=/run/secrets/key` (for container secrets;
   giving both is refused);
3. the TOML file named by `POSTROAD_CONFIG`: `[smtp]` and `listen = \"…\"`, lists as arrays or separated by commas;
4. the default.

A `POSTROAD_` variable or a TOML key that does not exist is refused with the nearest name that does, so that a slip never goes unnoticed
(names injected by Kubernetes, such as `POSTROAD_SMTP_SERVICE_HOST`, are ignored). All services may share one set of variables. Faults are
reported all at once; `postroad config check` shows what took effect and where it came from, and each service has `--check-config`.
Durations are a number and a unit: `500ms`, `30s`, `5m`, `2h`, `5d`, `1w`. A value marked *secret* is never shown or logged.
";

/// The page for operators, as committed in `docs/configuration.md`.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = OPENING.to_owned();
    let mut section = "";
    for setting in settings() {
        let heading = heading(setting.name);
        if heading != section {
            section = heading;
            // Writing to a String cannot fail.
            let _ = write!(
                page,
                "\n## {heading}\n\n| variable | TOML | default | meaning |\n|---|---|---|---|\n"
            );
        }
        let key = setting.toml_key().map(|key| format!("`{key}`")).unwrap_or_default();
        let secret = if setting.secret { " *Secret.*" } else { "" };
        let _ = writeln!(
            page,
            "| `{}` | {key} | {} | {}{secret} Value: {}. |",
            setting.name,
            default(setting),
            setting.doc.replace('|', "\\|"),
            example(setting).replace('|', "\\|"),
        );
    }
    page
}

fn heading(name: &str) -> &'static str {
    let section = name.trim_start_matches("POSTROAD_").split("__").next().unwrap_or_default();
    match section {
        "DATABASE" | "DATABASE_URL" => "PostgreSQL",
        "REDIS" | "REDIS_URL" => "Redis",
        "SMTP" => "SMTP listener",
        "INTAKE" => "Intake",
        "API" => "HTTP interface",
        "OPS" => "Operator's listener",
        "DELIVERY" => "Delivery",
        "WEBHOOKS" => "Webhooks",
        "DNS" | "DOMAINS" => "DNS and domains",
        "ALIASES" => "Aliases",
        "LIMITS" => "Limits on failures",
        "BOOTSTRAP" => "First start",
        "LOG" | "RUST_LOG" => "Log",
        _ if name.starts_with("OTEL_") => "Traces",
        _ => "Instance",
    }
}

fn default(setting: &Setting) -> String {
    match setting.default {
        Fallback::None => "none".into(),
        Fallback::Required => "required".into(),
        Fallback::Fixed(text) => format!("`{text}`"),
        Fallback::PerService { smtp, api, worker, up } => format!("smtp `{smtp}`, api `{api}`, worker `{worker}`, `up` `{up}`"),
        Fallback::Computed(words) => words.into(),
    }
}
