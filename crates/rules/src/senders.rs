//! Lists of senders: who is let through and who is not, whatever the rules say.
//!
//! A list is asked about the address a message claims to be from. An entry that allows is worth as much as that claim: the caller
//! honours it for mail whose claim holds, and uses a denial always.

use mail::{Address, AddressError, Domain, DomainError};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// One entry: `a@b.example` for an address, `@b.example` for all of a domain's, `*.b.example` for those of all domains below it (not of
/// itself). Compared without regard to case. Read tolerantly (`b.example`, `*@b.example`, `*@*.b.example`), shown in those three forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SenderPattern {
    /// One address.
    Address(Address),
    /// Every address at exactly this domain.
    Domain(Domain),
    /// Every address at a domain below this one.
    Below(Domain),
}

/// Why a text is not an entry of a sender list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SenderPatternError {
    /// Nothing there.
    #[error("is empty; write a@b.example, @b.example or *.b.example")]
    Empty,
    /// A `*` somewhere else than the forms allow.
    #[error("has a * in the wrong place; it stands for all domains below one, as in *.b.example")]
    Wildcard,
    /// Not an address.
    #[error("is not an address: {0}; write a@b.example, @b.example or *.b.example")]
    Address(#[from] AddressError),
    /// Not a domain.
    #[error("names no domain: {0}; write a@b.example, @b.example or *.b.example")]
    Domain(#[from] DomainError),
}

impl FromStr for SenderPattern {
    type Err = SenderPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SenderPatternError::Empty);
        }
        let host = match text.strip_prefix("*@").or_else(|| text.strip_prefix('@')) {
            Some(host) => host,
            None if !text.contains('@') => text,
            None => {
                let address = Address::parse(text)?;
                // What a list compares: case does not tell two mailboxes apart in practice.
                let folded = Address::parse(&address.folded())?;
                return Ok(Self::Address(folded));
            }
        };
        let (below, domain) = match host.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, host),
        };
        if domain.contains('*') {
            return Err(SenderPatternError::Wildcard);
        }
        let domain = Domain::parse(domain)?;
        Ok(if below { Self::Below(domain) } else { Self::Domain(domain) })
    }
}

impl fmt::Display for SenderPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(formatter, "{address}"),
            Self::Domain(domain) => write!(formatter, "@{}", domain.as_str()),
            Self::Below(domain) => write!(formatter, "*.{}", domain.as_str()),
        }
    }
}

/// What a list says of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Let through.
    Allowed,
    /// Refused.
    Denied,
    /// Not a word.
    NotListed,
}

/// The entries of one level, ready to be asked: the answer takes as many look-ups as the sender's domain has labels, however long the
/// list is.
#[derive(Debug, Clone, Default)]
pub struct SenderList {
    /// By the entry as shown; `true` allows.
    entries: HashMap<String, bool>,
}

impl SenderList {
    /// Makes a list. The same entry on both sides allows.
    #[must_use]
    pub fn new(allow: impl IntoIterator<Item = SenderPattern>, deny: impl IntoIterator<Item = SenderPattern>) -> Self {
        let mut entries: HashMap<String, bool> = deny.into_iter().map(|pattern| (pattern.to_string(), false)).collect();
        entries.extend(allow.into_iter().map(|pattern| (pattern.to_string(), true)));
        Self { entries }
    }

    /// Has it no entries?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the most specific entry says: the address, then its domain, then the nearest domain above.
    #[must_use]
    pub fn decide(&self, sender: &Address) -> Listed {
        if self.entries.is_empty() {
            return Listed::NotListed;
        }
        let found = self
            .entries
            .get(&sender.folded())
            .or_else(|| sender.domain().and_then(|domain| self.by_domain(domain)));
        match found {
            Some(true) => Listed::Allowed,
            Some(false) => Listed::Denied,
            None => Listed::NotListed,
        }
    }

    fn by_domain(&self, domain: &Domain) -> Option<&bool> {
        let above = std::iter::successors(domain.parent(), Domain::parent);
        std::iter::once(format!("@{}", domain.as_str()))
            .chain(above.map(|above| format!("*.{}", above.as_str())))
            .find_map(|key| self.entries.get(&key))
    }
}

/// The lists that apply to one recipient. The alias's is asked first, then the domain's, then the organization's; the first that says
/// something decides.
#[derive(Debug, Clone, Copy)]
pub struct SenderLists<'a> {
    /// Of the alias.
    pub alias: &'a SenderList,
    /// Of the domain.
    pub domain: &'a SenderList,
    /// Of the organization.
    pub organization: &'a SenderList,
}

