//! The real resolver: hickory as a stub towards configured servers, and our own memory in front of it.
//!
//! hickory's cache is off: ours bounds TTLs, does not keep what says zero, and can be bypassed ([`Resolver::fresh`]). Spoofing is made
//! hard by random ports, ids and letter case; a truncated or case-mangled answer is asked again over TCP. The hosts file and search
//! domains are never consulted: the name that is asked is the name that was meant.

use crate::{Answer, BoxFuture, Data, Kind, LookupError, Mx, Name, Resolver, TOTAL_TIMEOUT};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name as WireName, RData, RecordType},
    },
};
use moka::{Expiry, sync::Cache};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// Longest that an answer is kept, whatever it says.
const MAX_TTL: Duration = Duration::from_secs(3600);
/// Longest that the absence of records is kept.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(300);
const CACHED_ANSWERS: u64 = 20_000;

/// The resolver could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the DNS resolver could not be set up: {0}")]
pub struct SetupError(String);

/// How to ask.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The servers to ask, recursive ones; empty: the system's.
    pub servers: Vec<SocketAddr>,
    /// How long one server gets for one try.
    pub timeout: Duration,
    /// How often a failed try is repeated.
    pub retries: usize,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(3),
            retries: 2,
        }
    }
}

/// Asks recursive name servers. Cheap to clone; clones share the memory.
#[derive(Clone)]
pub struct HickoryResolver {
    servers: TokioResolver,
    known: Option<Cache<(Name, Kind), Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    result: Result<Answer<Data>, LookupError>,
    ttl: Duration,
}

/// Each entry lives as long as its answer says.
struct ByTtl;

impl Expiry<(Name, Kind), Kept> for ByTtl {
    fn expire_after_create(&self, _: &(Name, Kind), kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.ttl)
    }

    fn expire_after_update(&self, _: &(Name, Kind), kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.ttl)
    }
}

impl HickoryResolver {
    /// Sets the resolver up; no server is asked yet. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`SetupError`] when no server is given and the system's configuration cannot be read.
    pub fn new(configuration: &Configuration) -> Result<Self, SetupError> {
        let failed = |error: NetError| SetupError(error.to_string());
        let name_servers = if configuration.servers.is_empty() {
            let (system, _) = hickory_resolver::system_conf::read_system_conf().map_err(failed)?;
            system.name_servers
        } else {
            configuration.servers.iter().map(name_server).collect()
        };
        let mut options = ResolverOpts::default();
        options.timeout = configuration.timeout;
        options.attempts = configuration.retries;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.case_randomization = true;
        options.preserve_intermediates = false;
        let config = ResolverConfig::from_parts(None, Vec::new(), name_servers);
        let servers = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(failed)?;
        Ok(Self {
            servers,
            known: Some(Cache::builder().max_capacity(CACHED_ANSWERS).expire_after(ByTtl).build()),
        })
    }

    async fn ask(&self, name: &Name, kind: Kind) -> Kept {
        let looked_up = tokio::time::timeout(TOTAL_TIMEOUT, self.ask_servers(name, kind)).await;
        looked_up.unwrap_or_else(|_| temporary("no answer in time"))
    }

    async fn ask_servers(&self, name: &Name, kind: Kind) -> Kept {
        let Ok(mut wire) = WireName::from_ascii(name.as_str()) else {
            return temporary("the name cannot be written in a query");
        };
        wire.set_fqdn(true);
        let lookup = match self.servers.lookup(wire, record_type(kind)).await {
            Ok(lookup) => lookup,
            Err(error) => return negative(&error),
        };
        let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
        let records: Vec<Data> = lookup.answers().iter().filter_map(|record| read(&record.data, kind)).collect();
        if records.is_empty() {
            return Kept {
                result: Err(LookupError::NotFound { nx: false }),
                ttl: Duration::ZERO,
            };
        }
        let ttl = Duration::from_secs(u64::from(ttl)).min(MAX_TTL);
        Kept {
            result: Ok(Answer { records, ttl }),
            ttl,
        }
    }
}

impl Resolver for HickoryResolver {
    fn lookup<'a>(&'a self, name: &'a Name, kind: Kind) -> BoxFuture<'a, Result<Answer<Data>, LookupError>> {
        Box::pin(async move {
            let Some(known) = &self.known else {
                return self.ask(name, kind).await.result;
            };
            let key = (name.clone(), kind);
            if let Some(kept) = known.get(&key) {
                return kept.result;
            }
            let kept = self.ask(name, kind).await;
            if !kept.ttl.is_zero() {
                known.insert(key, kept.clone());
            }
            kept.result
        })
    }

    fn fresh(&self) -> Arc<dyn Resolver> {
        Arc::new(Self {
            servers: self.servers.clone(),
            known: None,
        })
    }
}

impl std::fmt::Debug for HickoryResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HickoryResolver")
            .field("remembers", &self.known.is_some())
            .finish_non_exhaustive()
    }
}

fn name_server(server: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.into())
}

const fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Mx => RecordType::MX,
        Kind::Txt => RecordType::TXT,
        Kind::Cname => RecordType::CNAME,
        Kind::Ptr => RecordType::PTR,
    }
}

fn read(data: &RData, kind: Kind) -> Option<Data> {
    match (data, kind) {
        (RData::A(a), Kind::A) => Some(Data::Address(a.0.into())),
        (RData::AAAA(aaaa), Kind::Aaaa) => Some(Data::Address(aaaa.0.into())),
        (RData::MX(mx), Kind::Mx) => Some(Data::Mx(Mx {
            preference: mx.preference,
            exchange: plain(&mx.exchange),
        })),
        (RData::TXT(txt), Kind::Txt) => Some(Data::Text(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())),
        (RData::CNAME(cname), Kind::Cname) => Some(Data::Name(plain(&cname.0))),
        (RData::PTR(ptr), Kind::Ptr) => Some(Data::Name(plain(&ptr.0))),
        _ => None,
    }
}

/// Lower case, no final dot; the root is empty.
fn plain(name: &WireName) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

/// Only a plain "there is none" counts as such; everything else may be different later (ASSURANCE N02).
fn negative(error: &NetError) -> Kept {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else {
        return temporary(&error.to_string());
    };
    let nx = match none.response_code {
        ResponseCode::NXDomain => true,
        // An empty answer that only names other servers is a referral: whoever gives it to a stub does not know.
        ResponseCode::NoError if none.soa.is_none() && none.ns.is_some() => return temporary("the server referred us to others"),
        ResponseCode::NoError => false,
        code => return temporary(&code.to_string()),
    };
    let ttl = Duration::from_secs(none.negative_ttl.unwrap_or(0).into()).min(MAX_NEGATIVE_TTL);
    Kept {
        result: Err(LookupError::NotFound { nx }),
        ttl,
    }
}

fn temporary(text: &str) -> Kept {
    Kept {
        result: Err(LookupError::Temporary(text.chars().take(200).collect())),
        ttl: Duration::ZERO,
    }
}
