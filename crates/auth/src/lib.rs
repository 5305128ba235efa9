//! Who is speaking: API keys, SMTP credentials, passwords and sessions, and the keys derived from the instance's secret.
//!
//! Promises: secrets are stored only as keyed hashes (HMAC-SHA-256 under the instance secret; argon2id for human passwords), compared in
//! constant time, and never shown by `Debug`. An unknown name costs and says the same as a wrong secret. A withdrawn key or credential
//! stops within two seconds, on open sessions too, although the hot path runs no SQL.
//!
//! It does not limit rates of failed logins (the services do, with `rate-limit`), and knows neither SMTP replies nor HTTP statuses.

pub mod accounts;
pub mod allowed_from;
pub mod api_keys;
pub mod networks;
pub mod passwords;
pub mod scopes;
pub mod secrets;
pub mod sessions;
pub mod smtp_credentials;

mod last_used;
mod random;

use std::time::Duration;

/// How old the answer of the database may be that a login or a re-check rests on. Two seconds is the promise; half of it leaves
/// room for the statement itself.
pub const STALENESS: Duration = Duration::from_secs(1);
