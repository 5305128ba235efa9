//! How many sessions there may be, in all and of one address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};

/// Whom an address is counted with: itself, or its /64, since that is what one customer of an IPv6 provider gets.
#[must_use]
pub(crate) fn subject(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// Which cap was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The process has all the sessions it may have.
    Process,
    /// This address has.
    Address,
}

impl Full {
    /// A word for metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process_cap",
            Self::Address => "address_cap",
        }
    }
}

/// Counts sessions. Its memory is bounded by the sessions there are.
#[derive(Debug)]
pub(crate) struct Caps {
    most: usize,
    most_per_address: usize,
    open: AtomicUsize,
    by_address: DashMap<IpAddr, usize>,
}

impl Caps {
    pub(crate) fn new(most: usize, most_per_address: usize) -> Self {
        Self {
            most,
            most_per_address,
            open: AtomicUsize::new(0),
            by_address: DashMap::new(),
        }
    }

    /// One more connection of the process, its address not yet known.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Place, Full> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Process);
        }
        Ok(Place {
            caps: Arc::clone(self),
            subject: None,
        })
    }
}

/// A session's place; given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    caps: Arc<Caps>,
    subject: Option<IpAddr>,
}

impl Place {
    /// The client's address is known now.
    pub(crate) fn claim(&mut self, address: IpAddr) -> Result<(), Full> {
        let subject = subject(address);
        let mut count = self.caps.by_address.entry(subject).or_insert(0);
        if *count >= self.caps.most_per_address {
            return Err(Full::Address);
        }
        *count += 1;
        drop(count);
        self.subject = Some(subject);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.caps.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(subject) = self.subject
            && let Entry::Occupied(mut entry) = self.caps.by_address.entry(subject)
        {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r03_r04_places_are_limited_in_all_and_by_address_and_come_back() {
        let caps = Arc::new(Caps::new(3, 2));
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut places: Vec<Place> = (0..2).map(|_| caps.enter().unwrap()).collect();
        for place in &mut places {
            place.claim(one).unwrap();
        }
        let mut third = caps.enter().unwrap();
        assert_eq!(third.claim(one), Err(Full::Address));
        assert_eq!(third.claim(other), Ok(()));
        assert_eq!(caps.enter().unwrap_err(), Full::Process);
        drop(third);
        drop(places);
        assert_eq!(caps.open.load(Ordering::Relaxed), 0);
        assert!(caps.by_address.is_empty());
    }

    #[test]
    fn a10_ipv6_is_counted_by_64_and_mapped_ipv4_as_ipv4() {
        let of = |text: &str| subject(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
