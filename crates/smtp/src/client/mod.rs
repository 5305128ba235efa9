//! The sending side: a [`Connection`] over any byte stream, and what became of each recipient.
//!
//! ```text
//! let mut connection = Connection::new(tcp, Timeouts::default());
//! connection.greeting().await?;
//! connection.hello("mx.example.org").await?;
//! if connection.extensions().starttls { connection.starttls(config, name, "mx.example.org").await?; }
//! let report = connection.transaction(&Transaction { … }).await;     // as often as is_usable()
//! connection.quit().await;
//! ```
//!
//! Promises: a failure says at which [`Stage`] it happened, so that "the message may have arrived" (after the final dot) is told apart from
//! "it cannot have"; a reply that makes no sense is temporary; nothing bare (CR, LF, NUL) is ever sent; what a peer sends ahead of
//! a TLS handshake aborts it; replies, transcript and waiting are bounded. With PIPELINING a transaction is two round trips, with
//! CHUNKING as well (and a message up to [`ONE_ROUND_TRIP_OCTETS`]) it is one.
//!
//! Not here: which host to dial, whether TLS is wanted, when to try again.

mod commands;
mod extensions;
mod failure;
mod payload;
mod received;
mod transaction;
mod transcript;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{TlsConnector, TlsStream};
use zeroize::Zeroizing;

use crate::Reply;
use crate::transport::{TlsInfo, Transport};
pub use extensions::Extensions;
pub use failure::{Failure, Fault, Stage, Unfit};
pub use transaction::{ONE_ROUND_TRIP_OCTETS, Report, Transaction};
use wire::Wire;

/// How long each answer is waited for. The defaults are RFC 5321 §4.5.3.2's; a shorter final wait makes duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The greeting.
    pub banner: Duration,
    /// EHLO, HELO, STARTTLS, AUTH, RSET.
    pub command: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// MAIL.
    pub mail: Duration,
    /// Each RCPT.
    pub recipient: Duration,
    /// The 354.
    pub data: Duration,
    /// Each progress while bytes are being sent.
    pub block: Duration,
    /// The answer to the end of the message.
    pub final_dot: Duration,
    /// QUIT: courtesy, hence short.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Self {
            banner: minutes(5),
            command: minutes(5),
            handshake: minutes(1),
            mail: minutes(5),
            recipient: minutes(5),
            data: minutes(2),
            block: minutes(3),
            final_dot: minutes(10),
            quit: Duration::from_secs(5),
        }
    }
}

/// A connection to a server. After a failure that [`Connection::is_usable`] reports as final, it can only be dropped.
#[derive(Debug)]
pub struct Connection<S> {
    wire: Wire<S>,
    timeouts: Timeouts,
    extensions: Extensions,
    tls: Option<TlsInfo>,
    usable: bool,
    /// A transaction was left open: RSET goes ahead of the next.
    needs_reset: bool,
    transactions: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes over a connected stream. Nothing is read or written yet.
    pub fn new(stream: S, timeouts: Timeouts) -> Self {
        Self {
            wire: Wire::new(Transport::Plain(stream)),
            timeouts,
            extensions: Extensions::default(),
            tls: None,
            usable: true,
            needs_reset: false,
            transactions: 0,
        }
    }

