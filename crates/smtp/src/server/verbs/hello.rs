//! EHLO, HELO, STARTTLS.

use std::fmt::Write as _;

use crate::reply::{Reply, replies};
use crate::server::Backend;
use crate::server::session::{Next, Session, Step};

impl<B: Backend> Session<B> {
    /// Begins anew, whatever was under way (RFC 5321 §4.1.4). The client's name is kept, never echoed.
    pub(in crate::server) fn hello(&mut self, name: &str, esmtp: bool) -> Step {
        self.transaction = None;
        let first = self.info.helo.is_none();
        self.info.helo = Some(name.to_owned());
        self.info.esmtp = esmtp;
        let reply = if esmtp {
            self.offer()
        } else {
            Reply::bare(250, "").with_text(self.settings.hostname.as_str().to_owned())
        };
        if first { Step::say(reply) } else { self.idle(reply) }
    }

    fn offer(&self) -> Reply {
        let settings = &self.settings;
        let mut text = String::with_capacity(192);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{}\nPIPELINING\nSIZE {}\n8BITMIME\nSMTPUTF8\nDSN\n",
            settings.hostname, settings.limits.max_message_bytes
        );
        if settings.chunking {
            text.push_str("CHUNKING\n");
        }
        if self.info.tls.is_none() && settings.tls.is_some() {
            text.push_str("STARTTLS\n");
        }
        if self.may_authenticate() {
            text.push_str("AUTH PLAIN LOGIN\n");
        }
        text.push_str("ENHANCEDSTATUSCODES");
        Reply::bare(250, "").with_text(text)
    }

    pub(in crate::server) fn may_authenticate(&self) -> bool {
        self.info.tls.is_some() || !self.settings.require_tls_for_auth
    }

    pub(in crate::server) fn starttls(&mut self) -> Step {
        if self.info.tls.is_some() {
            return self.error(replies::TLS_ACTIVE);
        }
        if self.settings.tls.is_none() {
            return self.error(replies::NOT_IMPLEMENTED);
        }
        self.transaction = None;
        Step {
            reply: replies::READY_FOR_TLS,
            next: Next::StartTls,
        }
    }
}
