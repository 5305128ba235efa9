//! Reaching a server for a destination: route, guard, connect, greet, TLS.
//!
//! Promises: no address is dialled that the guard forbids, nor ourselves; DNS trouble and unreachable servers are temporary; opportunistic TLS
//! falls back to clear on the same server when the handshake fails, required TLS never does.

mod tls;

use crate::outcome::Fate;
use config::{Mode, Relay, RelayTls};
use dns::{Guard, Name, Resolver, RouteError};
use mail::EnhancedCode;
use secrecy::ExposeSecret;
use smtp::client::{Connection, Failure, Fault, Stage, Timeouts};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use store::models::AttemptOutcome;
use tokio::net::TcpStream;

pub use tls::Clients;

/// How to reach servers.
pub struct Dialer {
    /// Answers name look-ups.
    pub resolver: Arc<dyn Resolver>,
    /// Which addresses may be dialled.
    pub guard: Guard,
    /// Direct, or everything to one server. Capture never dials.
    pub mode: Mode,
    /// The upstream server of relay mode.
    pub relay: Option<Relay>,
    /// The port of recipients' servers.
    pub port: u16,
    /// The name we greet with.
    pub hello: String,
    /// Our own host name: an MX of that name is us.
    pub own_name: Option<Name>,
    /// Our own listeners.
    pub own_addresses: Vec<SocketAddr>,
    /// How long a TCP connection may take.
    pub connect_timeout: Duration,
    /// How long answers are waited for.
    pub timeouts: Timeouts,
    /// TLS clients.
    pub tls: Clients,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer")
            .field("mode", &self.mode)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A connection that is ready for transactions.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub connection: Connection<TcpStream>,
    /// The server's name.
    pub host: String,
    /// Its address.
    pub address: SocketAddr,
}

/// Why no server could be reached.
#[derive(Debug, Clone)]
pub struct Unreachable {
    /// What it means for the message.
    pub fate: Fate,
    /// The last server tried.
    pub host: Option<String>,
    /// Its address.
    pub address: Option<SocketAddr>,
    /// What was said on the way.
    pub transcript: String,
}

/// A server to try.
struct Candidate {
    host: String,
    addresses: Vec<IpAddr>,
}

impl Dialer {
    /// Connects to a server for `destination`: a domain in A-labels, or an address literal in brackets.
    ///
    /// # Errors
    /// [`Unreachable`], with the fate of the message that was to be sent.
    pub async fn dial(&self, destination: &str, seed: u64) -> Result<Dialled, Box<Unreachable>> {
        let mut trail = Trail::default();
        let (candidates, port) = match (&self.relay, self.mode) {
            (Some(relay), Mode::Relay) => (self.relay_candidates(relay).await.map_err(|fate| trail.end(fate))?, relay.port),
            _ => (
                self.direct_candidates(destination, seed).await.map_err(|fate| trail.end(fate))?,
                self.port,
            ),
        };
        for candidate in candidates {
            for ip in candidate.addresses {
                let address = SocketAddr::new(ip, port);
                trail.at(&candidate.host, address);
                match self.try_server(&candidate.host, address, &mut trail).await {
                    Ok(dialled) => return Ok(dialled),
                    Err(fate) => trail.failed(fate),
                }
            }
        }
        let fate = trail
            .fate
            .take()
            .unwrap_or_else(|| Fate::local(false, EnhancedCode(4, 4, 1), "no server could be reached"));
        Err(trail.end(fate))
    }

    async fn direct_candidates(&self, destination: &str, seed: u64) -> Result<Vec<Candidate>, Fate> {
        let targets = match literal(destination) {
            Some(address) => vec![Candidate {
                host: destination.to_owned(),
                addresses: vec![address],
            }],
            None => dns::route(&*self.resolver, destination, self.own_name.as_slice(), seed)
                .await
                .map_err(|error| no_route(&error))?
                .into_iter()
                .map(|target| Candidate {
                    host: target.host.to_string(),
                    addresses: target.addresses,
                })
                .collect(),
        };
        let mut permitted = Vec::new();
        let mut ourselves = false;
        for Candidate { host, addresses } in targets {
            let (own, others): (Vec<_>, Vec<_>) = self
                .guard
                .permitted(&addresses)
                .into_iter()
                .partition(|address| self.is_own(*address));
            ourselves |= !own.is_empty();
            if !others.is_empty() {
                permitted.push(Candidate { host, addresses: others });
            }
        }
        if permitted.is_empty() {
            return Err(match ourselves {
                true => Fate::local(
                    true,
                    EnhancedCode(5, 4, 6),
                    "the destination's server is this one: the mail would loop",
                ),
                false => Fate::local(
                    true,
                    EnhancedCode(5, 4, 4),
                    "the destination's servers have no address that may be dialled from here",
                ),
            });
        }
        Ok(permitted)
    }

    /// An address *and port* of ours; a listener on every address counts for the machine's loopback.
    fn is_own(&self, address: IpAddr) -> bool {
        self.own_addresses
            .iter()
            .any(|own| own.port() == self.port && (own.ip() == address || (own.ip().is_unspecified() && address.is_loopback())))
    }

