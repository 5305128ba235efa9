//! postroad-smtp: the listener for submission and for mail that comes in, and the policy behind it.
//!
//! Promises: `250` after the content is said only when [`intake`] has committed the message; whatever goes wrong on our side is a
//! temporary answer; a client's credential is looked at again before each of its messages; who fails too often is slowed, across
//! sessions and processes; a stop lets content on its way finish. Any number of replicas may run.
//!
//! The protocol is `smtp`'s, the storing is `intake`'s; here is only who may do what.

mod caps;
mod certificates;
mod listener;
mod policy;
mod refusal;
mod start;
mod throttle;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use auth::smtp_credentials::SmtpCredentials;
use config::Config;
use intake::Intake;
use mail::Domain;
use rate_limit::Limiter;
use smtp::server::{Limits, Memory, Settings};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use caps::Caps;
use certificates::Certificates;
pub use listener::Listeners;
use policy::Policy;
pub use start::start;
use throttle::Throttle;

/// Octets of message bodies that all sessions of the process hold while they arrive; beyond, messages are told to come back (452).
const BODY_MEMORY_OCTETS: usize = 512 << 20;
/// A client that is not admitted by its address is greeted after this: whoever speaks before is no mail server (ASSURANCE G01).
const GREETING_PAUSE: Duration = Duration::from_millis(10);
/// How long a client may take to accept our replies.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything the listener works with, built once by whoever starts it.
#[derive(Debug, Clone)]
pub struct Deps {
    /// The settings.
    pub config: Arc<Config>,
    /// The door.
    pub intake: Arc<Intake>,
    /// Who may log in.
    pub credentials: SmtpCredentials,
    /// Counts failures, in Redis where there is one.
    pub limiter: Limiter,
}

/// Serves until stopped; returns when the last session has ended, or when the grace is over.
///
/// # Errors
/// When it cannot be set up from these settings: a host name that is none, a certificate that cannot be read.
pub async fn run(deps: Deps, listeners: Listeners, stop: CancellationToken) -> anyhow::Result<()> {
    let config = &deps.config;
    let hostname: Domain = config
        .smtp
        .hostname
        .parse()
        .context("POSTROAD_SMTP__HOSTNAME is not a domain name")?;
    let certificates = Certificates::load(&config.smtp, &config.data_dir, &hostname)?;
    let watching = tokio::spawn(Arc::clone(&certificates).watch(stop.clone()));
    let tls = certificates.server_config()?;
    let limits = limits(config);
    let memory = Arc::new(Memory::new(BODY_MEMORY_OCTETS.max(limits.max_message_bytes)));
    let settings = |implicit_tls| {
        Arc::new(Settings {
            hostname: hostname.clone(),
            limits,
            tls: Some(Arc::clone(&tls)),
            implicit_tls,
            require_tls_for_auth: config.smtp.require_tls_for_auth,
            chunking: true,
            memory: Arc::clone(&memory),
        })
    };
    let policy = Arc::new(Policy {
        intake: Arc::clone(&deps.intake),
        credentials: deps.credentials.clone(),
        throttle: Throttle::new(deps.limiter.clone(), &config.limits),
    });
    let house = listener::House {
        policy,
        plain: settings(false),
        implicit: settings(true),
        caps: Arc::new(Caps::new(config.smtp.max_connections, config.smtp.max_connections_per_address)),
        proxy_networks: config.smtp.proxy_networks.clone().into(),
        stop: stop.clone(),
    };
    let sessions = TaskTracker::new();
    listeners.accept(&Arc::new(house), &sessions).await;
    sessions.close();
    let open = sessions.len();
    if tokio::time::timeout(config.shutdown.grace, sessions.wait()).await.is_err() {
        tracing::warn!(open, left = sessions.len(), "sessions did not end within the grace and are dropped");
    }
    watching.abort();
    Ok(())
}

fn limits(config: &Config) -> Limits {
    let smtp = &config.smtp;
    Limits {
        max_message_bytes: smtp.max_message_bytes,
        max_recipients: smtp.max_recipients,
        command_timeout: smtp.command_timeout,
        data_timeout: smtp.data_timeout,
        min_data_rate: smtp.min_data_rate,
        handshake_timeout: smtp.handshake_timeout,
        write_timeout: WRITE_TIMEOUT,
        greeting_pause: GREETING_PAUSE,
        max_errors: smtp.max_errors,
        max_messages_per_connection: smtp.max_messages_per_connection,
        session_timeout: smtp.session_deadline,
        ..Limits::default()
    }
}
