//! What a DMARC record says (RFC 9989 §4.7, RFC 7489 §6.3): a pure reader.

use crate::verify::Policy;

/// A record. Tags about reports are not kept: we send none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) policy: Policy,
    /// For subdomains.
    pub(super) subdomains: Policy,
    /// For subdomains that do not exist.
    pub(super) absent_subdomains: Policy,
    pub(super) strict_dkim: bool,
    pub(super) strict_spf: bool,
    /// `t=y`: one step milder.
    pub(super) testing: bool,
}

impl Record {
    /// Reads a text; `None` when it is no DMARC record, or one that asks for nothing. What is malformed in it is passed over.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut specs = text.split(';').map(|spec| {
            let (name, value) = spec.split_once('=').unwrap_or((spec, ""));
            (name.trim(), value.trim())
        });
        if specs.next()? != ("v", "DMARC1") {
            return None;
        }
        let tags: Vec<(&str, &str)> = specs.take(64).collect();
        let value = |name: &str| {
            tags.iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| *value)
        };
        let policy_of = |name| value(name).and_then(policy);
        let policy = match policy_of("p") {
            Some(policy) => policy,
            // RFC 9989 §4.10.1: who wants reports takes part.
            None if value("rua").is_some_and(|uris| uris.contains(':')) => Policy::None,
            None => return None,
        };
        let subdomains = policy_of("sp").unwrap_or(policy);
        let is = |name, word: &str| value(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
        Some(Self {
            policy,
            subdomains,
            absent_subdomains: policy_of("np").unwrap_or(subdomains),
            strict_dkim: is("adkim", "s"),
            strict_spf: is("aspf", "s"),
            testing: is("t", "y"),
        })
    }

    /// What applies, given which of the policies is meant.
    pub(super) const fn applied(&self, policy: Policy) -> Policy {
        match policy {
            Policy::Reject if self.testing => Policy::Quarantine,
            Policy::Quarantine if self.testing => Policy::None,
            policy => policy,
        }
    }
}

fn policy(word: &str) -> Option<Policy> {
    [Policy::None, Policy::Quarantine, Policy::Reject]
        .into_iter()
        .find(|policy| word.eq_ignore_ascii_case(policy.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_in_a_table() {
        use Policy::{None as N, Quarantine as Q, Reject as R};
        for (text, policies) in [
            ("v=DMARC1; p=none", Some((N, N, N))),
            ("v=DMARC1;p=reject", Some((R, R, R))),
            (" v = DMARC1 ; P = Quarantine ; ", Some((Q, Q, Q))),
            ("v=DMARC1; p=reject; sp=none", Some((R, N, N))),
            ("v=DMARC1; p=none; sp=quarantine; np=reject", Some((N, Q, R))),
            ("v=DMARC1; p=reject; sp=nonsense; pct=0; ;x", Some((R, R, R))),
            ("v=DMARC1; p=nonsense; rua=mailto:a@b.test", Some((N, N, N))),
            ("v=DMARC1; rua=mailto:a@b.test; sp=reject", Some((N, R, R))),
            ("v=DMARC1; p=nonsense", None),
            ("v=DMARC1", None),
            ("p=reject; v=DMARC1", None),
            ("v=dmarc1; p=reject", None),
            ("v=DMARC2; p=reject", None),
            ("v=spf1 -all", None),
            ("", None),
        ] {
            let read = Record::parse(text).map(|record| (record.policy, record.subdomains, record.absent_subdomains));
            assert_eq!(read, policies, "{text}");
        }
    }

    #[test]
    fn alignment_is_relaxed_and_policies_are_meant_unless_said_otherwise() {
        let record = Record::parse("v=DMARC1; p=reject; adkim=s; t=y").unwrap();
        assert!(record.strict_dkim && !record.strict_spf && record.testing);
        assert_eq!(record.applied(Policy::Reject), Policy::Quarantine);
        assert_eq!(record.applied(Policy::Quarantine), Policy::None);
        let record = Record::parse("v=DMARC1; p=reject; aspf=S; adkim=odd").unwrap();
        assert!(!record.strict_dkim && record.strict_spf);
        assert_eq!(record.applied(Policy::Reject), Policy::Reject);
    }
}
