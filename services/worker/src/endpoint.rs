//! HTTP destinations of aliases: a message is posted as JSON, signed by Standard Webhooks 1.0, and tried again by the same queue as mail.
//!
//! Promises: the address that is really dialled passes the guard; no redirect is followed; fifteen seconds are the end of it; only 2xx counts, and
//! 410 says never again. What the endpoint answers is not kept beyond its status.

mod guarded;
mod payload;

use crate::{
    deliver::Deliverer,
    job::Job,
    outcome::{Circumstances, Fate},
};
use auth::secrets::{Purpose, Secrets};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dns::{Guard, Resolver};
use guarded::Guarded;
use hmac::{Hmac, KeyInit as _, Mac as _};
use mail::EnhancedCode;
use reqwest::{Client, StatusCode, Url, redirect::Policy};
use sha2::Sha256;
use std::{net::IpAddr, sync::Arc, time::Duration};
use store::{PgPool, destinations, models::AttemptOutcome};
use tokio::sync::Semaphore;

/// The end of one call, connecting included.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Calls at a time: a slow endpoint holds its lane's share, not everybody's.
const CALLS: usize = 64;

/// Calls endpoints.
#[derive(Debug)]
pub(crate) struct Caller {
    pool: PgPool,
    secrets: Arc<Secrets>,
    guard: Guard,
    client: Client,
    calls: Semaphore,
}

impl Caller {
    /// A caller whose every connection passes `guard`.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(pool: PgPool, secrets: Arc<Secrets>, resolver: Arc<dyn Resolver>, guard: Guard) -> reqwest::Result<Self> {
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .no_proxy()
            .user_agent(concat!("Postroad/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Guarded::new(resolver, guard.clone())))
            .build()?;
        Ok(Self {
            pool,
            secrets,
            guard,
            client,
            calls: Semaphore::new(CALLS),
        })
    }

    /// Posts the job's message to its endpoint and hands in the outcome.
    pub(crate) async fn deliver(&self, deliverer: &Deliverer, job: &Job) {
        let Ok(_turn) = self.calls.acquire().await else { return };
        let started = deliverer.start();
        let Some(body) = deliverer.body(job, started).await else { return };
        let (fate, host) = match self.post(job, &body).await {
            Ok((status, host)) => (answered(status), Some(host)),
            Err(fate) => (fate, None),
        };
        let circumstances = Circumstances {
            host,
            ..started.circumstances()
        };
        deliverer.finish(job, &vec![fate; job.deliveries.len()], &circumstances).await;
    }

    async fn post(&self, job: &Job, raw: &[u8]) -> Result<(StatusCode, String), Fate> {
        let head = job.head();
        let ours = |reason: String| Fate::local(false, EnhancedCode(4, 3, 0), reason);
        let id = head
            .forward_to
            .ok_or_else(|| Fate::local(true, EnhancedCode(5, 1, 1), "the endpoint is no destination"))?;
        let endpoint = match destinations::endpoint(&self.pool, head.organization, id).await {
            Ok(endpoint) => endpoint,
            Err(store::Error::NotFound) => return Err(Fate::local(true, EnhancedCode(5, 1, 1), "the destination was deleted")),
            Err(error) => return Err(ours(format!("the destination could not be read: {error}"))),
        };
        let sealed = endpoint
            .signing_secret
            .ok_or_else(|| ours("the endpoint has no signing secret".to_owned()))?;
        let secret = self
            .secrets
            .open(Purpose::Endpoint, &sealed, id.0.as_bytes())
            .map_err(|error| ours(format!("the signing secret cannot be read: {error}")))?;
        let url = Url::parse(&endpoint.url).map_err(|_| Fate::local(true, EnhancedCode(5, 1, 3), "the endpoint's URL cannot be read"))?;
        self.check_literal(&url)?;
        let body = payload::of(job, raw);
        let webhook = format!("{}.{}", head.message, head.number);
        let timestamp = chrono::Utc::now().timestamp().to_string();
        let answer = self
            .client
            .post(url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &webhook)
            .header("webhook-timestamp", &timestamp)
            .header("webhook-signature", signature(&secret, &webhook, &timestamp, &body))
            .body(body)
            .send()
            .await
            .map_err(|error| {
                Fate::local(
                    false,
                    EnhancedCode(4, 4, 2),
                    format!("the endpoint did not answer: {}", error.without_url()),
                )
            })?;
        Ok((answer.status(), url.host_str().unwrap_or_default().to_owned()))
    }

    /// A host that is an address is not looked up, so the guard is asked here; and `http` is for allowed networks alone.
    fn check_literal(&self, url: &Url) -> Result<(), Fate> {
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(address) if !self.guard.permits(address) => Err(Fate::local(
                true,
                EnhancedCode(5, 4, 4),
                "the endpoint's address may not be dialled from here",
            )),
            _ => Ok(()),
        }
    }
}

/// Standard Webhooks: `v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`.
fn signature(secret: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn answered(status: StatusCode) -> Fate {
    let outcome = match status {
        _ if status.is_success() => AttemptOutcome::Delivered,
        StatusCode::GONE => AttemptOutcome::Bounced,
        _ => AttemptOutcome::Deferred,
    };
    let enhanced = match outcome {
        AttemptOutcome::Delivered => EnhancedCode(2, 0, 0),
        // Not 5.1.x: a URL is no address that could be suppressed.
        AttemptOutcome::Bounced => EnhancedCode(5, 2, 1),
        _ => EnhancedCode(4, 2, 0),
    };
    Fate {
        outcome,
        code: Some(status.as_u16()),
        enhanced: Some(enhanced),
        response: format!("HTTP {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_of_standard_webhooks() {
        // The example of the specification's reference libraries.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn only_two_hundreds_count_and_gone_is_for_good() {
        for (status, outcome) in [
            (200, AttemptOutcome::Delivered),
            (204, AttemptOutcome::Delivered),
            (301, AttemptOutcome::Deferred),
            (404, AttemptOutcome::Deferred),
            (410, AttemptOutcome::Bounced),
            (503, AttemptOutcome::Deferred),
        ] {
            assert_eq!(answered(StatusCode::from_u16(status).unwrap()).outcome, outcome, "{status}");
        }
    }
}
