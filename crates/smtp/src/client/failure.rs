//! What can go wrong on the sending side, and what it means for the message.

use std::fmt;

use mail::EnhancedCode;

use crate::Reply;

/// How far a conversation had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Waiting for the greeting.
    Banner,
    /// EHLO or HELO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// The TLS handshake.
    Tls,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Recipient,
    /// DATA.
    Data,
    /// The content was on its way, incomplete.
    Body,
    /// The content was sent completely; its fate was not heard.
    FinalDot,
    /// RSET.
    Reset,
    /// QUIT.
    Quit,
}

/// Words as a transcript or a log shows them.
impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Banner => "greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Tls => "TLS handshake",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Recipient => "RCPT",
            Self::Data => "DATA",
            Self::Body => "message content",
            Self::FinalDot => "end of data",
            Self::Reset => "RSET",
            Self::Quit => "QUIT",
        })
    }
}

/// Why a message cannot be given to this peer at all. Nothing of it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unfit {
    /// Larger than the peer's SIZE.
    #[error("the message is larger than the {limit} octets that the server takes")]
    TooLarge {
        /// What the peer announced.
        limit: u64,
    },
    /// Octets above 127, and the peer has no 8BITMIME: convert or bounce.
    #[error("the message has 8-bit content, and the server does not offer 8BITMIME")]
    EightBit,
    /// An address or header beyond ASCII, and the peer has no SMTPUTF8.
    #[error("the message needs SMTPUTF8, which the server does not offer")]
    Utf8,
    /// A bare CR, bare LF or NUL, which must never be sent (RFC 5321 §2.3.8).
    #[error("the message holds a bare CR, a bare LF or a NUL")]
    BareLineEnding,
    /// AUTH was asked for, and the peer offers no mechanism of ours.
    #[error("the server offers neither AUTH PLAIN nor AUTH LOGIN")]
    NoMechanism,
    /// STARTTLS was asked for, and the peer does not offer it, or TLS is active already.
    #[error("the server does not offer STARTTLS")]
    NoStartTls,
}

impl Unfit {
    /// The enhanced code of the bounce this means.
    #[must_use]
    pub const fn enhanced(self) -> EnhancedCode {
        match self {
            Self::TooLarge { .. } => EnhancedCode(5, 3, 4),
            Self::EightBit => EnhancedCode(5, 6, 3),
            Self::Utf8 => EnhancedCode(5, 6, 7),
            Self::BareLineEnding => EnhancedCode(5, 6, 0),
            Self::NoMechanism | Self::NoStartTls => EnhancedCode(5, 7, 0),
        }
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The peer answered 4xx or 5xx.
    #[error("the server said: {0}")]
    Refused(Reply),
    /// What came is no reply, or none that answers the question. Transient: the peer is broken, not the message.
    #[error("the server's reply makes no sense: {0}")]
    Garbage(String),
    /// Nothing came in time.
    #[error("timed out")]
    Timeout,
    /// The peer closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection failed: {0}")]
    Io(String),
    /// TLS could not be agreed on, or the certificate was not accepted.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The message or the wish does not fit this peer; nothing was sent.
    #[error("{0}")]
    Unfit(#[from] Unfit),
}

/// A fault and where it happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{stage}: {fault}")]
pub struct Failure {
    /// How far the conversation had come.
    pub stage: Stage,
    /// What went wrong there.
    pub fault: Fault,
}

impl Failure {
    pub(super) const fn new(stage: Stage, fault: Fault) -> Self {
        Self { stage, fault }
    }

    /// Will the same attempt at the same peer fail again? Only a 5xx of the peer, or what the peer cannot take, says so.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match &self.fault {
            Fault::Refused(reply) => reply.is_permanent(),
            Fault::Unfit(_) => true,
            _ => false,
        }
    }

    /// Was the message sent completely without an intelligible answer? Then the peer may have it, and a retry may make a second copy.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.stage == Stage::FinalDot && !matches!(self.fault, Fault::Refused(_) | Fault::Unfit(_))
    }

    /// The peer's reply, if it is one that refuses.
    #[must_use]
    pub const fn reply(&self) -> Option<&Reply> {
        match &self.fault {
            Fault::Refused(reply) => Some(reply),
            _ => None,
        }
    }

    /// The enhanced code to report: the peer's own, or the one that fits (RFC 3463).
    #[must_use]
    pub fn enhanced(&self) -> EnhancedCode {
        match &self.fault {
            Fault::Refused(reply) => reply.enhanced.unwrap_or_else(|| {
                let class = if reply.is_permanent() { 5 } else { 4 };
                let (subject, detail) = match self.stage {
                    Stage::Recipient if reply.code == 550 => (1, 1),
                    Stage::Auth => (7, 8),
                    _ => (0, 0),
                };
                EnhancedCode(class, subject, detail)
            }),
            Fault::Unfit(unfit) => unfit.enhanced(),
            Fault::Garbage(_) => EnhancedCode(4, 5, 0),
            Fault::Timeout | Fault::Closed | Fault::Io(_) => EnhancedCode(4, 4, 2),
            Fault::Tls(_) => EnhancedCode(4, 7, 5),
        }
    }
}
