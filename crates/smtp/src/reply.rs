//! A reply: what the server says and what the client hears. The constants are the server's whole vocabulary.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use mail::status::EnhancedCode;

/// One SMTP reply (RFC 5321 §4.2) with its enhanced status code (RFC 2034). A line feed in `text` begins a further line of a
/// multi-line reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three-digit code, 200–599.
    pub code: u16,
    /// The enhanced code; its class always agrees with the first digit of `code` in replies of ours.
    pub enhanced: Option<EnhancedCode>,
    /// The words, without codes.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced code.
    #[must_use]
    pub const fn new(code: u16, class: u8, subject: u16, detail: u16, text: &'static str) -> Self {
        Self {
            code,
            enhanced: Some(EnhancedCode(class, subject, detail)),
            text: Cow::Borrowed(text),
        }
    }

    /// A reply that carries no enhanced code: greetings, EHLO answers, 3xx (RFC 2034 §4).
    #[must_use]
    pub const fn bare(code: u16, text: &'static str) -> Self {
        Self {
            code,
            enhanced: None,
            text: Cow::Borrowed(text),
        }
    }

    /// The same codes with other words.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = text.into();
        self
    }

    /// 2xx: done.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx: may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx: will not succeed if repeated.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// 421: the server closes the connection.
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        self.code == 421
    }

    /// Appends the reply as it goes over the wire. A line never exceeds 512 octets (RFC 5321 §4.5.3.1.5), and whatever is not
    /// printable ASCII, line breaks and a client's own words included, is replaced.
    pub fn write_to(&self, wire: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let start = wire.len();
            wire.extend_from_slice(&digits(self.code));
            wire.push(if lines.peek().is_some() { b'-' } else { b' ' });
            if let Some(enhanced) = self.enhanced {
                // Writing to a Vec cannot fail.
                let _ = write!(wire, "{enhanced} ");
            }
            let room = 510usize.saturating_sub(wire.len() - start);
            wire.extend(
                line.bytes()
                    .take(room)
                    .map(|byte| if (b' '..=b'~').contains(&byte) { byte } else { b'?' }),
            );
            wire.extend_from_slice(b"\r\n");
        }
    }
}

fn digits(code: u16) -> [u8; 3] {
    let digit = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
    [digit(code / 100), digit(code / 10), digit(code)]
}

/// Code, enhanced code and text in one line, as logs and reports want it.
impl fmt::Display for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(formatter, " {enhanced}")?;
        }
        for (number, line) in self.text.split('\n').enumerate() {
            write!(formatter, "{}{line}", if number == 0 { " " } else { " / " })?;
        }
        Ok(())
    }
}

/// What the server says by itself. A backend adds its own replies for its policy.
pub mod replies {
    use super::Reply;

    /// RFC 5321 §4.1.1.10.
    pub const BYE: Reply = Reply::new(221, 2, 0, 0, "Bye");
    /// RFC 4954 §6.
    pub const AUTHENTICATED: Reply = Reply::new(235, 2, 7, 0, "Authentication succeeded");
    /// NOOP, RSET.
    pub const OK: Reply = Reply::new(250, 2, 0, 0, "OK");
    /// RFC 5321 §4.1.1.2.
    pub const SENDER_OK: Reply = Reply::new(250, 2, 1, 0, "Sender OK");
    /// RFC 5321 §4.1.1.3.
    pub const RECIPIENT_OK: Reply = Reply::new(250, 2, 1, 5, "Recipient OK");
    /// RFC 3030 §2: a chunk that is not the last one.
    pub const CHUNK_OK: Reply = Reply::new(250, 2, 0, 0, "Chunk received");
    /// RFC 5321 §3.5.3: neither confirmed nor denied, whoever is asked about.
    pub const CANNOT_VERIFY: Reply = Reply::new(252, 2, 5, 0, "Cannot verify, but will take the message");
    /// RFC 5321 §4.1.1.8.
    pub const HELP: Reply = Reply::new(
        214,
        2,
        0,
        0,
        "Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\nSee RFC 5321",
    );
    /// RFC 3207 §4.
    pub const READY_FOR_TLS: Reply = Reply::new(220, 2, 0, 0, "Ready to start TLS");
    /// RFC 5321 §4.1.1.4.
    pub const GO_AHEAD: Reply = Reply::bare(354, "End data with <CR><LF>.<CR><LF>");
    /// RFC 4954 §4: an empty challenge.
    pub const AUTH_CONTINUE: Reply = Reply::bare(334, "");
    /// `Username:` in base64.
    pub const AUTH_USERNAME: Reply = Reply::bare(334, "VXNlcm5hbWU6");
    /// `Password:` in base64.
    pub const AUTH_PASSWORD: Reply = Reply::bare(334, "UGFzc3dvcmQ6");

