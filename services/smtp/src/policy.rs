//! Who may do what: the product behind the protocol.
//!
//! - Logged in, or admitted by its network: may send as the domains of its organization, to anyone.
//! - Everyone else: may send to addresses that somebody here takes mail for, and reports from `<>` to return paths of ours.
//!
//! A session's credential is looked at again before each message. When the database cannot say whether a network admits a client, the client is neither
//! let in nor turned away: it gets 451 until somebody knows.

use std::net::IpAddr;
use std::sync::Arc;

use auth::smtp_credentials::{self, Principal, SmtpCredentials};
use bytes::Bytes;
use intake::{Arrival, BounceTarget, Intake, ReceivedInfo, Refusal, Sender, Submission};
use mail::{Address, Envelope, ForwardPath, Recipient, return_path};
use secrecy::SecretString;
use smtp::server::{Backend, End, MailParameters, Peer, RecipientParameters, SessionInfo};
use smtp::{Reply, replies};
use store::models::Via;
use tracing::Instrument as _;

use crate::refusal;
use crate::throttle::{Login, Throttle};

/// Who a session is.
#[derive(Debug)]
pub(crate) enum Caller {
    /// A credential of an organization.
    Known(Principal),
    /// The database was away when the client came: asked again at each step.
    Undetermined,
}

#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) intake: Arc<Intake>,
    pub(crate) credentials: SmtpCredentials,
    pub(crate) throttle: Throttle,
}

type Session = SessionInfo<Caller>;

impl Backend for Policy {
    type Login = Caller;

    async fn connect(&self, peer: &Peer) -> Result<Option<Caller>, Reply> {
        match self.credentials.admit_by_network(peer.address.ip()).await {
            Ok(principal) => Ok(principal.map(Caller::Known)),
            Err(smtp_credentials::Refusal::Invalid) => Ok(None),
            Err(smtp_credentials::Refusal::Suspended) => Err(Reply::new(421, 4, 7, 1, "Sending is suspended for this network")),
            Err(smtp_credentials::Refusal::Unavailable(_)) => Ok(Some(Caller::Undetermined)),
        }
    }

    async fn login(&self, session: &Session, username: &str, password: &str) -> Result<Caller, Reply> {
        let peer = session.peer.address.ip();
        match self.throttle.before_login(peer, username).await {
            Login::Free => {}
            Login::Slowed(wait) => tokio::time::sleep(wait).await,
            Login::CutOff => {
                login_outcome("cut_off");
                return Err(refusal::TOO_MANY_LOGINS);
            }
        }
        match self.credentials.authenticate(username, &SecretString::from(password), peer).await {
            Ok(principal) => {
                login_outcome("ok");
                Ok(Caller::Known(principal))
            }
            Err(smtp_credentials::Refusal::Invalid) => {
                login_outcome("invalid");
                self.throttle.login_failed(peer, username).await;
                Err(replies::AUTH_FAILED)
            }
            Err(smtp_credentials::Refusal::Suspended) => {
                login_outcome("suspended");
                Err(refusal::LOGIN_UNAVAILABLE)
            }
            Err(smtp_credentials::Refusal::Unavailable(cause)) => {
                tracing::error!(%cause, "logins cannot be checked");
                login_outcome("unavailable");
                Err(refusal::LOGIN_UNAVAILABLE)
            }
        }
    }

    async fn sender(&self, session: &Session, mail: &MailParameters) -> Result<(), Reply> {
        match self.caller(session).await? {
            Some(principal) => self
                .intake
                .check_sender(&sender(&principal), &mail.sender)
                .await
                .map_err(|refused| refusal::reply(&refused)),
            None => Ok(()),
        }
    }

    async fn recipient(
        &self,
        session: &Session,
        mail: &MailParameters,
        recipient: &RecipientParameters,
        _position: usize,
    ) -> Result<(), Reply> {
        let peer = session.peer.address.ip();
        let address = match &recipient.recipient {
            ForwardPath::Address(address) => address,
            ForwardPath::Postmaster => return self.postmaster(peer).await,
        };
        if self.bounce_target(address).await?.is_some() {
            return if mail.sender.is_null() {
                Ok(())
            } else {
                Err(refusal::NOT_A_BOUNCE)
            };
        }
        // A known credential was looked at for MAIL, and is again for the message.
        if matches!(session.login, Some(Caller::Known(_))) || self.caller(session).await?.is_some() {
            return Ok(());
        }
        match self.intake.recipient(address).await {
            Ok(()) => Ok(()),
            Err(Refusal::NoSuchAddress) => self.unknown(peer).await,
            Err(Refusal::NotHosted { .. }) => Err(refusal::RELAYING_DENIED),
            Err(refused) => Err(refusal::reply(&refused)),
        }
    }

    async fn message(&self, session: &Session, envelope: Envelope, content: Bytes) -> Result<Reply, Reply> {
        let span = tracing::info_span!("smtp_message", octets = content.len(), recipients = envelope.recipients.len());
        self.take(session, envelope, content).instrument(span).await
    }

