//! What becomes of a message for one alias: sender lists, then what DMARC asks, then the rules; the first that decides wins.
//!
//! [`decide`] is pure: it is given what the database and the checks say. An allowed sender skips the rules, but not DMARC: a spoof of an allowed
//! author is still a spoof.

use super::{
    Arrival, Examined,
    recipient::{AliasTarget, Onward},
};
use crate::{Intake, Refusal};
use mail::Address;
use mailauth::{
    dmarc::{self, Disposition, OnFail},
    verify::Verdicts,
};
use rules::{Action, Compiled, Facts, Incoming};
use store::{
    destinations,
    ids::{OrganizationId, RuleId},
    models::{DmarcFailure, SenderListing},
    rules as stored_rules,
    sender_lists::{self, SenderListEntry},
};

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Forward,
    /// It is accepted and thrown away.
    Discard,
    /// It is set aside.
    Quarantine,
    /// It is refused.
    Block {
        /// What is said.
        reply: BlockReply,
    },
}

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BlockReply {
    /// Its author's domain asks for it.
    Dmarc {
        /// The domain.
        domain: String,
    },
    /// The alias's owner asks for it.
    Owner {
        /// In these words.
        text: Option<String>,
    },
}

/// A verdict and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) verdict: Verdict,
    /// The rule that matched.
    pub(super) rule: Option<RuleId>,
    /// Destinations instead of the alias's.
    pub(super) redirect: Option<Vec<Onward>>,
}

impl Decision {
    const fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            rule: None,
            redirect: None,
        }
    }
}

/// What a rule wants, with its number in the list.
struct Matched {
    rule: RuleId,
    action: Action,
}

impl Intake {
    /// Gathers what the decision needs, and takes it.
    pub(super) async fn decide(
        &self,
        arrival: &Arrival,
        examined: &Examined,
        recipient: &Address,
        alias: &AliasTarget,
    ) -> Result<Decision, Refusal> {
        let verdicts = &examined.verdicts;
        let words = verdicts.words();
        let words = rules::Verdicts {
            spf: words.spf.as_str(),
            dkim: words.dkim.as_str(),
            dmarc: words.dmarc.as_str(),
        };
        let incoming = Incoming::new(&arrival.raw, &arrival.envelope.sender, words);
        let (organization, domain) = (alias.domain.organization, alias.domain.id);
        let forms: Vec<String> = incoming
            .senders()
            .iter()
            .flat_map(|sender| sender_lists::forms_of(&sender.folded()))
            .collect();
        let listed = sender_lists::for_recipient(&self.pool, organization, domain, alias.id, &forms).await?;
        let stored = stored_rules::for_recipient(&self.pool, organization, domain, alias.id).await?;
        let matched = first_match(&stored, &incoming.to(recipient));
        let mut decision = decide(verdicts, alias.domain.dmarc_fail, &listed, matched.as_ref());
        if let (
            Verdict::Forward,
            Some(Matched {
                action: Action::Redirect { destinations },
                ..
            }),
        ) = (&decision.verdict, &matched)
        {
            decision.redirect = Some(self.redirected(organization, destinations).await?);
        }
        Ok(decision)
    }

    async fn redirected(&self, organization: OrganizationId, addresses: &[String]) -> Result<Vec<Onward>, Refusal> {
        Ok(destinations::named(&self.pool, organization, addresses)
            .await?
            .into_iter()
            .map(Onward::from)
            .collect())
    }

    /// Counts a rule whose message is not stored.
    pub(super) async fn count_rule(&self, organization: OrganizationId, rule: Option<RuleId>) {
        let Some(rule) = rule else { return };
        if let Err(error) = stored_rules::count_match(&self.pool, organization, rule).await {
            tracing::warn!(%error, "a rule's match was not counted");
        }
    }
}

/// A stored rule that does not compile any more decides nothing: rules are checked when saved.
fn first_match(stored: &[stored_rules::StoredRule], facts: &Facts<'_>) -> Option<Matched> {
    stored.iter().find_map(|rule| {
        let definition = serde_json::from_value(rule.definition.clone()).ok()?;
        let compiled = Compiled::of(&definition, rule.enabled).ok()?;
        compiled.matches(facts).then(|| Matched {
            rule: rule.id,
            action: compiled.action().clone(),
        })
    })
}

/// The decision itself. `listed` is ordered by scope, the alias's entries first.
fn decide(verdicts: &Verdicts, policy: DmarcFailure, listed: &[SenderListEntry], matched: Option<&Matched>) -> Decision {
    let listing = listed.first().map(|entry| entry.listing);
    if listing == Some(SenderListing::Deny) {
        return Decision::of(Verdict::Block {
            reply: BlockReply::Owner { text: None },
        });
    }
    match dmarc::disposition(&verdicts.dmarc, on_fail(policy)) {
        Disposition::Refuse => {
            return Decision::of(Verdict::Block {
                reply: BlockReply::Dmarc {
                    domain: verdicts.dmarc.domain.clone(),
                },
            });
        }
        Disposition::Quarantine => return Decision::of(Verdict::Quarantine),
        Disposition::Accept => {}
    }
    if listing == Some(SenderListing::Allow) {
        return Decision::of(Verdict::Forward);
    }
    let Some(matched) = matched else {
        return Decision::of(Verdict::Forward);
    };
    let verdict = match &matched.action {
        Action::Forward | Action::Redirect { .. } => Verdict::Forward,
        Action::Block { reply } => Verdict::Block {
            reply: BlockReply::Owner { text: reply.clone() },
        },
        Action::Discard => Verdict::Discard,
        Action::Quarantine => Verdict::Quarantine,
    };
    Decision {
        verdict,
        rule: Some(matched.rule),
        redirect: None,
    }
}

const fn on_fail(policy: DmarcFailure) -> OnFail {
    match policy {
        DmarcFailure::AsPublished => OnFail::AsPublished,
        DmarcFailure::Accept => OnFail::Accept,
        DmarcFailure::Quarantine => OnFail::Quarantine,
        DmarcFailure::Refuse => OnFail::Refuse,
    }
}
