//! The receiving side: [`serve`] drives one session over any byte stream and asks a [`Backend`] for every decision.
//!
//! The session itself is a state machine over lines and content that never touches a socket; the loop alone reads, writes and looks at the clock.
//!
//! Promises: one reply per command, in order; pipelined commands are answered with one write; a message is handed to the backend
//! only when its true end has arrived; a backend's future is never dropped half-way; an idle session holds no buffers. Deadlines are per request,
//! not per read, and content must keep a minimum rate. Not here: who may send what to whom.

mod content;
mod line_loop;
mod memory;
mod session;
mod verbs;
mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mail::{Domain, Envelope};

pub use crate::command::{Body, MailParameters, RecipientParameters, Return};
use crate::{Reply, TlsInfo};
pub use line_loop::serve;
pub use memory::Memory;

/// What the product answers. `Err` is the refusal that the client gets; a 421 also closes the session.
///
/// Whatever goes wrong inside must be turned into [`crate::replies::INTERNAL`] by the implementation: a reply is public.
pub trait Backend: Send + Sync + 'static {
    /// Who logged in, or was admitted without.
    type Login: Send + Sync + 'static;

    /// A client has connected. `Some` admits it as if it had logged in; an error is sent instead of the greeting.
    fn connect(&self, peer: &Peer) -> impl Future<Output = Result<Option<Self::Login>, Reply>> + Send;

    /// A client presents credentials: UTF-8, not empty, without control characters, bounded in length.
    fn login(
        &self,
        session: &SessionInfo<Self::Login>,
        username: &str,
        password: &str,
    ) -> impl Future<Output = Result<Self::Login, Reply>> + Send;

    /// MAIL, well formed and within SIZE.
    fn sender(&self, session: &SessionInfo<Self::Login>, mail: &MailParameters) -> impl Future<Output = Result<(), Reply>> + Send;

    /// RCPT, well formed. `position` counts the recipients accepted before it in this transaction.
    fn recipient(
        &self,
        session: &SessionInfo<Self::Login>,
        mail: &MailParameters,
        recipient: &RecipientParameters,
        position: usize,
    ) -> impl Future<Output = Result<(), Reply>> + Send;

    /// A complete message: lines end with CRLF, nothing bare is in it, dots are unstuffed. `Ok` takes responsibility for it.
    fn message(
        &self,
        session: &SessionInfo<Self::Login>,
        envelope: Envelope,
        content: Bytes,
    ) -> impl Future<Output = Result<Reply, Reply>> + Send;

    /// Told of each 4xx and 5xx before it is sent, for metrics and logs. `verb` is what was answered.
    fn refused(&self, _session: &SessionInfo<Self::Login>, _verb: &'static str, _reply: &Reply) {}

    /// Told of a session's end.
    fn ended(&self, _session: &SessionInfo<Self::Login>, _end: End) {}
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address and port.
    pub address: SocketAddr,
    /// Ours, where it connected to.
    pub local: SocketAddr,
}

/// What a session knows, as the backend sees it.
#[derive(Debug)]
pub struct SessionInfo<L> {
    /// The other end.
    pub peer: Peer,
    /// The name given with EHLO or HELO: a client's claim, safe to print.
    pub helo: Option<String>,
    /// EHLO rather than HELO.
    pub esmtp: bool,
    /// What the TLS handshake agreed on; `None` in clear.
    pub tls: Option<TlsInfo>,
    /// Who is logged in or was admitted.
    pub login: Option<L>,
    /// By AUTH, rather than by address.
    pub authenticated: bool,
    /// Messages accepted so far.
    pub messages: u32,
}

impl<L> SessionInfo<L> {
    /// The `with` clause of a Received field (RFC 3848, RFC 6531 §4.3).
    #[must_use]
    pub fn protocol(&self, smtputf8: bool) -> &'static str {
        match (smtputf8, self.esmtp, self.tls.is_some(), self.authenticated) {
            (true, _, false, false) => "UTF8SMTP",
            (true, _, true, false) => "UTF8SMTPS",
            (true, _, false, true) => "UTF8SMTPA",
            (true, _, true, true) => "UTF8SMTPSA",
            (false, false, false, _) => "SMTP",
            (false, true, false, false) => "ESMTP",
            (false, true, false, true) => "ESMTPA",
            (false, _, true, false) => "ESMTPS",
            (false, _, true, true) => "ESMTPSA",
        }
    }
}

