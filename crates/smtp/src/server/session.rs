//! The session as a state machine: a line in, a [`Step`] out. It never touches a socket or a clock.
//!
//! A connection and a mail transaction are two structs; whether there is a transaction *is* the state.

use std::sync::Arc;

use mail::Recipient;
use zeroize::Zeroizing;

use super::memory::Held;
use super::{Backend, MailParameters, Peer, SessionInfo, Settings};
use crate::command::{self, Command};
use crate::data::DataReader;
use crate::reply::{Reply, replies};

/// What the loop is to do: say this, then that.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) reply: Reply,
    pub(super) next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Read the next line.
    Continue,
    /// Read content up to its end, then call [`Session::content_ended`].
    Content,
    /// DATA was refused; content that came nevertheless must not be read as commands.
    NoContent,
    /// Read so many octets into the transaction, then call [`Session::chunk_ended`]. The reply is not sent yet.
    Chunk {
        /// Octets of the chunk.
        size: u64,
        /// The last one.
        last: bool,
    },
    /// Drop so many octets, then say the reply.
    Discard {
        /// Octets of the chunk.
        size: u64,
    },
    /// Begin the handshake.
    StartTls,
    /// Close; `quit` when the client asked for it.
    Close {
        /// By QUIT.
        quit: bool,
    },
    /// Close without a word.
    Foreign,
}

impl Step {
    pub(super) const fn say(reply: Reply) -> Self {
        Self {
            reply,
            next: Next::Continue,
        }
    }

    pub(super) const fn close(reply: Reply) -> Self {
        Self {
            reply,
            next: Next::Close { quit: false },
        }
    }

    /// A backend's verdict: 421 closes.
    pub(super) const fn verdict(reply: Reply) -> Self {
        if reply.is_closing() { Self::close(reply) } else { Self::say(reply) }
    }
}

/// A mail transaction (RFC 5321 §3.3).
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) mail: MailParameters,
    pub(super) recipients: Vec<Recipient>,
    /// Content on its way: a DATA, or the chunks so far.
    pub(super) reader: Option<DataReader>,
    /// Chunks have begun: only BDAT, RSET and QUIT may follow (RFC 3030 §3).
    pub(super) chunked: bool,
    pub(super) held: Held,
}

/// An AUTH dialogue that waits for the client's next line.
#[derive(Debug)]
pub(super) enum Dialogue {
    /// For the one response of PLAIN.
    Plain,
    /// For LOGIN's user name.
    LoginUsername,
    /// For LOGIN's password.
    LoginPassword(Zeroizing<String>),
}

/// One connection's state.
pub(super) struct Session<B: Backend> {
    pub(super) backend: Arc<B>,
    pub(super) settings: Arc<Settings>,
    pub(super) info: SessionInfo<B::Login>,
    pub(super) transaction: Option<Box<Transaction>>,
    pub(super) dialogue: Option<Dialogue>,
    errors: u32,
    pub(super) idle_commands: u32,
    pub(super) refused_recipients: u32,
    /// What the last line was, for [`Backend::refused`].
    pub(super) verb: &'static str,
}

impl<B: Backend> Session<B> {
    pub(super) fn new(backend: Arc<B>, settings: Arc<Settings>, peer: Peer) -> Self {
        let info = SessionInfo {
            peer,
            helo: None,
            esmtp: false,
            tls: None,
            login: None,
            authenticated: false,
            messages: 0,
        };
        Self {
            backend,
            settings,
            info,
            transaction: None,
            dialogue: None,
            errors: 0,
            idle_commands: 0,
            refused_recipients: 0,
            verb: "connect",
        }
    }

    /// The greeting, or what is said instead of it. True when the session goes on.
    pub(super) async fn connect(&mut self) -> Result<(), Reply> {
        self.info.login = Box::pin(self.backend.connect(&self.info.peer)).await?;
        Ok(())
    }

    pub(super) fn greeting(&self) -> Reply {
        Reply::bare(220, "").with_text(format!("{} ESMTP Postroad", self.settings.hostname))
    }

    /// A line without its CRLF.
    pub(super) async fn line(&mut self, line: &[u8]) -> Step {
        if let Some(dialogue) = self.dialogue.take() {
            self.verb = "AUTH";
            return self.dialogue(dialogue, line).await;
        }
        if line.len() + 2 > command::longest(line) {
            self.verb = "line";
            return self.error(replies::LINE_TOO_LONG);
        }
        match command::parse(line) {
            Ok(command) => self.command(command).await,
            Err(reply) => self.malformed(line, reply),
        }
    }