    /// Implicit TLS: the handshake comes before the greeting.
    ///
    /// # Errors
    /// A [`Failure`] at [`Stage::Tls`].
    pub async fn secure(&mut self, config: Arc<rustls::ClientConfig>, name: ServerName<'static>) -> Result<(), Failure> {
        let Some(stream) = self.wire.stream.take_plain() else {
            return Err(Failure::new(Stage::Tls, Unfit::NoStartTls.into()));
        };
        let fail = |fault: Fault| Failure::new(Stage::Tls, fault);
        let handshake = TlsConnector::from(config).connect(name, stream);
        let result = match tokio::time::timeout(self.timeouts.handshake, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Fault::Tls(error.to_string())),
            Err(_) => Err(Fault::Timeout),
        };
        match result {
            Ok(stream) => {
                let info = TlsInfo::of(stream.get_ref().1);
                self.wire.transcript.note(&format!("{} {}", info.version, info.cipher));
                self.tls = Some(info);
                self.wire.stream = Transport::Tls(Box::new(TlsStream::Client(stream)));
                Ok(())
            }
            Err(fault) => {
                self.usable = false;
                self.wire.transcript.note(&fault.to_string());
                Err(fail(fault))
            }
        }
    }

    /// Waits for the 220.
    ///
    /// # Errors
    /// A [`Failure`] at [`Stage::Banner`].
    pub async fn greeting(&mut self) -> Result<Reply, Failure> {
        let reply = self.answer(Stage::Banner, self.timeouts.banner).await?;
        self.expect(Stage::Banner, reply, 220)
    }

    /// EHLO, and HELO when the server does not know it. Fills [`Connection::extensions`]. `name` must be a host name or literal.
    ///
    /// # Errors
    /// A [`Failure`] at [`Stage::Hello`].
    pub async fn hello(&mut self, name: &str) -> Result<Reply, Failure> {
        let reply = self.ask(Stage::Hello, &format!("EHLO {name}\r\n")).await?;
        if reply.is_positive() {
            self.extensions = Extensions::of(&reply);
            return Ok(reply);
        }
        if !reply.is_permanent() {
            return self.expect(Stage::Hello, reply, 250);
        }
        let reply = self.ask(Stage::Hello, &format!("HELO {name}\r\n")).await?;
        self.extensions = Extensions::default();
        self.expect(Stage::Hello, reply, 250)
    }

    /// STARTTLS, the handshake, and EHLO again, because what was learnt in clear does not count (RFC 3207 §4.2).
    ///
    /// # Errors
    /// A [`Failure`] at [`Stage::StartTls`], where the connection is still good after a refusal; at [`Stage::Tls`] or [`Stage::Hello`].
    pub async fn starttls(&mut self, config: Arc<rustls::ClientConfig>, server: ServerName<'static>, name: &str) -> Result<(), Failure> {
        if !self.extensions.starttls || self.tls.is_some() {
            return Err(Failure::new(Stage::StartTls, Unfit::NoStartTls.into()));
        }
        let reply = self.ask(Stage::StartTls, "STARTTLS\r\n").await?;
        self.expect(Stage::StartTls, reply, 220)?;
        if self.wire.has_unread() {
            // ASSURANCE T02: someone put plaintext where only the handshake may be.
            self.usable = false;
            return Err(Failure::new(
                Stage::StartTls,
                Fault::Garbage("plaintext after the reply to STARTTLS".to_owned()),
            ));
        }
        self.extensions = Extensions::default();
        self.secure(config, server).await?;
        self.hello(name).await.map(|_| ())
    }

    /// AUTH PLAIN, or LOGIN where only that is offered. The secret stays out of the transcript.
    ///
    /// # Errors
    /// A [`Failure`] at [`Stage::Auth`].
    pub async fn authenticate(&mut self, username: &str, password: &str) -> Result<Reply, Failure> {
        let reply = if self.extensions.auth_plain {
            let response = Zeroizing::new(format!("\0{username}\0{password}"));
            let line = Zeroizing::new(format!("AUTH PLAIN {}\r\n", STANDARD.encode(response.as_bytes())));
            self.ask_secretly(&line, "AUTH PLAIN [secret]").await?
        } else if self.extensions.auth_login {
            let mut reply = self.ask(Stage::Auth, "AUTH LOGIN\r\n").await?;
            for (secret, shown) in [(username, "[username]"), (password, "[secret]")] {
                if reply.code != 334 {
                    break;
                }
                let line = Zeroizing::new(format!("{}\r\n", STANDARD.encode(secret)));
                reply = self.ask_secretly(&line, shown).await?;
            }
            reply
        } else {
            return Err(Failure::new(Stage::Auth, Unfit::NoMechanism.into()));
        };
        self.expect(Stage::Auth, reply, 235)
    }

    /// Sends one message. Never fails as a whole: the report tells every recipient's fate.
    pub async fn transaction(&mut self, transaction: &Transaction<'_>) -> Report {
        transaction::run(self, transaction).await
    }

    /// Says goodbye and closes. What the server makes of it does not matter any more.
    pub async fn quit(mut self) {
        if self.usable && self.wire.send(std::iter::once(&b"QUIT\r\n"[..]), self.timeouts.quit).await.is_ok() {
            self.wire.transcript.sent(b"QUIT");
            let _ = self.wire.reply(self.timeouts.quit).await;
        }
        let _ = tokio::time::timeout(self.timeouts.quit, self.wire.stream.shutdown()).await;
    }

    /// What the last EHLO offered.
    #[must_use]
    pub const fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// What the handshake agreed on; `None` in clear.
    #[must_use]
    pub const fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// The server's certificate chain, end entity first.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match &self.wire.stream {
            Transport::Tls(stream) => stream.get_ref().1.peer_certificates(),
            _ => None,
        }
    }

    /// May another transaction be tried on it?
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.usable
    }

    /// Transactions run so far.
    #[must_use]
    pub const fn transactions(&self) -> u32 {
        self.transactions
    }

    /// The conversation since the last call, as text. Content and secrets are not in it.
    pub fn take_transcript(&mut self) -> String {
        self.wire.transcript.take()
    }

    /// The stream below.
    pub fn get_ref(&self) -> Option<&S> {
        self.wire.stream.get_ref()
    }

    async fn ask(&mut self, stage: Stage, line: &str) -> Result<Reply, Failure> {
        self.wire.transcript.sent(line.as_bytes());
        self.write(stage, line).await?;
        self.answer(stage, self.timeouts.command).await
    }

    async fn ask_secretly(&mut self, line: &str, shown: &str) -> Result<Reply, Failure> {
        self.wire.transcript.sent(shown.as_bytes());
        self.write(Stage::Auth, line).await?;
        self.answer(Stage::Auth, self.timeouts.command).await
    }

    async fn write(&mut self, stage: Stage, line: &str) -> Result<(), Failure> {
        let sent = self.wire.send(std::iter::once(line.as_bytes()), self.timeouts.block).await;
        sent.map_err(|fault| self.broken(stage, fault))
    }

    async fn answer(&mut self, stage: Stage, within: Duration) -> Result<Reply, Failure> {
        match self.wire.reply(within).await {
            Ok(reply) => {
                self.usable &= !reply.is_closing();
                Ok(reply)
            }
            Err(fault) => Err(self.broken(stage, fault)),
        }
    }

    /// The conversation cannot go on.
    fn broken(&mut self, stage: Stage, fault: Fault) -> Failure {
        self.usable = false;
        self.wire.transcript.note(&fault.to_string());
        Failure::new(stage, fault)
    }

    /// Sorts a reply: `code` (or any 2xx where 250 is wanted) is good, 4xx and 5xx refuse, anything else is garbage.
    fn expect(&mut self, stage: Stage, reply: Reply, code: u16) -> Result<Reply, Failure> {
        if reply.code == code || (code == 250 && reply.is_positive()) {
            Ok(reply)
        } else if reply.is_transient() || reply.is_permanent() {
            Err(Failure::new(stage, Fault::Refused(reply)))
        } else {
            Err(self.broken(stage, Fault::Garbage(format!("{} where {code} was expected", reply.code))))
        }
    }
}
