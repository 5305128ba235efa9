//! Whether a domain's SPF record lets our host send.
//!
//! A reading of RFC 7208 for one question: do the terms, in order, pass one of our addresses? Macros, `exists` and `ptr` are taken as not
//! matching. At most ten terms that need look-ups are followed, as every receiver does.

use super::judge::{LookupFailed, settled};
use crate::Resolver;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::{future::Future, net::IpAddr, pin::Pin};

const MOST_LOOKUPS: u8 = 10;

/// The SPF records at a name.
pub(super) async fn policies(resolver: &dyn Resolver, name: &str) -> Result<Vec<String>, LookupFailed> {
    let mut texts = settled(resolver.txt(name).await)?;
    texts.retain(|text| {
        let text = text.to_ascii_lowercase();
        text == "v=spf1" || text.starts_with("v=spf1 ")
    });
    Ok(texts)
}

/// Whether the policy of `domain` passes `hostname`.
pub(super) async fn authorizes(resolver: &dyn Resolver, domain: &str, hostname: &str) -> Result<bool, LookupFailed> {
    let mut question = Question {
        resolver,
        hostname,
        addresses: addresses(resolver, hostname).await?,
        lookups: MOST_LOOKUPS,
    };
    Ok(question.policy(domain).await? == Some(true))
}

async fn addresses(resolver: &dyn Resolver, name: &str) -> Result<Vec<IpAddr>, LookupFailed> {
    let four = settled(resolver.a(name).await)?;
    let six = settled(resolver.aaaa(name).await)?;
    Ok(four.into_iter().map(IpAddr::V4).chain(six.into_iter().map(IpAddr::V6)).collect())
}

struct Question<'a> {
    resolver: &'a dyn Resolver,
    hostname: &'a str,
    addresses: Vec<IpAddr>,
    lookups: u8,
}

impl Question<'_> {
    /// `Some(true)`: passes. `Some(false)`: a term says no. `None`: no policy, or no term speaks of us.
    fn policy<'a>(&'a mut self, domain: &'a str) -> Pin<Box<dyn Future<Output = Result<Option<bool>, LookupFailed>> + Send + 'a>> {
        Box::pin(async move {
            let policies = policies(self.resolver, domain).await?;
            let [policy] = policies.as_slice() else { return Ok(None) };
            let mut redirect = None;
            for term in policy.split_ascii_whitespace().skip(1).take(100) {
                let term = term.to_ascii_lowercase();
                if let Some(target) = term.strip_prefix("redirect=") {
                    redirect = Some(target.to_owned());
                    continue;
                }
                let (passes, mechanism) = match term.as_bytes().first() {
                    Some(b'+') => (true, &term[1..]),
                    Some(b'-' | b'~' | b'?') => (false, &term[1..]),
                    _ => (true, term.as_str()),
                };
                if self.matches(domain, mechanism).await? {
                    return Ok(Some(passes));
                }
            }
            match redirect {
                Some(target) if self.may_look_up() => self.policy(&target).await,
                _ => Ok(None),
            }
        })
    }

    fn may_look_up(&mut self) -> bool {
        let may = self.lookups > 0;
        self.lookups = self.lookups.saturating_sub(1);
        may
    }

    async fn matches(&mut self, domain: &str, mechanism: &str) -> Result<bool, LookupFailed> {
        let (name, argument) = mechanism.split_once(':').unwrap_or((mechanism, ""));
        let (name, lengths) = name.split_once('/').map_or((name, ""), |(name, lengths)| (name, lengths));
        let (target, lengths) = match argument.split_once('/') {
            Some((target, lengths)) if name != "ip4" && name != "ip6" => (target, lengths),
            _ => (argument, lengths),
        };
        let target = if target.is_empty() { domain } else { target };
        match name {
            "all" => Ok(true),
            "ip4" | "ip6" => Ok(network(argument).is_some_and(|network| self.is_in(network))),
            _ if target.contains('%') => Ok(false),
            "include" if self.may_look_up() => Ok(self.policy(target).await? == Some(true)),
            "a" if self.may_look_up() => self.host(target, lengths).await,
            "mx" if self.may_look_up() => self.exchanges(target, lengths).await,
            _ => Ok(false),
        }
    }

    async fn exchanges(&self, domain: &str, lengths: &str) -> Result<bool, LookupFailed> {
        for mx in settled(self.resolver.mx(domain).await)?.into_iter().take(10) {
            if self.host(&mx.exchange, lengths).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn host(&self, host: &str, lengths: &str) -> Result<bool, LookupFailed> {
        if host.trim_end_matches('.').eq_ignore_ascii_case(self.hostname) {
            return Ok(true);
        }
        let (four, six) = lengths.split_once("//").unwrap_or((lengths, ""));
        let (four, six) = (four.parse().unwrap_or(32), six.parse().unwrap_or(128));
        let networks = addresses(self.resolver, host)
            .await?
            .into_iter()
            .filter_map(|address| match address {
                IpAddr::V4(address) => Ipv4Net::new(address, four).ok().map(IpNet::V4),
                IpAddr::V6(address) => Ipv6Net::new(address, six).ok().map(IpNet::V6),
            });
        Ok(networks.into_iter().any(|network| self.is_in(network)))
    }

    fn is_in(&self, network: IpNet) -> bool {
        self.addresses.iter().any(|address| network.contains(address))
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