    fn refused(&self, session: &Session, verb: &'static str, reply: &Reply) {
        metrics::counter!("postroad_smtp_refused_total", "verb" => verb, "code" => reply.code.to_string()).increment(1);
        tracing::debug!(peer = %session.peer.address.ip(), verb, code = reply.code, "refused");
    }

    fn ended(&self, session: &Session, end: End) {
        tracing::debug!(end = end.as_str(), messages = session.messages, "session ended");
    }
}

impl Policy {
    /// The session's credential as it stands now.
    async fn caller(&self, session: &Session) -> Result<Option<Principal>, Reply> {
        let peer = session.peer.address.ip();
        let found = match &session.login {
            Some(Caller::Known(principal)) => self.credentials.recheck(principal, peer).await.map(Some),
            Some(Caller::Undetermined) => self.credentials.admit_by_network(peer).await,
            None => return Ok(None),
        };
        found.map_err(|refused| {
            if let smtp_credentials::Refusal::Unavailable(cause) = &refused {
                tracing::error!(%cause, "credentials cannot be checked");
            }
            refusal::of_credential(&refused)
        })
    }

    async fn unknown(&self, peer: IpAddr) -> Result<(), Reply> {
        if self.throttle.unknown_recipient(peer).await {
            Err(refusal::TOO_MANY_UNKNOWN)
        } else {
            Err(refusal::UNKNOWN_RECIPIENT)
        }
    }

    /// A bare `Postmaster`: whoever comes may write to the one who runs this host.
    async fn postmaster(&self, peer: IpAddr) -> Result<(), Reply> {
        let here = mail::Host::parse(&self.intake.settings().hostname).ok();
        let Some(address) = here.and_then(|here| Address::new("postmaster", here).ok()) else {
            return self.unknown(peer).await;
        };
        match self.intake.recipient(&address).await {
            Ok(()) => Ok(()),
            Err(refused) if refused.is_temporary() => Err(refusal::reply(&refused)),
            Err(_) => self.unknown(peer).await,
        }
    }

    async fn bounce_target(&self, address: &Address) -> Result<Option<BounceTarget>, Reply> {
        self.intake.bounce_target(address).await.map_err(|refused| refusal::reply(&refused))
    }

    /// A complete message: reports to our return paths are recorded, the rest is accepted as one.
    async fn take(&self, session: &Session, mut envelope: Envelope, content: Bytes) -> Result<Reply, Reply> {
        if envelope.sender.is_null()
            && envelope
                .recipients
                .iter()
                .any(|recipient| return_path::is_candidate(recipient.address.local_part()))
        {
            let mut others: Vec<Recipient> = Vec::new();
            for recipient in std::mem::take(&mut envelope.recipients) {
                match self.bounce_target(&recipient.address).await? {
                    Some(target) => self
                        .intake
                        .take_bounce(target, &content)
                        .await
                        .map_err(|refused| refusal::reply(&refused))?,
                    None => others.push(recipient),
                }
            }
            if others.is_empty() {
                return Ok(Reply::new(250, 2, 0, 0, "Report recorded"));
            }
            envelope.recipients = others;
        }
        let received = ReceivedInfo {
            helo: session.helo.clone().unwrap_or_default(),
            peer: Some(session.peer.address.ip()),
            with: session.protocol(envelope.smtputf8).to_owned(),
            tls: session.tls.as_ref().map(|tls| format!("{} {}", tls.version, tls.cipher)),
        };
        let trace_context = telemetry::current_traceparent();
        let Some(principal) = self.caller(session).await? else {
            let arrival = Arrival {
                received,
                envelope,
                raw: content,
                trace_context,
                local: None,
            };
            return match self.intake.receive(arrival).await {
                Ok(_) => Ok(Reply::new(250, 2, 0, 0, "Taken")),
                Err(refused) => Err(refusal::reply(&refused)),
            };
        };
        for recipient in &mut envelope.recipients {
            let meant = self.intake.meant(&recipient.address).await;
            if let Some(meant) = meant.map_err(|refused| refusal::reply(&refused))? {
                recipient.address = meant;
            }
        }
        let submission = Submission {
            sender: sender(&principal),
            via: Via::Smtp,
            envelope,
            kinds: Vec::new(),
            raw: content,
            received,
            tags: Vec::new(),
            metadata: serde_json::Value::Object(serde_json::Map::new()),
            stream: None,
            scheduled_at: None,
            expires_at: None,
            idempotency: None,
            trace_context,
        };
        match self.intake.accept(submission).await {
            Ok(accepted) => Ok(Reply::new(250, 2, 0, 0, "").with_text(format!("Queued as {}", accepted.message))),
            Err(refused) => Err(refusal::reply(&refused)),
        }
    }
}

fn sender(principal: &Principal) -> Sender {
    Sender {
        organization: principal.organization,
        credential: principal.credential.0,
        allowed_from: principal.allowed_from.to_vec(),
        stream: principal.stream.to_string(),
    }
}

fn login_outcome(outcome: &'static str) {
    metrics::counter!("postroad_smtp_logins_total", "outcome" => outcome).increment(1);
}