    async fn relay_candidates(&self, relay: &Relay) -> Result<Vec<Candidate>, Fate> {
        let addresses = match relay.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.relay_addresses(&relay.host, relay.port).await,
        };
        if addresses.is_empty() {
            return Err(Fate::local(
                false,
                EnhancedCode(4, 4, 3),
                format!("the upstream server {} has no address", relay.host),
            ));
        }
        Ok(vec![Candidate {
            host: relay.host.clone(),
            addresses,
        }])
    }

    async fn relay_addresses(&self, host: &str, port: u16) -> Vec<IpAddr> {
        if let Ok(name) = Name::parse(host)
            && let Ok(addresses) = dns::route::addresses(&*self.resolver, &name).await
        {
            return addresses;
        }
        // A name that only the system knows, such as localhost or a container's.
        tokio::net::lookup_host((host, port))
            .await
            .map(|found| found.map(|address| address.ip()).collect())
            .unwrap_or_default()
    }

    async fn try_server(&self, host: &str, address: SocketAddr, trail: &mut Trail) -> Result<Dialled, Fate> {
        match self.open(host, address, self.wanted_tls(), trail).await {
            Err((Stage::StartTls | Stage::Tls, fate)) if self.wanted_tls() == RelayTls::Opportunistic => {
                tracing::debug!(reason = %fate.response, "TLS failed; trying the same server in clear");
                trail.note("TLS failed; the same server is tried in clear");
                self.open(host, address, RelayTls::Never, trail).await.map_err(|(_, fate)| fate)
            }
            outcome => outcome.map_err(|(_, fate)| fate),
        }
    }

    fn wanted_tls(&self) -> RelayTls {
        match (&self.relay, self.mode) {
            (Some(relay), Mode::Relay) => relay.tls,
            _ => RelayTls::Opportunistic,
        }
    }

    async fn open(&self, host: &str, address: SocketAddr, tls: RelayTls, trail: &mut Trail) -> Result<Dialled, (Stage, Fate)> {
        let stream = self.connect(address).await.map_err(|fate| (Stage::Banner, fate))?;
        let mut connection = Connection::new(stream, self.timeouts);
        match self.introduce(&mut connection, host, tls).await {
            Ok(()) => Ok(Dialled {
                connection,
                host: host.to_owned(),
                address,
            }),
            Err(failure) => {
                trail.said(&connection.take_transcript());
                Err((failure.stage, self.greeting_fate(&failure)))
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> Result<TcpStream, Fate> {
        let refused = |reason: String| Fate::local(false, EnhancedCode(4, 4, 1), format!("cannot connect to {address}: {reason}"));
        let stream = tokio::time::timeout(self.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| refused("timed out".to_owned()))?
            .map_err(|error| refused(error.to_string()))?;
        let _ = stream.set_nodelay(true); // without it everything works, a little slower
        Ok(stream)
    }

    async fn introduce(&self, connection: &mut Connection<TcpStream>, host: &str, tls: RelayTls) -> Result<(), Failure> {
        let relay = self.relay.as_ref().filter(|_| self.mode == Mode::Relay);
        let verified = tls == RelayTls::Required;
        if relay.is_some_and(|relay| relay.implicit_tls) {
            connection.secure(self.tls.client(verified), tls::server_name(host)).await?;
        }
        connection.greeting().await?;
        connection.hello(&self.hello).await?;
        if connection.tls().is_none() && tls != RelayTls::Never && (verified || connection.extensions().starttls) {
            connection
                .starttls(self.tls.client(verified), tls::server_name(host), &self.hello)
                .await?;
        }
        if let Some((username, password)) = relay.and_then(|relay| relay.login.as_ref()) {
            connection.authenticate(username, password.expose_secret()).await?;
        }
        Ok(())
    }

    /// What a failure before the first transaction means. A server that greets with 5xx is one server's trouble, not the
    /// recipient's: it is tried again later, unless it says that this host takes no mail at all (RFC 7504: 521).
    fn greeting_fate(&self, failure: &Failure) -> Fate {
        let takes_no_mail = failure.stage == Stage::Banner && matches!(&failure.fault, Fault::Refused(reply) if reply.code == 521);
        if self.mode == Mode::Relay {
            tracing::error!(%failure, "the upstream server of relay mode cannot be used; mail waits");
        }
        let enhanced = failure.enhanced();
        let class = if takes_no_mail { 5 } else { 4 };
        Fate {
            code: failure.reply().map(|reply| reply.code),
            ..Fate::local(takes_no_mail, EnhancedCode(class, enhanced.1, enhanced.2), failure.to_string())
        }
    }
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
fn literal(destination: &str) -> Option<IpAddr> {
    let inner = destination.strip_prefix('[')?.strip_suffix(']')?;
    inner.strip_prefix("IPv6:").unwrap_or(inner).parse().ok()
}

fn no_route(error: &RouteError) -> Fate {
    let (class, subject, detail) = error.enhanced_code();
    Fate::local(!error.is_temporary(), EnhancedCode(class, subject, detail), error.to_string())
}

/// What was tried and said on the way.
#[derive(Default)]
struct Trail {
    host: Option<String>,
    address: Option<SocketAddr>,
    transcript: String,
    fate: Option<Fate>,
}

impl Trail {
    fn at(&mut self, host: &str, address: SocketAddr) {
        self.host = Some(host.to_owned());
        self.address = Some(address);
        self.note(&format!("{host} ({address})"));
    }

    /// One server's last word. A host that takes no mail at all does not condemn what another one could take later (RFC 7504 §3).
    fn failed(&mut self, fate: Fate) {
        if self.fate.is_none() || fate.outcome == AttemptOutcome::Deferred {
            self.fate = Some(fate);
        }
    }

    fn note(&mut self, text: &str) {
        self.said(&format!("-- {text}\n"));
    }

    fn said(&mut self, transcript: &str) {
        const ENOUGH: usize = 16 << 10;
        if self.transcript.len() < ENOUGH {
            self.transcript.push_str(transcript);
        }
    }

    fn end(&mut self, fate: Fate) -> Box<Unreachable> {
        self.note(&fate.response);
        Box::new(Unreachable {
            fate,
            host: self.host.take(),
            address: self.address.take(),
            transcript: std::mem::take(&mut self.transcript),
        })
    }
}