impl SenderLists<'_> {
    /// What the lists say of a sender.
    #[must_use]
    pub fn decide(&self, sender: &Address) -> Listed {
        [self.alias, self.domain, self.organization]
            .into_iter()
            .map(|list| list.decide(sender))
            .find(|listed| *listed != Listed::NotListed)
            .unwrap_or(Listed::NotListed)
    }

    /// What they say of a message that may name several authors ([`crate::Incoming::senders`]): denied when one is, allowed when all are.
    /// So nobody slips through by adding an allowed author.
    #[must_use]
    pub fn decide_all(&self, senders: &[Address]) -> Listed {
        let mut allowed = !senders.is_empty();
        for sender in senders {
            match self.decide(sender) {
                Listed::Denied => return Listed::Denied,
                Listed::Allowed => {}
                Listed::NotListed => allowed = false,
            }
        }
        if allowed { Listed::Allowed } else { Listed::NotListed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(allow: &[&str], deny: &[&str]) -> SenderList {
        let read = |entries: &[&str]| entries.iter().map(|entry| entry.parse().unwrap()).collect::<Vec<SenderPattern>>();
        SenderList::new(read(allow), read(deny))
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn entries_have_three_forms_and_are_shown_in_them() {
        for (written, shown) in [
            ("Anna@B.Example", "anna@b.example"),
            ("\"a b\"@b.example", "\"a b\"@b.example"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("@b.example", "@b.example"),
            ("B.Example.", "@b.example"),
            (" *@b.example ", "@b.example"),
            ("@köln.example", "@xn--kln-sna.example"),
            ("*.b.example", "*.b.example"),
            ("*@*.b.example", "*.b.example"),
            ("@*.b.example", "*.b.example"),
        ] {
            let pattern: SenderPattern = written.parse().unwrap();
            assert_eq!(pattern.to_string(), shown, "{written}");
            assert_eq!(shown.parse::<SenderPattern>().unwrap(), pattern);
        }
        for (written, reason) in [
            ("", "is empty"),
            (" ", "is empty"),
            ("*", "* in the wrong place"),
            ("@", "names no domain"),
            ("*.", "names no domain"),
            ("a*.b.example", "* in the wrong place"),
            ("*.*.example", "* in the wrong place"),
            ("a b@c.example", "is not an address"),
            ("a@", "is not an address"),
            ("b example", "names no domain"),
        ] {
            let error = written.parse::<SenderPattern>().unwrap_err().to_string();
            assert!(error.contains(reason), "{written}: {error}");
        }
    }

    #[test]
    fn the_most_specific_entry_wins_and_allowing_beats_denying_where_both_are_equal() {
        let list = list(
            &[
                "good@b.example",
                "@ok.b.example",
                "*.deep.b.example",
                "both@c.example",
                "@d.example",
            ],
            &["*.b.example", "@b.example", "both@c.example", "bad@d.example", "*.example.net"],
        );
        for (sender, listed) in [
            ("Good@B.example", Listed::Allowed),
            ("other@b.example", Listed::Denied),
            ("x@ok.b.example", Listed::Allowed),
            ("x@not.b.example", Listed::Denied),
            ("x@ok.deep.b.example", Listed::Allowed),
            ("x@deep.b.example", Listed::Denied),
            ("both@c.example", Listed::Allowed),
            ("x@c.example", Listed::NotListed),
            ("bad@d.example", Listed::Denied),
            ("fine@d.example", Listed::Allowed),
            ("x@below.d.example", Listed::NotListed),
            ("x@example.net", Listed::NotListed),
            ("x@a.b.c.example.net", Listed::Denied),
            ("x@[192.0.2.1]", Listed::NotListed),
        ] {
            assert_eq!(list.decide(&address(sender)), listed, "{sender}");
        }
    }

    #[test]
    fn the_alias_is_asked_before_the_domain_and_the_domain_before_the_organization() {
        let (alias, domain) = (list(&["@shop.example"], &[]), list(&[], &["@shop.example", "@x.example"]));
        let organization = list(&["a@x.example", "@y.example"], &[]);
        let lists = SenderLists {
            alias: &alias,
            domain: &domain,
            organization: &organization,
        };
        for (sender, listed) in [
            ("a@shop.example", Listed::Allowed),
            ("a@x.example", Listed::Denied),
            ("a@y.example", Listed::Allowed),
            ("a@z.example", Listed::NotListed),
        ] {
            assert_eq!(lists.decide(&address(sender)), listed, "{sender}");
        }
        let all = |senders: &[&str]| lists.decide_all(&senders.iter().map(|sender| address(sender)).collect::<Vec<_>>());
        assert_eq!(all(&["a@y.example", "a@x.example"]), Listed::Denied);
        assert_eq!(all(&["a@y.example", "a@z.example"]), Listed::NotListed);
        assert_eq!(all(&["a@y.example", "b@y.example"]), Listed::Allowed);
        assert_eq!(all(&[]), Listed::NotListed);
    }
}
