//! Verifying mail as it arrives: SPF, DKIM and DMARC, once, in parallel, within bounds.
//!
//! Promises: a name server that does not answer is `temperror`, never `fail`; the look-ups of one message end within [`PATIENCE`], and what
//! is not known by then is `temperror`; at most [`crate::dkim::MAX_SIGNATURES`] signatures are looked at and each canonical form of the
//! body is hashed once. The message is borrowed and never changed.
//!
//! Written over our own [`dns::Resolver`] and not over the `mail-auth` library. That library asks DNS through a stub of its own; the only
//! thing it lets one inject is a cache with a synchronous `get`, which can hold neither the absence of an address nor a temporary failure, so that
//! our resolver (its bounds, its memory, its fault cases) cannot stand behind it. Besides, the newest version that our compiler takes judges
//! by the first of several SPF records where RFC 7208 §4.5 wants `permerror`, has no limit of void look-ups (§4.6.4), and hashes relaxed bodies
//! that end in lines of blanks wrongly. It stays what it is for signing: an independent oracle in the tests, beside dkimpy and the RFC 7208
//! test suite. As the body hash is our own, no copy of a trimmed body is needed either.

pub use crate::verdicts::{
    DkimResult, DkimVerdict, DmarcResult, DmarcVerdict, Policy, SpfResult, SpfVerdict, Verdicts, Words, aligned_with,
};

use crate::{dkim, dmarc, spf};
use dns::Resolver;
use futures_util::future::join_all;
use mail::ReversePath;
use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;

/// How long all look-ups of one message may take together.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A message as it arrived, with its envelope.
#[derive(Debug, Clone, Copy)]
pub struct Inbound<'a> {
    /// The address that connected.
    pub client: IpAddr,
    /// What it called itself in HELO or EHLO.
    pub helo: &'a str,
    /// MAIL FROM.
    pub mail_from: &'a ReversePath,
    /// Our own name.
    pub hostname: &'a str,
    /// The message with CRLF line ends, before any field of ours.
    pub raw: &'a [u8],
}

/// Verifies what arrives. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    resolver: Arc<dyn Resolver>,
    patience: Duration,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier(within {:?})", self.patience)
    }
}

impl Verifier {
    /// Looks names up with this resolver, for [`PATIENCE`] at most.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolver>) -> Self {
        Self {
            resolver,
            patience: PATIENCE,
        }
    }

    /// The same with another bound on the time that look-ups take.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Verifies a message now. Never fails: what could not be found out is said in the verdicts.
    pub async fn verify(&self, inbound: Inbound<'_>) -> Verdicts {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.verify_at(inbound, now).await
    }

    /// Verifies a message as if it were `now`, in Unix seconds.
    pub async fn verify_at(&self, inbound: Inbound<'_>, now: u64) -> Verdicts {
        let resolver = &*self.resolver;
        let deadline = Instant::now() + self.patience;
        let authors = dmarc::Authors::of(inbound.raw);
        let client = spf::Client {
            address: inbound.client,
            helo: inbound.helo,
            mail_from: inbound.mail_from,
        };
        let matters = |domain: &str| {
            let mut authors = authors.domains.iter();
            authors.any(|author| dmarc::is_aligned(author, domain, false))
        };
        let policies = authors.domains.iter().map(|domain| dmarc::published(resolver, domain, deadline));
        let (spf, dkim, policies) = tokio::join!(
            Box::pin(spf::check(resolver, client, self.patience)),
            Box::pin(dkim::verify::verify(resolver, inbound.raw, matters, now, deadline)),
            join_all(policies),
        );
        let dmarc = authors.assess(&policies, &spf, &dkim);
        Verdicts { spf, dkim, dmarc }
    }
}
