//! From the MX records of a domain to the hosts to try, in order (RFC 5321 §5.1, RFC 7505). Pure: the caller gives the randomness.

use crate::{Mx, Name};

/// Most hosts that are tried; who publishes more gets the best of them.
pub const MAX_HOSTS: usize = 5;

/// Why there is nobody to try. All of it is the domain's doing, hence permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The domain says that it takes no mail (RFC 7505).
    #[error("the domain does not accept mail")]
    NullMx,
    /// We are the best exchanger ourselves.
    #[error("the mail would loop back to this server")]
    Loop,
    /// No exchanger has a name that could be looked up.
    #[error("no mail exchanger has a valid name")]
    NoValidHost,
}

/// The hosts to try for `domain`, best first.
///
/// No records mean that the domain itself is its exchanger. Null MX among others is ignored. Exchangers of equal preference come in an
/// order drawn from `seed`. One that bears one of our `own_names` goes, with all that are not better. One that is an address instead of a
/// name, or could not be a name, is skipped. At most [`MAX_HOSTS`].
///
/// # Errors
/// See [`PlanError`].
pub fn plan(domain: &Name, answer: &[Mx], own_names: &[Name], seed: u64) -> Result<Vec<Name>, PlanError> {
    if answer.is_empty() {
        return if own_names.contains(domain) {
            Err(PlanError::Loop)
        } else {
            Ok(vec![domain.clone()])
        };
    }
    if answer.iter().all(|mx| mx.exchange.is_empty()) {
        return Err(PlanError::NullMx);
    }
    let mut random = seed;
    let mut hosts: Vec<(u16, u64, Name)> = answer
        .iter()
        .filter_map(|mx| Name::parse(&mx.exchange).ok().map(|name| (mx.preference, next(&mut random), name)))
        .collect();
    if hosts.is_empty() {
        return Err(PlanError::NoValidHost);
    }
    if let Some(ours) = hosts
        .iter()
        .filter(|(_, _, name)| own_names.contains(name))
        .map(|(preference, ..)| *preference)
        .min()
    {
        hosts.retain(|(preference, ..)| *preference < ours);
        if hosts.is_empty() {
            return Err(PlanError::Loop);
        }
    }
    hosts.sort_unstable();
    let mut planned = Vec::with_capacity(MAX_HOSTS);
    for (_, _, name) in hosts {
        if planned.len() < MAX_HOSTS && !planned.contains(&name) {
            planned.push(name);
        }
    }
    Ok(planned)
}

/// SplitMix64: enough to spread load, and the same for the same seed.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(records: &[(u16, &str)], own: &[&str], seed: u64) -> Result<Vec<String>, PlanError> {
        let answer: Vec<Mx> = records
            .iter()
            .map(|(preference, exchange)| Mx {
                preference: *preference,
                exchange: (*exchange).into(),
            })
            .collect();
        let own: Vec<Name> = own.iter().map(|name| Name::parse(name).unwrap()).collect();
        let hosts = plan(&Name::parse("d.test").unwrap(), &answer, &own, seed)?;
        Ok(hosts.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_rules_of_rfc_5321_in_a_table() {
        type Case<'a> = (&'a [(u16, &'a str)], Result<&'a [&'a str], PlanError>);
        let cases: &[Case<'_>] = &[
            (&[], Ok(&["d.test"])),
            (&[(20, "b.test"), (10, "a.test")], Ok(&["a.test", "b.test"])),
            (&[(0, "")], Err(PlanError::NullMx)),                // N03
            (&[(0, ""), (10, "a.test")], Ok(&["a.test"])),       // N03
            (&[(10, "192.0.2.1")], Err(PlanError::NoValidHost)), // N06
            (&[(10, "192.0.2.1"), (20, "a.test")], Ok(&["a.test"])),
            (&[(10, "[192.0.2.1]"), (10, "a b.test")], Err(PlanError::NoValidHost)),
            (&[(10, "me.test")], Err(PlanError::Loop)), // N10
            (&[(10, "a.test"), (20, "ME.test"), (20, "b.test"), (30, "c.test")], Ok(&["a.test"])),
            (&[(10, "me.test"), (20, "c.test")], Err(PlanError::Loop)),
            (&[(10, "a.test"), (20, "a.test")], Ok(&["a.test"])),
        ];
        for (records, wanted) in cases {
            let wanted = wanted.map(|hosts| hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>());
            assert_eq!(planned(records, &["me.test"], 1), wanted, "{records:?}");
        }
        assert_eq!(planned(&[], &["d.test"], 1), Err(PlanError::Loop));
    }

    #[test]
    fn two_hundred_exchangers_are_capped_and_equals_take_turns() {
        // N08
        let names: Vec<String> = (0..200).map(|n| format!("mx{n}.test")).collect();
        let records: Vec<(u16, &str)> = names.iter().map(|name| (10, name.as_str())).collect();
        let mut first = std::collections::HashSet::new();
        for seed in 0..100 {
            let hosts = planned(&records, &[], seed).unwrap();
            assert_eq!(hosts.len(), MAX_HOSTS);
            assert_eq!(hosts, planned(&records, &[], seed).unwrap(), "the same seed gives the same order");
            first.insert(hosts[0].clone());
        }
        assert!(first.len() > 50, "{}", first.len());
    }
}