    /// The process is stopping (RFC 5321 §3.8).
    pub const SHUTTING_DOWN: Reply = Reply::new(421, 4, 3, 2, "Service shutting down, try again later");
    /// A deadline passed.
    pub const TIMEOUT: Reply = Reply::new(421, 4, 4, 2, "Timeout, closing the connection");
    /// Too many protocol errors in one session.
    pub const TOO_MANY_ERRORS: Reply = Reply::new(421, 4, 7, 0, "Too many errors, closing the connection");
    /// Too many commands that lead nowhere.
    pub const TOO_MANY_COMMANDS: Reply = Reply::new(421, 4, 7, 0, "Too many commands without a message, closing the connection");
    /// This connection has carried its share.
    pub const TOO_MANY_MESSAGES: Reply = Reply::new(421, 4, 7, 0, "Enough messages for one connection, please open another");
    /// Connection caps.
    pub const TOO_MANY_CONNECTIONS: Reply = Reply::new(421, 4, 7, 0, "Too many connections, try again later");
    /// The session lasted too long.
    pub const SESSION_TOO_LONG: Reply = Reply::new(421, 4, 7, 0, "Session lasted too long, please open another");
    /// Whatever went wrong on our side: its cause is logged, never told.
    pub const INTERNAL: Reply = Reply::new(451, 4, 3, 0, "Temporary failure, try again later");
    /// RFC 5321 §4.5.3.1.10.
    pub const TOO_MANY_RECIPIENTS: Reply = Reply::new(452, 4, 5, 3, "Too many recipients in this transaction");
    /// Memory for message bodies is used up for now.
    pub const OUT_OF_MEMORY: Reply = Reply::new(452, 4, 3, 1, "Insufficient system storage, try again later");

