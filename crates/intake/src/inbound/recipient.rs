//! Who takes mail for an address.

use crate::{Intake, Refusal};
use chrono::Utc;
use mail::{Address, Host};
use store::{
    aliases::{self, HostedDomain, Resolution, Target},
    contacts::{self, ReverseContact},
    ids::{AliasId, DestinationId},
    models::{DestinationKind, RepliesAs},
    sending,
};

/// Who takes mail for an address.
pub(super) enum Taker {
    /// An alias, a catch-all, or the owner in their place.
    Alias(Box<AliasTarget>),
    /// A reverse address.
    Reverse(Box<ReverseContact>),
}

/// What forwards mail for an address.
pub(super) struct AliasTarget {
    pub(super) domain: HostedDomain,
    /// `None`: a catch-all, or the owner's postmaster.
    pub(super) id: Option<AliasId>,
    pub(super) local_part: Option<String>,
    pub(super) replies: RepliesAs,
    pub(super) destinations: Vec<Onward>,
}

/// Where an alias's mail goes on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Onward {
    /// `None`: the owner's own mailbox, which is nobody's destination.
    pub(super) id: Option<DestinationId>,
    pub(super) kind: DestinationKind,
    pub(super) address: String,
    pub(super) verified: bool,
}

impl From<Target> for Onward {
    fn from(target: Target) -> Self {
        Self {
            id: Some(target.id),
            kind: target.kind,
            address: target.address,
            verified: target.verified,
        }
    }
}

impl Onward {
    fn all(targets: Vec<Target>) -> Vec<Self> {
        targets.into_iter().map(Self::from).collect()
    }
}

impl AliasTarget {
    /// The alias's own address, without a tag; for patterns and catch-alls the address that was written to.
    pub(super) fn address(&self, recipient: &Address) -> Address {
        let host = || Host::parse(&self.domain.name);
        match &self.local_part {
            Some(local) => host()
                .ok()
                .and_then(|host| Address::new(local, host).ok())
                .unwrap_or_else(|| recipient.clone()),
            None => recipient.clone(),
        }
    }
}

impl Intake {
    /// Whether mail for this address is taken here: asked at RCPT.
    ///
    /// # Errors
    /// [`Refusal::NotHosted`], [`Refusal::NoSuchAddress`], [`Refusal::AliasClosed`], [`Refusal::NoDestination`], [`Refusal::Unavailable`].
    pub async fn recipient(&self, address: &Address) -> Result<(), Refusal> {
        self.taker(address).await.map(|_| ())
    }

    /// Whom the postmaster of this host's name, and so a bare `Postmaster`, stands for (RFC 5321 §4.5.1): the postmaster of the domain of
    /// whoever runs this host. `None`: the address stands for itself.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    pub async fn meant(&self, address: &Address) -> Result<Option<Address>, Refusal> {
        let hostname = &self.settings.hostname;
        let of_host = address.domain().is_some_and(|domain| domain.as_str() == hostname);
        if !of_host || !address.local_part().eq_ignore_ascii_case("postmaster") || self.directory.is_hosted(hostname).await? {
            return Ok(None);
        }
        let domain = sending::domain_of_host(&self.pool, hostname).await?;
        let host = domain.and_then(|name| Host::parse(&name).ok());
        Ok(host.and_then(|host| Address::new("postmaster", host).ok()))
    }

    pub(super) async fn taker(&self, address: &Address) -> Result<Taker, Refusal> {
        let meant = self.meant(address).await?;
        let address = meant.as_ref().unwrap_or(address);
        let Some(domain) = address.domain() else {
            return Err(Refusal::NotHosted {
                domain: address.host().to_string(),
            });
        };
        let local_part = address.local_part().to_lowercase();
        if contacts::is_candidate(&local_part) {
            let contact = contacts::by_reverse(&self.pool, domain.as_str(), &local_part).await?;
            return contact
                .map(|contact| Taker::Reverse(Box::new(contact)))
                .ok_or(Refusal::NoSuchAddress);
        }
        let target = match aliases::resolve(&self.pool, domain.as_str(), &local_part).await? {
            Resolution::NotHosted => {
                return Err(Refusal::NotHosted {
                    domain: domain.to_string(),
                });
            }
            Resolution::NoAlias { .. } => return Err(Refusal::NoSuchAddress),
            Resolution::Alias {
                domain,
                alias,
                destinations,
            } => {
                if alias.takes_mail(Utc::now()).is_err() {
                    return Err(Refusal::AliasClosed {
                        reply: domain.paused_reply,
                    });
                }
                AliasTarget {
                    id: Some(alias.id),
                    local_part: (!alias.pattern).then_some(alias.local_part),
                    replies: alias.replies,
                    domain,
                    destinations: Onward::all(destinations),
                }
            }
            Resolution::CatchAll { domain, destinations } => AliasTarget {
                domain,
                id: None,
                local_part: None,
                replies: RepliesAs::Direct,
                destinations: Onward::all(destinations),
            },
            Resolution::Owner { domain, address } => AliasTarget {
                domain,
                id: None,
                local_part: None,
                replies: RepliesAs::Direct,
                destinations: vec![Onward {
                    id: None,
                    kind: DestinationKind::Mailbox,
                    address,
                    verified: true,
                }],
            },
        };
        if !target.destinations.iter().any(|destination| destination.verified) {
            return Err(Refusal::NoDestination);
        }
        Ok(Taker::Alias(Box::new(target)))
    }
}
