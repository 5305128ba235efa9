//! From an envelope to deliveries: a pure function.

use mail::Envelope;
use std::collections::{HashMap, HashSet};

/// One recipient after routing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its index in the envelope.
    pub recipient: usize,
    /// Where it goes: a domain in A-labels, or an address literal.
    pub destination: String,
    /// The same number for recipients of one destination: they share a transaction and a return path.
    pub ordinal: i16,
}

/// Routes each recipient once: a recipient named twice is delivered to once.
#[must_use]
pub fn route(envelope: &Envelope) -> Vec<Route> {
    let mut seen = HashSet::new();
    let mut ordinals: HashMap<String, i16> = HashMap::new();
    let mut routes = Vec::with_capacity(envelope.recipients.len());
    for (index, recipient) in envelope.recipients.iter().enumerate() {
        if envelope.recipients.len() > 1 && !seen.insert(recipient.address.folded()) {
            continue;
        }
        let destination = recipient.address.host().to_string();
        let next = i16::try_from(ordinals.len()).unwrap_or(i16::MAX);
        let ordinal = *ordinals.entry(destination.clone()).or_insert(next);
        routes.push(Route {
            recipient: index,
            destination,
            ordinal,
        });
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{Address, Recipient, ReversePath};

    #[test]
    fn recipients_of_one_destination_share_an_ordinal_and_a_repeated_one_counts_once() {
        let to = ["a@x.test", "b@y.test", "c@X.test", "A@x.test", "d@[192.0.2.1]"];
        let recipients = to.iter().map(|text| Recipient::new(Address::parse(text).unwrap())).collect();
        let routed: Vec<_> = route(&Envelope::new(ReversePath::Null, recipients))
            .into_iter()
            .map(|r| (r.recipient, r.destination, r.ordinal))
            .collect();
        assert_eq!(
            routed,
            [
                (0, "x.test".to_owned(), 0),
                (1, "y.test".to_owned(), 1),
                (2, "x.test".to_owned(), 0),
                (4, "[192.0.2.1]".to_owned(), 2),
            ]
        );
    }
}
