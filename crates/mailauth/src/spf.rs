//! SPF (RFC 7208): may this address send mail for this domain?
//!
//! Promises: at most ten terms that ask DNS, at most two of them without an answer, at most ten names per MX and PTR (§4.6.4); a server
//! that does not answer is [`SpfResult::TempError`], never a failure. `exp=` is not followed: nobody is told a stranger's words.

mod macros;
mod record;

use crate::verify::{SpfResult, SpfVerdict};
use dns::{BoxFuture, LookupError, Resolver};
use macros::{DomainSpec, Values};
use mail::ReversePath;
use record::{Mechanism, Prefixes, Qualifier, Record, same_v4, same_v6};
use std::{net::IpAddr, time::Duration};

/// Terms that ask DNS (RFC 7208 §4.6.4).
const MAX_LOOKUPS: u32 = 10;
/// Terms whose answer is that there is nothing.
const MAX_VOID_LOOKUPS: u32 = 2;
/// Names of one MX or PTR answer.
const MAX_NAMES: usize = 10;

/// Who is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The address that connects.
    pub address: IpAddr,
    /// What it calls itself.
    pub helo: &'a str,
    /// What MAIL FROM says; `<>` is judged as `postmaster` of the HELO name (RFC 7208 §2.4).
    pub mail_from: &'a ReversePath,
}

impl Client<'_> {
    /// The domain that is judged.
    #[must_use]
    pub fn domain(&self) -> String {
        let domain = match self.mail_from.address() {
            Some(address) => address.host().to_string(),
            None => self.helo.to_owned(),
        };
        domain.strip_suffix('.').unwrap_or(&domain).to_ascii_lowercase()
    }
}

/// Judges the MAIL FROM identity, or the HELO identity where that is null, within `patience`.
pub async fn check(resolver: &dyn Resolver, client: Client<'_>, patience: Duration) -> SpfVerdict {
    let domain = client.domain();
    let mut check = Check {
        resolver,
        address: client.address.to_canonical(),
        helo: client.helo,
        local_part: client.mail_from.address().map_or("postmaster", |address| address.local_part()),
        sender_domain: domain.clone(),
        lookups: 0,
        void_lookups: 0,
        validated_names: None,
    };
    // §4.3: not a multi-label name, or no name at all.
    let result = if domain.contains('.') {
        match tokio::time::timeout(patience, check.host(domain.clone())).await {
            Ok(Ok(Some(Qualifier::Pass))) => SpfResult::Pass,
            Ok(Ok(Some(Qualifier::Fail))) => SpfResult::Fail,
            Ok(Ok(Some(Qualifier::SoftFail))) => SpfResult::SoftFail,
            Ok(Ok(Some(Qualifier::Neutral))) => SpfResult::Neutral,
            Ok(Ok(None)) => SpfResult::None,
            Ok(Err(Stop::Permanent)) => SpfResult::PermError,
            Ok(Err(Stop::Temporary)) | Err(_) => SpfResult::TempError,
        }
    } else {
        SpfResult::None
    };
    SpfVerdict { result, domain }
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Permanent,
    Temporary,
}

struct Check<'a> {
    resolver: &'a dyn Resolver,
    address: IpAddr,
    helo: &'a str,
    local_part: &'a str,
    sender_domain: String,
    lookups: u32,
    void_lookups: u32,
    /// The names of the address that lead back to it, once asked for.
    validated_names: Option<Vec<String>>,
}

