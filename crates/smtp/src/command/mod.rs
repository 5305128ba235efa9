//! One command line, read strictly: `parse(line) -> Result<Command, Reply>`.
//!
//! Promises: pure; never panics; a line with a bare CR, NUL or invalid UTF-8 is refused whole; what is accepted has been checked
//! to its last octet. A blank after `FROM:` and `TO:` is tolerated because many applications send it, blanks at a line's end
//! because RFC 5321 §4.1.1 asks for it; nothing else is forgiven. Not here: what may be said when (the session knows).

mod parameters;

use mail::{ForwardPath, Host, ReversePath};

use crate::reply::{Reply, replies};
pub use parameters::{Body, MailParameters, RecipientParameters, Return};

/// Octets a command line may have with its CRLF (RFC 5321 §4.5.3.1.4).
pub const MAX_LINE_OCTETS: usize = 512;
/// For MAIL and RCPT, whose extensions lengthen them: SIZE 26, BODY 17, SMTPUTF8 10, RET 8, ENVID 107, AUTH 500; NOTIFY 28, ORCPT 507.
pub const MAX_ENVELOPE_LINE_OCTETS: usize = 1280;
/// For AUTH and the lines of its dialogue (RFC 4954 §4).
pub const MAX_AUTH_LINE_OCTETS: usize = 12_288;

/// A command and its arguments, checked for form alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// EHLO, with the name the client gives itself.
    Ehlo(&'a str),
    /// HELO, likewise.
    Helo(&'a str),
    /// MAIL.
    Mail(Box<MailParameters>),
    /// RCPT.
    Rcpt(Box<RecipientParameters>),
    /// DATA.
    Data,
    /// BDAT (RFC 3030).
    Bdat {
        /// Octets that follow the line at once.
        size: u64,
        /// The last chunk of the message.
        last: bool,
    },
    /// AUTH (RFC 4954).
    Auth {
        /// As the client spelled it.
        mechanism: &'a str,
        /// The initial response in base64, `=` for an empty one.
        initial: Option<&'a str>,
    },
    /// STARTTLS (RFC 3207).
    StartTls,
    /// RSET.
    Rset,
    /// NOOP; its argument is ignored.
    Noop,
    /// VRFY.
    Vrfy,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
    /// EXPN, TURN, ETRN, SEND, SOML, SAML: known, and not served.
    NotImplemented,
    /// A verb of HTTP: a browser or a proxy talks to the wrong port, perhaps on someone's behalf.
    Foreign,
}

/// Reads a command line without its CRLF.
///
/// # Errors
/// The reply that tells the client what is wrong.
pub fn parse(line: &[u8]) -> Result<Command<'_>, Reply> {
    if memchr::memchr3(b'\r', b'\n', 0, line).is_some() {
        return Err(replies::BARE_LINE_ENDING);
    }
    let line = std::str::from_utf8(line)
        .map_err(|_| replies::NOT_UTF8)?
        .trim_end_matches([' ', '\t']);
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let verb_is = |name: &str| verb.eq_ignore_ascii_case(name);
    match verb.len() {
        4 if verb_is("EHLO") => hello(rest).map(Command::Ehlo),
        4 if verb_is("HELO") => hello(rest).map(Command::Helo),
        4 if verb_is("MAIL") => mail(rest),
        4 if verb_is("RCPT") => rcpt(rest),
        4 if verb_is("DATA") => without_argument(rest, Command::Data),
        4 if verb_is("BDAT") => bdat(rest),
        4 if verb_is("AUTH") => auth(rest),
        8 if verb_is("STARTTLS") => without_argument(rest, Command::StartTls),
        4 if verb_is("RSET") => without_argument(rest, Command::Rset),
        4 if verb_is("NOOP") => Ok(Command::Noop),
        4 if verb_is("QUIT") => without_argument(rest, Command::Quit),
        4 if verb_is("VRFY") => {
            if rest.is_empty() {
                Err(replies::ARGUMENT_MISSING)
            } else {
                Ok(Command::Vrfy)
            }
        }
        4 if verb_is("HELP") => Ok(Command::Help),
        4 if ["EXPN", "TURN", "ETRN", "SEND", "SOML", "SAML"].iter().any(|name| verb_is(name)) => Ok(Command::NotImplemented),
        3..=7 if !rest.is_empty() && ["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "PATCH", "DELETE", "TRACE"].contains(&verb) => {
            Ok(Command::Foreign)
        }
        _ => Err(replies::UNKNOWN_COMMAND),
    }
}

