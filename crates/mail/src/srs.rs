//! Reading the Sender Rewriting Scheme of other forwarders.
//!
//! We mint return paths of our own ([`crate::return_path`]) and never SRS. What is read here lets a caller recognise such an
//! address, see where it would go, and refuse it: a foreign MAC cannot be verified, so believing one would make an open relay.

use crate::address::{Address, Host};
use crate::domain::Domain;

/// A local part in SRS form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Srs {
    /// `SRS0=hash=timestamp=domain=local`: rewritten once.
    First {
        /// The forwarder's MAC.
        hash: String,
        /// Days modulo 1024 in base32, two characters.
        timestamp: String,
        /// Domain of the original sender.
        domain: Domain,
        /// Local part of the original sender; it may contain `=`.
        local_part: String,
    },
    /// `SRS1=hash=forwarder==hash=timestamp=domain=local`: rewritten again by another.
    Again {
        /// The second forwarder's MAC.
        hash: String,
        /// The first forwarder, to which a bounce goes.
        forwarder: Domain,
        /// What follows `SRS0` at the first forwarder, its separator included.
        rest: String,
    },
}

impl Srs {
    /// Reads a local part. `None`: not SRS. Tags match in any case; the first separator may be `=`, `+` or `-`.
    #[must_use]
    pub fn parse(local_part: &str) -> Option<Self> {
        let (tag, rest) = (local_part.get(..4)?, &local_part[4..]);
        let fields = rest.strip_prefix(['=', '+', '-'])?;
        if tag.eq_ignore_ascii_case("SRS0") {
            let mut parts = fields.splitn(4, '=');
            let (hash, timestamp, domain, local) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            if hash.is_empty() || timestamp.len() != 2 || local.is_empty() {
                return None;
            }
            Some(Self::First {
                hash: hash.to_owned(),
                timestamp: timestamp.to_owned(),
                domain: Domain::parse(domain).ok()?,
                local_part: local.to_owned(),
            })
        } else if tag.eq_ignore_ascii_case("SRS1") {
            let (hash, fields) = fields.split_once('=')?;
            let (forwarder, rest) = fields.split_once('=')?;
            if hash.is_empty() || !rest.starts_with(['=', '+', '-']) {
                return None;
            }
            Some(Self::Again {
                hash: hash.to_owned(),
                forwarder: Domain::parse(forwarder).ok()?,
                rest: rest.to_owned(),
            })
        } else {
            None
        }
    }

    /// The address one step back: the original sender, or the first forwarder's SRS0 address. Its truth is not verified.
    #[must_use]
    pub fn reversed(&self) -> Option<Address> {
        match self {
            Self::First { domain, local_part, .. } => Address::new(local_part, Host::Domain(domain.clone())).ok(),
            Self::Again { forwarder, rest, .. } => Address::new(&format!("SRS0{rest}"), Host::Domain(forwarder.clone())).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_lead_one_step_back() {
        for (local_part, back) in [
            ("SRS0=HHH=TT=example.org=alice", "alice@example.org"),
            ("srs0+HHH=TT=example.org=alice=x", "alice=x@example.org"),
            (
                "SRS1=HHH=first.example==hhh=tt=example.org=alice",
                "SRS0=hhh=tt=example.org=alice@first.example",
            ),
            (
                "SRS1-HHH=first.example=-hhh=tt=example.org=alice",
                "SRS0-hhh=tt=example.org=alice@first.example",
            ),
        ] {
            let srs = Srs::parse(local_part).unwrap();
            assert_eq!(srs.reversed().unwrap().to_string(), back, "{local_part}");
        }
    }

    #[test]
    fn other_local_parts_are_not_srs() {
        for local_part in [
            "alice",
            "SRS0",
            "SRS0=",
            "SRS0=a=b=c",
            "SRS0=H=T=example.org=alice",
            "SRS0=H=TT=exa mple=a",
            "SRS2=H=TT=a=b",
            "SRS1=H=f",
            "srsü",
        ] {
            assert_eq!(Srs::parse(local_part), None, "{local_part}");
        }
    }
}
