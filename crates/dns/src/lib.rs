//! Looking names up, working out where a domain's mail goes, and the guard over the addresses we may dial.
//!
//! Promises: whatever is not a clear answer is [`LookupError::Temporary`] (SERVFAIL, REFUSED, timeouts, lame servers), so that mail is
//! deferred and never bounced for it; every look-up ends within [`TOTAL_TIMEOUT`]; a name that could not be a host name is never sent
//! anywhere. Answers are kept as long as they say, at most an hour, and not at all when they say zero; [`Resolver::fresh`] bypasses that.
//!
//! It does not connect to mail servers and does not validate DNSSEC.

pub mod guard;
pub mod mx;
pub mod name;
pub mod records;
pub mod route;
pub mod scripted;

mod hickory;

pub use guard::Guard;
pub use hickory::{Configuration, HickoryResolver, SetupError};
pub use name::{InvalidName, Name};
pub use route::{RouteError, Target, route};
pub use scripted::ScriptedResolver;

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

/// The longest a look-up takes, CNAMEs, retries and TCP included.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The record types we ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail exchangers.
    Mx,
    /// Texts.
    Txt,
    /// The canonical name itself, not followed.
    Cname,
    /// The name of an address.
    Ptr,
}

/// The data of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An address.
    Address(IpAddr),
    /// A mail exchanger.
    Mx(Mx),
    /// A text, its character-strings joined (RFC 7208 §3.3); octets above 127 that are not UTF-8 are replaced.
    Text(String),
    /// A name, lower-case, without the final dot: of a CNAME or PTR. May hold characters that a host name may not.
    Name(String),
}

/// A mail exchanger (RFC 1035 §3.3.9).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mx {
    /// Lower is preferred.
    pub preference: u16,
    /// Lower-case, without the final dot; empty: the root, a null MX (RFC 7505). May hold characters that a host name may not.
    pub exchange: String,
}

/// What was found: at least one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The records, in the server's order.
    pub records: Vec<T>,
    /// How long they hold.
    pub ttl: Duration,
}

/// Why there are no records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The servers say that there are none.
    #[error("{}", if *.nx { "the name does not exist" } else { "the name has no such record" })]
    NotFound {
        /// NXDOMAIN: the name does not exist at all.
        nx: bool,
    },
    /// Nobody knows: ask again later. The text is for logs and transcripts.
    #[error("temporary DNS failure: {0}")]
    Temporary(String),
    /// The name could not exist.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
}

impl LookupError {
    /// Whether asking again later may help.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary(_))
    }
}

/// Looks names up. Names may be given with capitals, a final dot or U-labels.
pub trait Resolver: Send + Sync {
    /// The records of a name; CNAMEs are followed, a limited number of times, unless asked for.
    fn lookup<'a>(&'a self, name: &'a Name, kind: Kind) -> BoxFuture<'a, Result<Answer<Data>, LookupError>>;

    /// The same resolver without any memory: it asks the servers every time.
    fn fresh(&self) -> Arc<dyn Resolver>;

    /// Mail exchangers; a null MX is among them as an empty exchange.
    fn mx<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer<Mx>, LookupError>> {
        Box::pin(typed(self, name, Kind::Mx, |data| match data {
            Data::Mx(mx) => Some(mx),
            _ => None,
        }))
    }

    /// IPv4 addresses.
    fn a<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer<Ipv4Addr>, LookupError>> {
        Box::pin(typed(self, name, Kind::A, |data| match data {
            Data::Address(IpAddr::V4(address)) => Some(address),
            _ => None,
        }))
    }

    /// IPv6 addresses.
    fn aaaa<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer<Ipv6Addr>, LookupError>> {
        Box::pin(typed(self, name, Kind::Aaaa, |data| match data {
            Data::Address(IpAddr::V6(address)) => Some(address),
            _ => None,
        }))
    }

    /// Texts, one per record.
    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer<String>, LookupError>> {
        Box::pin(typed(self, name, Kind::Txt, |data| match data {
            Data::Text(text) => Some(text),
            _ => None,
        }))
    }

    /// The canonical name that stands at this name.
    fn cname<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer<String>, LookupError>> {
        Box::pin(typed(self, name, Kind::Cname, into_name))
    }

    /// The names of an address.
    fn ptr(&self, address: IpAddr) -> BoxFuture<'_, Result<Answer<String>, LookupError>> {
        Box::pin(async move { typed(self, &name::reverse(address), Kind::Ptr, into_name).await })
    }
}

fn into_name(data: Data) -> Option<String> {
    match data {
        Data::Name(name) => Some(name),
        _ => None,
    }
}

async fn typed<R: Resolver + ?Sized, T>(
    resolver: &R,
    name: &str,
    kind: Kind,
    read: impl Fn(Data) -> Option<T> + Send,
) -> Result<Answer<T>, LookupError> {
    let name = Name::parse(name)?;
    let answer = resolver.lookup(&name, kind).await?;
    let records: Vec<T> = answer.records.into_iter().filter_map(read).collect();
    if records.is_empty() {
        Err(LookupError::NotFound { nx: false })
    } else {
        Ok(Answer { records, ttl: answer.ttl })
    }
}
