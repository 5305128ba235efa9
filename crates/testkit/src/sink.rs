//! An SMTP server that accepts everything unless its script says otherwise, and keeps the exact bytes.
//!
//! As strict as the strictest real server: only CRLF.CRLF ends a message, bare CR, LF and NUL are refused, parameters of extensions that
//! were not offered are refused.

mod session;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// What the script answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// As if there were no script.
    Usual,
    /// One or more lines, without the final CRLF; 421 closes.
    Line(String),
    /// Exactly these bytes, then on as after a refusal.
    Raw(Vec<u8>),
    /// Closes without a word.
    Close,
    /// Never answers.
    Stall,
}

/// A message that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The name in EHLO or HELO.
    pub helo: String,
    /// MAIL's argument after `FROM:`, parameters included.
    pub mail: String,
    /// The path of MAIL, without brackets.
    pub from: String,
    /// RCPT's arguments after `TO:`, parameters included.
    pub rcpt: Vec<String>,
    /// The paths of the accepted RCPTs, without brackets.
    pub to: Vec<String>,
    /// The bytes after dot-unstuffing.
    pub data: Vec<u8>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Who logged in (AUTH PLAIN's whole initial response), if anybody.
    pub auth: Option<String>,
    /// The connection's number, from 1.
    pub connection: usize,
}

/// Where in the conversation the script is asked.
#[derive(Debug, Clone)]
pub struct Moment<'a> {
    /// The verb in capitals, or `CONNECT` before the greeting, `DOT` after the message.
    pub verb: &'a str,
    /// The whole command line.
    pub line: &'a str,
    /// What is known of the transaction; at `DOT` with its data.
    pub message: &'a Message,
}

type Script = dyn Fn(&Moment<'_>) -> Reply + Send + Sync;

/// How a sink behaves.
#[derive(Clone)]
pub struct Behaviour {
    /// What EHLO offers besides STARTTLS.
    pub extensions: Vec<String>,
    /// Offers STARTTLS with this configuration.
    pub tls: Option<Arc<tokio_rustls::rustls::ServerConfig>>,
    /// Speaks TLS from the first octet instead of offering STARTTLS.
    pub implicit_tls: bool,
    script: Arc<Script>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let extensions = [
            "PIPELINING",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "DSN",
            "SIZE 52428800",
            "ENHANCEDSTATUSCODES",
        ];
        Self {
            extensions: extensions.map(str::to_owned).into(),
            tls: None,
            implicit_tls: false,
            script: Arc::new(|_| Reply::Usual),
        }
    }
}

impl Behaviour {
    /// Answers by a script.
    #[must_use]
    pub fn scripted(script: impl Fn(&Moment<'_>) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            ..Self::default()
        }
    }

    /// Offers these extensions only.
    #[must_use]
    pub fn offering(mut self, extensions: &[&str]) -> Self {
        self.extensions = extensions.iter().map(|e| (*e).to_owned()).collect();
        self
    }

    /// Offers STARTTLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Arc<tokio_rustls::rustls::ServerConfig>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Speaks TLS from the first octet.
    #[must_use]
    pub fn with_implicit_tls(mut self, tls: Arc<tokio_rustls::rustls::ServerConfig>) -> Self {
        self.implicit_tls = true;
        self.with_tls(tls)
    }

    fn offers(&self, extension: &str) -> bool {
        self.extensions.iter().any(|offered| offered.split(' ').next() == Some(extension))
    }
}

#[derive(Default)]
struct Seen {
    messages: Vec<Message>,
    connections: usize,
    lines: Vec<String>,
}

/// The running sink; stops when dropped.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sink {
    /// On a free port, accepting everything.
    pub async fn start() -> Self {
        Self::behaving(Behaviour::default()).await
    }

    /// On a free port.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn behaving(behaviour: Behaviour) -> Self {
        Self::on(([127, 0, 0, 1], 0).into(), behaviour).await
    }

    /// At a given address: one of several hosts on the same port, or a server that comes back.
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn on(address: SocketAddr, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut seen = shared.lock().unwrap();
                    seen.connections += 1;
                    seen.connections
                };
                tokio::spawn(session::serve(stream, behaviour.clone(), Arc::clone(&shared), number));
            }
        });
        Self { address, seen, task }
    }

    /// The messages taken so far.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.seen().messages.clone()
    }

    /// How many connections were made.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen().connections
    }

    /// Every command line received, in order.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.seen().lines.clone()
    }

    /// Waits for at least `count` messages and returns them all.
    ///
    /// # Panics
    /// When they do not come within [`crate::PATIENCE`].
    pub async fn wait(&self, count: usize) -> Vec<Message> {
        crate::eventually("messages at the sink", || async {
            Some(self.messages()).filter(|messages| messages.len() >= count)
        })
        .await
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}
