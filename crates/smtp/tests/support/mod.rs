//! A product in memory: the backend that the tests serve, and a session over an in-memory stream.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![allow(dead_code, reason = "each test file uses its own part of it, so `expect` would not hold in all")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mail::{Envelope, ForwardPath, Host, ReversePath};
use smtp::server::{Backend, End, MailParameters, Peer, RecipientParameters, SessionInfo, Settings, serve};
use smtp::{Reply, replies};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Hosts `here.test`, knows `alice` with the password `secret`, and keeps what it accepts.
#[derive(Default)]
pub(crate) struct House {
    pub(crate) admit_everyone: bool,
    pub(crate) accepted: Mutex<Vec<(Envelope, Bytes)>>,
    pub(crate) refused: Mutex<Vec<String>>,
    pub(crate) logins: Mutex<Vec<String>>,
    pub(crate) ended: Mutex<Vec<End>>,
    pub(crate) hold_message: Option<Arc<tokio::sync::Notify>>,
}

impl Backend for House {
    type Login = String;

    async fn connect(&self, _peer: &Peer) -> Result<Option<String>, Reply> {
        Ok(self.admit_everyone.then(|| "network".to_owned()))
    }

    async fn login(&self, _session: &SessionInfo<String>, username: &str, password: &str) -> Result<String, Reply> {
        self.logins.lock().unwrap().push(username.to_owned());
        if (username, password) == ("alice", "secret") {
            Ok(username.to_owned())
        } else {
            Err(replies::AUTH_FAILED)
        }
    }

    async fn sender(&self, _session: &SessionInfo<String>, mail: &MailParameters) -> Result<(), Reply> {
        match &mail.sender {
            ReversePath::Address(address) if address.local_part() == "denied" => Err(Reply::new(550, 5, 7, 1, "Sender denied")),
            ReversePath::Address(address) if address.local_part() == "broken" => Err(replies::INTERNAL),
            _ => Ok(()),
        }
    }

    async fn recipient(
        &self,
        session: &SessionInfo<String>,
        _mail: &MailParameters,
        to: &RecipientParameters,
        _position: usize,
    ) -> Result<(), Reply> {
        let ForwardPath::Address(address) = &to.recipient else {
            return Ok(());
        };
        let here = matches!(address.host(), Host::Domain(domain) if domain.as_str() == "here.test");
        match address.local_part() {
            "unknown" => Err(Reply::new(550, 5, 1, 1, "No such recipient")),
            "later" => Err(Reply::new(450, 4, 2, 1, "Try again later")),
            "away" => Err(Reply::new(421, 4, 3, 2, "Gone for today")),
            _ if here || session.login.is_some() => Ok(()),
            _ => Err(Reply::new(550, 5, 7, 1, "Relaying denied")),
        }
    }

    async fn message(&self, _session: &SessionInfo<String>, envelope: Envelope, content: Bytes) -> Result<Reply, Reply> {
        if let Some(hold) = &self.hold_message {
            hold.notified().await;
        }
        if memchr::memmem::find(&content, b"reject-me").is_some() {
            return Err(Reply::new(554, 5, 7, 1, "Content refused"));
        }
        let mut accepted = self.accepted.lock().unwrap();
        accepted.push((envelope, content));
        Ok(Reply::new(250, 2, 0, 0, "Accepted").with_text(format!("Accepted as {}", accepted.len())))
    }

    fn refused(&self, _session: &SessionInfo<String>, verb: &'static str, reply: &Reply) {
        self.refused.lock().unwrap().push(format!("{verb} {}", reply.code));
    }

    fn ended(&self, _session: &SessionInfo<String>, end: End) {
        self.ended.lock().unwrap().push(end);
    }
}

pub(crate) fn peer() -> Peer {
    let address: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    Peer {
        address,
        local: "192.0.2.1:25".parse().unwrap(),
    }
}

pub(crate) fn settings() -> Settings {
    let mut settings = Settings::new("mx.here.test".parse().unwrap());
    settings.limits.max_message_bytes = 20_000;
    settings.limits.max_recipients = 100;
    settings.require_tls_for_auth = false;
    settings
}

pub(crate) struct Served {
    pub(crate) client: DuplexStream,
    pub(crate) house: Arc<House>,
    pub(crate) stop: CancellationToken,
    pub(crate) session: JoinHandle<End>,
}

pub(crate) fn serve_in_memory(house: House, settings: Settings) -> Served {
    let (client, server) = tokio::io::duplex(256 * 1024);
    let house = Arc::new(house);
    let stop = CancellationToken::new();
    let session = tokio::spawn(serve(server, peer(), Arc::clone(&house), Arc::new(settings), stop.clone()));
    Served {
        client,
        house,
        stop,
        session,
    }
}

/// A certificate for `mx.here.test`, and a client that believes in it.
pub(crate) fn tls() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["mx.here.test".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}