impl Check<'_> {
    /// `check_host()` (§4): `None` when the domain has no record.
    fn host(&mut self, domain: String) -> BoxFuture<'_, Result<Option<Qualifier>, Stop>> {
        Box::pin(async move {
            let Some(record) = self.record(&domain).await? else {
                return Ok(None);
            };
            for (qualifier, mechanism) in &record.directives {
                if self.matches(mechanism, &domain).await? {
                    return Ok(Some(*qualifier));
                }
            }
            let Some(redirect) = &record.redirect else {
                return Ok(Some(Qualifier::Neutral));
            };
            self.count_lookup()?;
            let target = self.expand(redirect, &domain).await;
            self.host(target)
                .await?
                .map_or(Err(Stop::Permanent), |qualifier| Ok(Some(qualifier)))
        })
    }

    /// The one record of a domain (§4.4, §4.5).
    async fn record(&self, domain: &str) -> Result<Option<Record>, Stop> {
        let texts = match self.resolver.txt(domain).await {
            Ok(answer) => answer.records,
            Err(LookupError::Temporary(_)) => return Err(Stop::Temporary),
            Err(LookupError::NotFound { .. } | LookupError::InvalidName(_)) => return Ok(None),
        };
        let mut records = texts.iter().filter(|text| record::is_record(text));
        match (records.next(), records.next()) {
            (None, _) => Ok(None),
            (Some(text), None) => Record::parse(text).map(Some).ok_or(Stop::Permanent),
            (Some(_), Some(_)) => Err(Stop::Permanent),
        }
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        Ok(match mechanism {
            Mechanism::All => true,
            Mechanism::Ip4(network, bits) => matches!(self.address, IpAddr::V4(address) if same_v4(address, *network, *bits)),
            Mechanism::Ip6(network, bits) => matches!(self.address, IpAddr::V6(address) if same_v6(address, *network, *bits)),
            Mechanism::Include(spec) => {
                self.count_lookup()?;
                let target = self.expand(spec, domain).await;
                match self.host(target).await? {
                    Some(qualifier) => qualifier == Qualifier::Pass,
                    None => return Err(Stop::Permanent),
                }
            }
            Mechanism::A(spec, prefixes) => {
                self.count_lookup()?;
                let target = self.target(spec.as_ref(), domain).await;
                let addresses = self.addresses(&target).await;
                let addresses = self.or_void(addresses)?;
                self.is_among(&addresses, *prefixes)
            }
            Mechanism::Mx(spec, prefixes) => {
                self.count_lookup()?;
                let target = self.target(spec.as_ref(), domain).await;
                self.is_exchanger(&target, *prefixes).await?
            }
            Mechanism::Ptr(spec) => {
                self.count_lookup()?;
                let target = self.target(spec.as_ref(), domain).await.to_ascii_lowercase();
                self.validate_names().await;
                let names = self.validated_names.as_deref().unwrap_or_default();
                names.iter().any(|name| is_within(name, &target))
            }
            Mechanism::Exists(spec) => {
                self.count_lookup()?;
                let target = self.expand(spec, domain).await;
                // §5.7: IPv4 addresses, whatever the client's.
                let found = self.resolver.a(&target).await.map(|answer| answer.records);
                !self.or_void(found)?.is_empty()
            }
        })
    }

    async fn is_exchanger(&mut self, domain: &str, prefixes: Prefixes) -> Result<bool, Stop> {
        let found = self.resolver.mx(domain).await.map(|answer| answer.records);
        let exchangers = self.or_void(found)?;
        if exchangers.len() > MAX_NAMES {
            return Err(Stop::Permanent);
        }
        for exchanger in &exchangers {
            match self.addresses(&exchanger.exchange).await {
                Ok(addresses) if self.is_among(&addresses, prefixes) => return Ok(true),
                Err(LookupError::Temporary(_)) => return Err(Stop::Temporary),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(false)
    }

    /// The addresses of a name, of the client's family.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        if self.address.is_ipv4() {
            Ok(self.resolver.a(name).await?.records.into_iter().map(IpAddr::V4).collect())
        } else {
            Ok(self.resolver.aaaa(name).await?.records.into_iter().map(IpAddr::V6).collect())
        }
    }

    fn is_among(&self, addresses: &[IpAddr], prefixes: Prefixes) -> bool {
        addresses.iter().any(|address| prefixes.agree(*address, self.address))
    }

    fn count_lookup(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > MAX_LOOKUPS { Err(Stop::Permanent) } else { Ok(()) }
    }

    /// No records is an answer, but not one that may be had often. A name that DNS cannot hold was never asked for.
    fn or_void<T>(&mut self, found: Result<Vec<T>, LookupError>) -> Result<Vec<T>, Stop> {
        match found {
            Ok(records) => Ok(records),
            Err(LookupError::Temporary(_)) => Err(Stop::Temporary),
            Err(LookupError::InvalidName(_)) => Ok(Vec::new()),
            Err(LookupError::NotFound { .. }) => {
                self.void_lookups += 1;
                if self.void_lookups > MAX_VOID_LOOKUPS {
                    Err(Stop::Permanent)
                } else {
                    Ok(Vec::new())
                }
            }
        }
    }

    async fn target(&mut self, spec: Option<&DomainSpec>, domain: &str) -> String {
        match spec {
            Some(spec) => self.expand(spec, domain).await,
            None => domain.to_owned(),
        }
    }

    async fn expand(&mut self, spec: &DomainSpec, domain: &str) -> String {
        if spec.needs_validated_name() {
            self.validate_names().await;
        }
        let names = self.validated_names.as_deref().unwrap_or_default();
        // §7.3: the domain itself, else one below it, else any.
        let validated = (names.iter().find(|name| name.eq_ignore_ascii_case(domain)))
            .or_else(|| names.iter().find(|name| is_within(name, domain)))
            .or_else(|| names.first());
        spec.expand(&Values {
            address: self.address,
            local_part: self.local_part,
            sender_domain: &self.sender_domain,
            helo: self.helo,
            domain,
            validated_name: validated.map_or("unknown", String::as_str),
        })
    }

    /// The names of the client's address whose addresses include it (§5.5); failures are no names.
    async fn validate_names(&mut self) {
        if self.validated_names.is_some() {
            return;
        }
        let mut validated = Vec::new();
        if let Ok(answer) = self.resolver.ptr(self.address).await {
            for name in answer.records.into_iter().take(MAX_NAMES) {
                if self.addresses(&name).await.is_ok_and(|addresses| addresses.contains(&self.address)) {
                    validated.push(name);
                }
            }
        }
        self.validated_names = Some(validated);
    }
}

/// Whether a name is `domain` or below it.
fn is_within(name: &str, domain: &str) -> bool {
    let Some(at) = name.len().checked_sub(domain.len()) else {
        return false;
    };
    name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(domain)) && (at == 0 || name.as_bytes()[at - 1] == b'.')
}