    /// RFC 5321 §4.5.3.1.4.
    pub const LINE_TOO_LONG: Reply = Reply::new(500, 5, 5, 2, "Line too long");
    /// A command line that ends in a bare LF, or holds a bare CR or NUL.
    pub const BARE_LINE_ENDING: Reply = Reply::new(500, 5, 5, 2, "Lines end with CRLF, and hold no other CR, LF or NUL");
    /// RFC 5321 §4.2.4.
    pub const UNKNOWN_COMMAND: Reply = Reply::new(500, 5, 5, 1, "Unknown command");
    /// RFC 4954 §4.
    pub const AUTH_LINE_TOO_LONG: Reply = Reply::new(500, 5, 5, 6, "Authentication exchange line too long");
    /// Invalid UTF-8.
    pub const NOT_UTF8: Reply = Reply::new(501, 5, 5, 2, "Command is not valid UTF-8");
    /// RFC 5321 §4.1.1.1.
    pub const HELLO_NEEDS_NAME: Reply = Reply::new(501, 5, 5, 4, "A host name or an address literal is needed");
    /// A command that takes none.
    pub const NO_ARGUMENT: Reply = Reply::new(501, 5, 5, 4, "This command takes no argument");
    /// A command that needs one.
    pub const ARGUMENT_MISSING: Reply = Reply::new(501, 5, 5, 4, "This command needs an argument");
    /// MAIL without `FROM:<…>`.
    pub const MAIL_SYNTAX: Reply = Reply::new(501, 5, 5, 4, "Syntax: MAIL FROM:<address> [parameters]");
    /// RCPT without `TO:<…>`.
    pub const RECIPIENT_SYNTAX: Reply = Reply::new(501, 5, 5, 4, "Syntax: RCPT TO:<address> [parameters]");
    /// A reverse-path that is none.
    pub const BAD_SENDER: Reply = Reply::new(501, 5, 1, 7, "Malformed sender address");
    /// A forward-path that is none.
    pub const BAD_RECIPIENT: Reply = Reply::new(501, 5, 1, 3, "Malformed recipient address");
    /// A parameter's value.
    pub const BAD_PARAMETER: Reply = Reply::new(501, 5, 5, 4, "Malformed parameter value");
    /// The same parameter twice.
    pub const DUPLICATE_PARAMETER: Reply = Reply::new(501, 5, 5, 4, "Parameter given twice");
    /// RFC 3461 §4.1: NEVER stands alone.
    pub const NOTIFY_NEVER_ALONE: Reply = Reply::new(501, 5, 5, 4, "NOTIFY=NEVER stands alone");
    /// RFC 3030 §2: framing is lost.
    pub const BAD_CHUNK_SIZE: Reply = Reply::new(501, 5, 5, 4, "Malformed BDAT size, closing the connection");
    /// RFC 4954 §4: the client cancelled with `*`.
    pub const AUTH_CANCELLED: Reply = Reply::new(501, 5, 7, 0, "Authentication cancelled");
    /// RFC 4954 §4.
    pub const AUTH_MALFORMED: Reply = Reply::new(501, 5, 5, 2, "Malformed authentication response");
    /// Known, but not served.
    pub const NOT_IMPLEMENTED: Reply = Reply::new(502, 5, 5, 1, "Command not implemented");
    /// EHLO or HELO first.
    pub const HELLO_FIRST: Reply = Reply::new(503, 5, 5, 1, "Say EHLO first");
    /// RCPT or DATA before MAIL.
    pub const MAIL_FIRST: Reply = Reply::new(503, 5, 5, 1, "MAIL first");
    /// DATA without an accepted recipient.
    pub const RECIPIENT_FIRST: Reply = Reply::new(503, 5, 5, 1, "No valid recipients");
    /// A second MAIL.
    pub const TRANSACTION_OPEN: Reply = Reply::new(503, 5, 5, 1, "A transaction is already open");
    /// RFC 3030 §3: not after BDAT has begun.
    pub const CHUNKS_BEGUN: Reply = Reply::new(503, 5, 5, 1, "Only BDAT, RSET or QUIT after BDAT");
    /// RFC 3207 §4.2.
    pub const TLS_ACTIVE: Reply = Reply::new(503, 5, 5, 1, "TLS is already active");
    /// RFC 4954 §4.
    pub const ALREADY_AUTHENTICATED: Reply = Reply::new(503, 5, 5, 1, "Already authenticated");
    /// RFC 4954 §4.
    pub const AUTH_IN_TRANSACTION: Reply = Reply::new(503, 5, 5, 1, "AUTH is not allowed during a transaction");
    /// RFC 4954 §4.
    pub const UNKNOWN_MECHANISM: Reply = Reply::new(504, 5, 5, 4, "Unknown authentication mechanism");
    /// RFC 4954 §6.
    pub const AUTH_FAILED: Reply = Reply::new(535, 5, 7, 8, "Authentication credentials invalid");
    /// RFC 4954 §6.
    pub const TLS_REQUIRED_FOR_AUTH: Reply = Reply::new(538, 5, 7, 11, "Encryption required for authentication: use STARTTLS");
    /// RFC 1870 §6.1.
    pub const TOO_BIG: Reply = Reply::new(552, 5, 3, 4, "Message exceeds the maximum size");
    /// RFC 6531 §3.5.
    pub const NEEDS_SMTPUTF8: Reply = Reply::new(553, 5, 6, 7, "This address needs SMTPUTF8");
    /// Bytes came before they were asked for.
    pub const OUT_OF_STEP: Reply = Reply::new(554, 5, 5, 0, "Protocol error: data sent before the server was ready");
    /// Smuggling and broken line ends (RFC 5321 §2.3.8).
    pub const BARE_IN_DATA: Reply = Reply::new(554, 5, 6, 0, "Message holds a bare CR, a bare LF or a NUL");
    /// RFC 5322 §2.1.1.
    pub const DATA_LINE_TOO_LONG: Reply = Reply::new(554, 5, 6, 0, "Message holds a line of more than 998 octets");
    /// RFC 5321 §4.1.1.11.
    pub const UNKNOWN_PARAMETER: Reply = Reply::new(555, 5, 5, 4, "Parameter not recognized");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        let mut bytes = Vec::new();
        reply.write_to(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_reply_is_code_enhanced_code_and_text() {
        assert_eq!(wire(&replies::BYE), "221 2.0.0 Bye\r\n");
        assert_eq!(wire(&Reply::bare(250, "a\nb\nc")), "250-a\r\n250-b\r\n250 c\r\n");
        assert_eq!(replies::BYE.to_string(), "221 2.0.0 Bye");
    }

    #[test]
    fn a_reply_is_never_long_and_never_echoes_bytes_raw() {
        let reply = replies::INTERNAL.with_text("x\ry\0zä".to_owned() + &"long".repeat(500));
        let text = wire(&reply);
        assert_eq!(text.len(), 512);
        assert!(text.starts_with("451 4.3.0 x?y?z??long"));
    }
}
