//! What every handler may use, built once and by hand.

use auth::{api_keys::ApiKeys, secrets::Secrets, sessions::Sessions};
use intake::Intake;
use ipnet::IpNet;
use rate_limit::{Limiter, Quota};
use std::{fmt, sync::Arc, time::Duration};
use store::PgPool;
use url::Url;

/// What every handler may use.
pub struct App {
    /// The database.
    pub pool: PgPool,
    /// Derived keys.
    pub secrets: Arc<Secrets>,
    /// Checks API keys.
    pub api_keys: ApiKeys,
    /// Begins and checks dashboard sessions.
    pub sessions: Sessions,
    /// The door for messages.
    pub intake: Arc<Intake>,
    /// Looks names up.
    pub resolver: Arc<dyn dns::Resolver>,
    /// Counts requests.
    pub limiter: Limiter,
    /// How this instance is doing.
    pub readiness: health::Readiness,
    /// What the operator chose.
    pub settings: Settings,
}

/// What the operator chose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The host name under which mail is sent and received.
    pub hostname: String,
    /// The address users know.
    pub public_url: Url,
    /// Peers whose X-Forwarded-For counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins that may call from a browser.
    pub cors_origins: Vec<String>,
    /// Requests of one address that has not said who it is.
    pub anonymous: Quota,
    /// Requests of one key or session.
    pub authenticated: Quota,
    /// Messages sent by one key or session.
    pub sending: Quota,
    /// Failed logins of one address.
    pub failed_logins_per_address: Quota,
    /// Failed logins of one account.
    pub failed_logins_per_account: Quota,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long delivery is tried.
    pub expire_after: Duration,
    /// How often an active domain's records are looked at.
    pub check_interval: Duration,
    /// Networks in which plain `http:` endpoints may be called.
    pub endpoint_networks: Vec<IpNet>,
    /// Whether a mailbox must confirm before mail is forwarded to it.
    pub require_verified_destinations: bool,
}

impl Settings {
    /// Reads them from the configuration.
    #[must_use]
    pub fn of(config: &config::Config) -> Self {
        let window = config.limits.window;
        Self {
            hostname: config.smtp.hostname.clone(),
            public_url: config.api.public_url.clone(),
            trusted_proxies: config.api.trusted_proxies.clone(),
            cors_origins: config.api.cors_origins.clone(),
            anonymous: Quota::per_minute(config.api.rate_limit_anonymous),
            authenticated: Quota::per_minute(config.api.rate_limit_authenticated),
            sending: Quota::per_minute(config.api.rate_limit_send),
            failed_logins_per_address: Quota::new(config.limits.failed_logins_per_address, window),
            failed_logins_per_account: Quota::new(config.limits.failed_logins_per_account, window),
            request_timeout: config.api.request_timeout,
            expire_after: config.delivery.expire_after,
            check_interval: config.domains.check_interval,
            endpoint_networks: config.webhooks.allow_networks.clone(),
            require_verified_destinations: config.aliases.require_verified_destinations,
        }
    }

    /// Whether users come by TLS: cookies are then `Secure`, and browsers are told to stay with it.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("settings", &self.settings).finish_non_exhaustive()
    }
}