    /// A line that was too long to be kept.
    pub(super) fn line_too_long(&mut self) -> Step {
        self.verb = "line";
        let reply = if self.dialogue.take().is_some() {
            replies::AUTH_LINE_TOO_LONG
        } else {
            replies::LINE_TOO_LONG
        };
        self.error(reply)
    }

    /// A line that did not end as lines do.
    pub(super) fn bare_line(&mut self) -> Step {
        self.verb = "line";
        self.dialogue = None;
        self.error(replies::BARE_LINE_ENDING)
    }

    async fn command(&mut self, command: Command<'_>) -> Step {
        self.verb = verb(&command);
        match command {
            Command::Ehlo(name) => self.hello(name, true),
            Command::Helo(name) => self.hello(name, false),
            Command::Mail(mail) => self.mail(*mail).await,
            Command::Rcpt(recipient) => self.rcpt(*recipient).await,
            Command::Data => self.data(),
            Command::Bdat { size, last } => self.bdat(size, last),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial).await,
            Command::StartTls => self.starttls(),
            Command::Rset => {
                self.transaction = None;
                self.idle(replies::OK)
            }
            Command::Noop => self.idle(replies::OK),
            Command::Vrfy => self.idle(replies::CANNOT_VERIFY),
            Command::Help => self.idle(replies::HELP),
            Command::Quit => {
                self.transaction = None;
                Step {
                    reply: replies::BYE,
                    next: Next::Close { quit: true },
                }
            }
            Command::NotImplemented => self.error(replies::NOT_IMPLEMENTED),
            Command::Foreign => Step {
                reply: replies::UNKNOWN_COMMAND,
                next: Next::Foreign,
            },
        }
    }

    fn malformed(&mut self, line: &[u8], reply: Reply) -> Step {
        let is = |name: &[u8]| line.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
        self.verb = ["MAIL", "RCPT", "DATA", "BDAT", "AUTH", "EHLO", "HELO", "STARTTLS"]
            .into_iter()
            .find(|name| is(name.as_bytes()))
            .unwrap_or("unknown");
        if reply == replies::BAD_CHUNK_SIZE {
            // How many octets follow is not known: nothing after this can be told from content.
            return Step::close(reply);
        }
        let mut step = self.error(reply);
        if self.verb == "DATA" && step.next == Next::Continue {
            step.next = Next::NoContent;
        }
        step
    }

    /// A protocol error: too many of them end the session.
    pub(super) fn error(&mut self, reply: Reply) -> Step {
        self.errors += 1;
        if self.errors >= self.settings.limits.max_errors {
            Step::close(replies::TOO_MANY_ERRORS)
        } else {
            Step::say(reply)
        }
    }

    /// A command that leads nowhere by itself: too many of them without a message end the session.
    pub(super) fn idle(&mut self, reply: Reply) -> Step {
        self.idle_commands += 1;
        if self.idle_commands > self.settings.limits.max_idle_commands {
            Step::close(replies::TOO_MANY_COMMANDS)
        } else {
            Step::verdict(reply)
        }
    }

    /// Tells the backend of a refusal that is about to be sent.
    pub(super) fn note(&self, reply: &Reply) {
        if reply.code >= 400 {
            self.backend.refused(&self.info, self.verb, reply);
        }
    }

    /// The TLS handshake is done: what was said before it is forgotten (RFC 3207 §4.2).
    pub(super) fn secured(&mut self, info: crate::TlsInfo) {
        self.info.tls = Some(info);
        self.info.helo = None;
        self.info.esmtp = false;
        self.transaction = None;
        self.dialogue = None;
        if self.info.authenticated {
            self.info.authenticated = false;
            self.info.login = None;
        }
    }
}

fn verb(command: &Command<'_>) -> &'static str {
    match command {
        Command::Ehlo(_) => "EHLO",
        Command::Helo(_) => "HELO",
        Command::Mail(_) => "MAIL",
        Command::Rcpt(_) => "RCPT",
        Command::Data => "DATA",
        Command::Bdat { .. } => "BDAT",
        Command::Auth { .. } => "AUTH",
        Command::StartTls => "STARTTLS",
        Command::Rset => "RSET",
        Command::Noop => "NOOP",
        Command::Vrfy => "VRFY",
        Command::Help => "HELP",
        Command::Quit => "QUIT",
        Command::NotImplemented | Command::Foreign => "unknown",
    }
}
