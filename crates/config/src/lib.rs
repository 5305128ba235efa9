//! The one reader of settings: environment first, then `<NAME>_FILE`, then a TOML file, then the default.
//!
//! Promises: every setting is one row of one table ([`settings`]), from which reading, refusing, the effective configuration and
//! `docs/configuration.md` all follow; all faults are reported at once, each with the name, the value (never a secret's) and the cure;
//! contradictions refuse to start; secrets redact. Reading is pure: [`Config::from_sources`] takes the environment as a parameter.
//! Deliberately not here: reacting to changes while running, and any setting that lives in the database.

mod contradictions;
mod effective;
mod error;
mod nearest;
mod reading;
mod reference;
mod relay;
mod sections;
mod service;
mod sources;
mod system;
mod table;
mod values;

pub use error::{Invalid, Problem};
pub use reference::reference_markdown;
pub use relay::{Relay, RelayTls};
pub use secrecy::{ExposeSecret, SecretString};
pub use sections::{
    Aliases, Api, Bootstrap, CertificateFiles, Config, Database, Delivery, Dns, Domains, Intake, Limits, Log, LogFormat, Mode, Ops, Otel,
    Redis, Shutdown, Smtp, Webhooks,
};
pub use service::Service;
pub use table::{Fallback, Kind, Setting, settings};