/// Bounds of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of one message; announced as SIZE.
    pub max_message_bytes: usize,
    /// Recipients of one transaction; at least 100 (RFC 5321 §4.5.3.1.8).
    pub max_recipients: usize,
    /// Octets of a line of content from a client that is logged in or admitted; `None`: any. RFC 5322 §2.1.1 says 998.
    pub submission_max_line: Option<usize>,
    /// The same for everyone else. A forwarder must not refuse what others let through.
    pub inbound_max_line: Option<usize>,
    /// For one command, from our reply to its last octet.
    pub command_timeout: Duration,
    /// For content: the time without which it is given up, renewed by what arrives at `min_data_rate`.
    pub data_timeout: Duration,
    /// Octets per second that content must keep in the long run.
    pub min_data_rate: u32,
    /// For a TLS handshake.
    pub handshake_timeout: Duration,
    /// For the client to take our replies.
    pub write_timeout: Duration,
    /// Wait this long before greeting a client that is not admitted by address: one that speaks meanwhile is no mail server.
    pub greeting_pause: Duration,
    /// Protocol errors until 421.
    pub max_errors: u32,
    /// Commands without an accepted message in between until 421: NOOP, RSET, VRFY, HELP, EHLO, refused MAIL.
    pub max_idle_commands: u32,
    /// Refused recipients in one session until 421.
    pub max_refused_recipients: u32,
    /// Messages until 421.
    pub max_messages_per_connection: u32,
    /// The longest session.
    pub session_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 26_214_400,
            max_recipients: 1000,
            submission_max_line: Some(998),
            inbound_max_line: None,
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(180),
            min_data_rate: 500,
            handshake_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            greeting_pause: Duration::ZERO,
            max_errors: 20,
            max_idle_commands: 100,
            max_refused_recipients: 1000,
            max_messages_per_connection: 100_000,
            session_timeout: Duration::from_secs(24 * 3600),
        }
    }
}

/// What all sessions of a listener share.
#[derive(Debug)]
pub struct Settings {
    /// Our name in greeting and EHLO, and the domain of a bare `Postmaster`.
    pub hostname: Domain,
    /// Bounds.
    pub limits: Limits,
    /// For STARTTLS and implicit TLS. A resolver inside may change the certificate at any time without touching sessions.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Handshake first, on connection.
    pub implicit_tls: bool,
    /// AUTH is neither offered nor taken in clear.
    pub require_tls_for_auth: bool,
    /// Offer CHUNKING.
    pub chunking: bool,
    /// For message bodies of all sessions together.
    pub memory: Arc<Memory>,
}

impl Settings {
    /// Plain SMTP with default limits.
    #[must_use]
    pub fn new(hostname: Domain) -> Self {
        Self {
            hostname,
            limits: Limits::default(),
            tls: None,
            implicit_tls: false,
            require_tls_for_auth: true,
            chunking: true,
            memory: Arc::new(Memory::new(512 * 1024 * 1024)),
        }
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// QUIT.
    Quit,
    /// The client closed or reset the connection.
    Gone,
    /// A deadline passed: a command, content below the minimum rate, a handshake, or replies not taken.
    TimedOut,
    /// We closed it: errors, limits, a refusal with 421.
    Closed,
    /// The process is stopping.
    Stopped,
    /// TLS failed.
    Tls,
    /// The other end does not speak SMTP.
    Foreign,
}

impl End {
    /// A word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::Gone => "gone",
            Self::TimedOut => "timeout",
            Self::Closed => "closed",
            Self::Stopped => "stopped",
            Self::Tls => "tls",
            Self::Foreign => "foreign",
        }
    }
}