/// The longest line, CRLF included, that this line's verb may have.
#[must_use]
pub fn longest(line: &[u8]) -> usize {
    match line.get(..4) {
        Some(verb) if verb.eq_ignore_ascii_case(b"AUTH") => MAX_AUTH_LINE_OCTETS,
        Some(verb) if verb.eq_ignore_ascii_case(b"MAIL") || verb.eq_ignore_ascii_case(b"RCPT") => MAX_ENVELOPE_LINE_OCTETS,
        _ => MAX_LINE_OCTETS,
    }
}

fn without_argument<'a>(rest: &str, command: Command<'a>) -> Result<Command<'a>, Reply> {
    if rest.is_empty() { Ok(command) } else { Err(replies::NO_ARGUMENT) }
}

/// A domain or an address literal. Names are not held to DNS's letters, because refusing a client for its host's odd name would lose
/// mail (RFC 5321 §4.1.4), but nothing passes that could do harm in a header.
fn hello(rest: &str) -> Result<&str, Reply> {
    let valid = if rest.starts_with('[') {
        Host::parse(rest).is_ok()
    } else {
        !rest.is_empty()
            && rest.len() <= 255
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':'))
    };
    if valid { Ok(rest) } else { Err(replies::HELLO_NEEDS_NAME) }
}

fn mail(rest: &str) -> Result<Command<'_>, Reply> {
    let (path, parameters) = path(rest, "FROM:").ok_or(replies::MAIL_SYNTAX)?;
    // The parameters first: SMTPUTF8 decides which addresses are well formed.
    let mut parsed = MailParameters::parse(parameters)?;
    if !path.is_ascii() && !parsed.smtputf8 {
        return Err(replies::NEEDS_SMTPUTF8);
    }
    parsed.sender = ReversePath::parse(path).map_err(|_| replies::BAD_SENDER)?;
    Ok(Command::Mail(Box::new(parsed)))
}

fn rcpt(rest: &str) -> Result<Command<'_>, Reply> {
    let (path, parameters) = path(rest, "TO:").ok_or(replies::RECIPIENT_SYNTAX)?;
    let recipient = ForwardPath::parse(path).map_err(|_| replies::BAD_RECIPIENT)?;
    Ok(Command::Rcpt(Box::new(RecipientParameters::parse(
        recipient,
        !path.is_ascii(),
        parameters,
    )?)))
}

/// Splits `FROM:<path> parameters`. A quoted local part may hold `>`, so the end is looked for outside quotes.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let head = rest.get(..keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let inner = rest[keyword.len()..].trim_start_matches(' ').strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    let end = inner.bytes().position(|byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return true,
            _ => {}
        }
        false
    })?;
    let parameters = &inner[end + 1..];
    (parameters.is_empty() || parameters.starts_with(' ')).then(|| (&inner[..end], parameters))
}

fn bdat(rest: &str) -> Result<Command<'_>, Reply> {
    let (size, flag) = rest.split_once(' ').unwrap_or((rest, ""));
    if size.is_empty() || size.len() > 18 || !size.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(replies::BAD_CHUNK_SIZE);
    }
    let size = size.parse().map_err(|_| replies::BAD_CHUNK_SIZE)?;
    match flag.trim_start_matches(' ') {
        "" => Ok(Command::Bdat { size, last: false }),
        word if word.eq_ignore_ascii_case("LAST") => Ok(Command::Bdat { size, last: true }),
        _ => Err(replies::BAD_CHUNK_SIZE),
    }
}

fn auth(rest: &str) -> Result<Command<'_>, Reply> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().ok_or(replies::ARGUMENT_MISSING)?;
    let initial = words.next();
    if words.next().is_some() {
        Err(replies::AUTH_MALFORMED)
    } else {
        Ok(Command::Auth { mechanism, initial })
    }
}

#[cfg(test)]
mod tests;
