//! Sockets: binding, accepting, and from a connection to a session.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use config::Smtp;
use ipnet::IpNet;
use smtp::proxy::{self, Origin};
use smtp::replies;
use smtp::server::{Peer, Settings, serve};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::caps::{Caps, Full, Place};
use crate::policy::Policy;

/// Connections that the kernel holds for us.
const BACKLOG: i32 = 4096;
/// How long a load balancer may take for its header.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the longest wait after an accept that failed for want of resources.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// The bound sockets.
#[derive(Debug)]
pub struct Listeners {
    plain: Vec<TcpListener>,
    implicit: Vec<TcpListener>,
}

impl Listeners {
    /// Binds every address of the settings. Port 0 takes a free one.
    ///
    /// # Errors
    /// When an address cannot be had; the text names it.
    pub fn bind(smtp: &Smtp) -> io::Result<Self> {
        let bind = |addresses: &[SocketAddr]| addresses.iter().map(|address| bind(*address)).collect::<io::Result<Vec<_>>>();
        Ok(Self {
            plain: bind(&smtp.listen)?,
            implicit: bind(&smtp.listen_tls)?,
        })
    }

    /// Where clients may connect and use STARTTLS.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.plain.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Where TLS comes first.
    #[must_use]
    pub fn tls_addresses(&self) -> Vec<SocketAddr> {
        self.implicit.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Accepts until the house stops. The sockets are closed then.
    pub(crate) async fn accept(self, house: &Arc<House>, sessions: &TaskTracker) {
        let accepting = TaskTracker::new();
        let plain = self.plain.into_iter().map(|listener| (listener, &house.plain));
        let implicit = self.implicit.into_iter().map(|listener| (listener, &house.implicit));
        for (listener, settings) in plain.chain(implicit) {
            if let Ok(address) = listener.local_addr() {
                tracing::info!(%address, implicit_tls = settings.implicit_tls, "listening for SMTP");
            }
            accepting.spawn(accept(listener, Arc::clone(settings), Arc::clone(house), sessions.clone()));
        }
        accepting.close();
        accepting.wait().await;
    }
}

/// What every connection needs.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) policy: Arc<Policy>,
    pub(crate) plain: Arc<Settings>,
    pub(crate) implicit: Arc<Settings>,
    pub(crate) caps: Arc<Caps>,
    pub(crate) proxy_networks: Box<[IpNet]>,
    pub(crate) stop: CancellationToken,
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|cause| io::Error::new(cause.kind(), format!("cannot listen on {address}: {cause}")))
}

/// One listener's loop. Out of descriptors it waits instead of spinning, and recovers by itself (ASSURANCE R11).
async fn accept(listener: TcpListener, settings: Arc<Settings>, house: Arc<House>, sessions: TaskTracker) {
    let mut wait = BACK_OFF[0];
    while let Some(accepted) = house.stop.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(cause) if is_of_one_connection(&cause) => continue,
            Err(cause) => {
                tracing::warn!(%cause, "accepting SMTP connections pauses");
                metrics::counter!("postroad_smtp_accept_failures_total").increment(1);
                house.stop.run_until_cancelled(tokio::time::sleep(wait)).await;
                wait = (wait * 2).min(BACK_OFF[1]);
                continue;
            }
        };
        wait = BACK_OFF[0];
        match house.caps.enter() {
            Ok(place) => drop(sessions.spawn(session(stream, peer, place, Arc::clone(&settings), Arc::clone(&house)))),
            Err(full) => turn_away(&stream, full),
        }
    }
}

/// The connection failed, not the listener.
fn is_of_one_connection(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted | io::ErrorKind::TimedOut
    )
}

/// Says 421 if the socket takes it at once; costs nothing otherwise.
fn turn_away(stream: &TcpStream, full: Full) {
    metrics::counter!("postroad_smtp_connections_refused_total", "reason" => full.as_str()).increment(1);
    let mut bytes = Vec::new();
    replies::TOO_MANY_CONNECTIONS.write_to(&mut bytes);
    let _ = stream.try_write(&bytes);
}

async fn session(mut stream: TcpStream, from: SocketAddr, mut place: Place, settings: Arc<Settings>, house: Arc<House>) {
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let mut peer = Peer {
        address: canonical(from),
        local: canonical(local),
    };
    if house.proxy_networks.iter().any(|network| network.contains(&peer.address.ip())) {
        match tokio::time::timeout(PROXY_TIMEOUT, proxy::read(&mut stream)).await {
            Ok(Ok(Origin::Proxied { source, destination })) => {
                peer = Peer {
                    address: source,
                    local: destination,
                }
            }
            Ok(Ok(Origin::Local)) => {}
            Ok(Err(cause)) => {
                return tracing::warn!(peer = %peer.address.ip(), %cause, "a connection without a usable PROXY header was dropped");
            }
            Err(_) => return,
        }
    }
    if let Err(full) = place.claim(peer.address.ip()) {
        return turn_away(&stream, full);
    }
    let open = metrics::gauge!("postroad_smtp_sessions");
    open.increment(1.0);
    let span = tracing::info_span!("smtp_session", peer = %peer.address.ip());
    let end = serve(stream, peer, Arc::clone(&house.policy), settings, house.stop.clone())
        .instrument(span)
        .await;
    open.decrement(1.0);
    metrics::counter!("postroad_smtp_sessions_total", "end" => end.as_str()).increment(1);
    drop(place);
}

/// A client of IPv4 on a socket of both families is a client of IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
