//! AUTH PLAIN (RFC 4616) and AUTH LOGIN.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::command::MAX_AUTH_LINE_OCTETS;
use crate::reply::{Reply, replies};
use crate::server::Backend;
use crate::server::session::{Dialogue, Session, Step};

/// Octets of a user name or password that a backend is troubled with.
const MAX_SECRET_OCTETS: usize = 1024;

impl<B: Backend> Session<B> {
    pub(in crate::server) async fn auth(&mut self, mechanism: &str, initial: Option<&str>) -> Step {
        if self.info.helo.is_none() || !self.info.esmtp {
            return self.error(replies::HELLO_FIRST);
        }
        if self.info.authenticated {
            return self.error(replies::ALREADY_AUTHENTICATED);
        }
        if self.transaction.is_some() {
            return self.error(replies::AUTH_IN_TRANSACTION);
        }
        if !self.may_authenticate() {
            // The secret has been on the wire already; at least it is not confirmed.
            return self.error(replies::TLS_REQUIRED_FOR_AUTH);
        }
        let dialogue = if mechanism.eq_ignore_ascii_case("PLAIN") {
            Dialogue::Plain
        } else if mechanism.eq_ignore_ascii_case("LOGIN") {
            Dialogue::LoginUsername
        } else {
            return self.error(replies::UNKNOWN_MECHANISM);
        };
        match initial {
            // RFC 4954 §4: `=` is an initial response that is empty.
            Some("=") => self.dialogue(dialogue, b"").await,
            Some(response) => self.dialogue(dialogue, response.as_bytes()).await,
            None => {
                let challenge = if matches!(dialogue, Dialogue::Plain) {
                    replies::AUTH_CONTINUE
                } else {
                    replies::AUTH_USERNAME
                };
                self.dialogue = Some(dialogue);
                Step::say(challenge)
            }
        }
    }

    /// The client's next line, or its initial response.
    pub(in crate::server) async fn dialogue(&mut self, dialogue: Dialogue, line: &[u8]) -> Step {
        if line == b"*" {
            return self.error(replies::AUTH_CANCELLED);
        }
        if line.len() + 2 > MAX_AUTH_LINE_OCTETS {
            return self.error(replies::AUTH_LINE_TOO_LONG);
        }
        let Some(response) = STANDARD
            .decode(line)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Zeroizing::new)
        else {
            return self.error(replies::AUTH_MALFORMED);
        };
        match dialogue {
            Dialogue::Plain => {
                let mut parts = response.split('\0');
                let (Some(authorization), Some(username), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
                else {
                    return self.error(replies::AUTH_MALFORMED);
                };
                if !authorization.is_empty() && authorization != username {
                    // Nobody may act as somebody else.
                    return self.login_refused(replies::AUTH_FAILED);
                }
                self.login(username, password).await
            }
            Dialogue::LoginUsername => {
                self.dialogue = Some(Dialogue::LoginPassword(response));
                Step::say(replies::AUTH_PASSWORD)
            }
            Dialogue::LoginPassword(username) => self.login(&username, &response).await,
        }
    }

    async fn login(&mut self, username: &str, password: &str) -> Step {
        if username.is_empty() || password.is_empty() {
            return self.error(replies::AUTH_MALFORMED);
        }
        // ASSURANCE A07: a name with line breaks reaches neither a log nor a query.
        let unusable = |text: &str| text.len() > MAX_SECRET_OCTETS || text.chars().any(char::is_control);
        if unusable(username) || unusable(password) {
            return self.login_refused(replies::AUTH_FAILED);
        }
        match Box::pin(self.backend.login(&self.info, username, password)).await {
            Ok(login) => {
                self.info.login = Some(login);
                self.info.authenticated = true;
                Step::say(replies::AUTHENTICATED)
            }
            Err(reply) => self.login_refused(reply),
        }
    }

    /// Not counted as a protocol error: how many failures are too many is the backend's to say, across sessions.
    fn login_refused(&mut self, reply: Reply) -> Step {
        self.verb = "AUTH";
        Step::verdict(reply)
    }
}
