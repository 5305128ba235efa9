//! Where a domain's mail goes: hosts in order, each with its addresses.

use crate::{
    LookupError, Name, Resolver,
    mx::{PlanError, plan},
};
use futures_util::future::join_all;
use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Most addresses that are tried for one message at a time (as Postfix does).
pub const MAX_ADDRESSES: usize = 5;
/// Of which one host gets no more than these when there are others.
const MAX_ADDRESSES_OF_ONE: usize = 3;
/// Longest chain of CNAMEs.
const MAX_CNAMES: usize = 8;

/// One host to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, for TLS and the attempt's record.
    pub host: Name,
    /// Its addresses, IPv6 and IPv4 in turn; at least one. Not yet passed by the [`crate::Guard`].
    pub addresses: Vec<IpAddr>,
}

/// Why there is nobody to try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The domain does not exist.
    #[error("the domain does not exist")]
    NoSuchDomain,
    /// The domain takes no mail (RFC 7505).
    #[error("the domain does not accept mail")]
    NullMx,
    /// No mail exchanger has an address.
    #[error("no mail exchanger of the domain has an address")]
    NoAddress,
    /// Nobody knows at the moment.
    #[error("{0}")]
    Temporary(String),
    /// The mail would come back to us.
    #[error("the mail would loop back to this server")]
    Loop,
}

impl RouteError {
    /// The enhanced status code (RFC 3463, RFC 7505).
    #[must_use]
    pub const fn enhanced_code(&self) -> (u8, u16, u16) {
        match self {
            Self::NoSuchDomain => (5, 1, 2),
            Self::NullMx => (5, 1, 10),
            Self::NoAddress => (5, 4, 4),
            Self::Temporary(_) => (4, 4, 3),
            Self::Loop => (5, 4, 6),
        }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary(_))
    }
}

/// The hosts to try for mail to `domain`, best first, with at most [`MAX_ADDRESSES`] addresses altogether.
///
/// When MX records exist but none leads to an address, the domain's own address is not tried (RFC 5321 §5.1). Whatever might be different
/// later is [`RouteError::Temporary`].
///
/// # Errors
/// See [`RouteError`].
pub async fn route(resolver: &dyn Resolver, domain: &str, own_names: &[Name], seed: u64) -> Result<Vec<Target>, RouteError> {
    let domain = Name::parse(domain).map_err(|_| RouteError::NoSuchDomain)?;
    let records = match resolver.mx(domain.as_str()).await {
        Ok(answer) => answer.records,
        Err(LookupError::NotFound { nx: false }) => Vec::new(),
        Err(LookupError::NotFound { nx: true } | LookupError::InvalidName(_)) => return Err(RouteError::NoSuchDomain),
        Err(LookupError::Temporary(text)) => return Err(RouteError::Temporary(text)),
    };
    let hosts = plan(&domain, &records, own_names, seed).map_err(|error| match error {
        PlanError::NullMx => RouteError::NullMx,
        PlanError::Loop => RouteError::Loop,
        PlanError::NoValidHost => RouteError::NoAddress,
    })?;
    let found = join_all(hosts.iter().map(|host| addresses(resolver, host))).await;

    let resolved = found.iter().filter(|found| found.is_ok()).count();
    let mut targets = Vec::new();
    let mut room = MAX_ADDRESSES;
    let mut trouble = None;
    for (host, found) in hosts.iter().zip(found) {
        match found {
            Ok(mut addresses) => {
                addresses.truncate(room.min(if resolved > 1 { MAX_ADDRESSES_OF_ONE } else { MAX_ADDRESSES }));
                room -= addresses.len();
                if !addresses.is_empty() {
                    targets.push(Target {
                        host: host.clone(),
                        addresses,
                    });
                }
            }
            Err(LookupError::Temporary(text)) => trouble = Some(text),
            Err(LookupError::NotFound { .. } | LookupError::InvalidName(_)) => {}
        }
    }
    match (targets.is_empty(), trouble) {
        (false, _) => Ok(targets),
        (true, Some(text)) => Err(RouteError::Temporary(text)),
        (true, None) => Err(no_address(resolver, &hosts).await),
    }
}

/// The addresses of a host, IPv6 and IPv4 in turn.
///
/// # Errors
/// As the look-ups; one family that answers is enough.
pub async fn addresses(resolver: &dyn Resolver, host: &Name) -> Result<Vec<IpAddr>, LookupError> {
    let (v6, v4) = tokio::join!(resolver.aaaa(host.as_str()), resolver.a(host.as_str()));
    let error = match (&v6, &v4) {
        (Err(error), Err(other)) => Some(if other.is_temporary() { other.clone() } else { error.clone() }),
        _ => None,
    };
    match error {
        Some(error) => Err(error),
        None => Ok(interleave(
            v6.map(|a| a.records).unwrap_or_default(),
            v4.map(|a| a.records).unwrap_or_default(),
        )),
    }
}

/// Each family gets a try early, whichever of them does not work here (ASSURANCE N09).
fn interleave(v6: Vec<Ipv6Addr>, v4: Vec<Ipv4Addr>) -> Vec<IpAddr> {
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut seen = HashSet::new();
    let mut addresses = Vec::new();
    loop {
        let pair = [v6.next().map(IpAddr::from), v4.next().map(IpAddr::from)];
        if pair == [None, None] {
            return addresses;
        }
        addresses.extend(pair.into_iter().flatten().filter(|address| seen.insert(*address)));
    }
}

/// An endless chain of CNAMEs looks like a name without addresses, but it is a fault that somebody may still mend (ASSURANCE N05).
async fn no_address(resolver: &dyn Resolver, hosts: &[Name]) -> RouteError {
    for host in hosts {
        let mut name = host.to_string();
        let mut steps = 0;
        loop {
            match resolver.cname(&name).await {
                Ok(answer) if !answer.records.is_empty() => name.clone_from(&answer.records[0]),
                Err(LookupError::Temporary(text)) => return RouteError::Temporary(text),
                _ => break,
            }
            steps += 1;
            if steps > MAX_CNAMES {
                return RouteError::Temporary(format!("the chain of CNAMEs from {host} does not end"));
            }
        }
    }
    RouteError::NoAddress
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
