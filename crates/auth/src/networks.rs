//! Which peers a list of networks covers, and which networks may be listed.
//!
//! IPv4-mapped addresses count as the IPv4 address they hold. Loopback is admitted without a password only by name: a network inside
//! `127.0.0.0/8` or `::1`, never by a wider one that happens to contain it.

use ipnet::{IpNet, Ipv6Net};
use std::net::{IpAddr, Ipv6Addr};

/// Why a network may not be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not in CIDR notation.
    #[error("{0:?} is not a network in CIDR notation, such as 192.0.2.0/24")]
    Invalid(String),
    /// It would admit strangers without a password.
    #[error("{0} is too wide to be admitted without a password: at most a /8, for IPv6 a /16 (or fc00::/7)")]
    TooWide(IpNet),
}

/// Reads a network; a lone address is a network of one. Host bits are cleared.
///
/// # Errors
/// [`NetworkError::Invalid`].
pub fn parse(text: &str) -> Result<IpNet, NetworkError> {
    let trimmed = text.trim();
    let network = trimmed.parse::<IpNet>().or_else(|_| trimmed.parse::<IpAddr>().map(IpNet::from));
    network
        .map(|network| canonical(network.trunc()))
        .map_err(|_| NetworkError::Invalid(text.chars().take(64).collect()))
}

/// Whether a network may stand for a password.
///
/// # Errors
/// [`NetworkError::TooWide`].
pub fn check_admitting(network: IpNet) -> Result<(), NetworkError> {
    let narrow = match network {
        IpNet::V4(net) => net.prefix_len() >= 8,
        IpNet::V6(net) => net.prefix_len() >= 16 || unique_local().contains(&net),
    };
    if narrow { Ok(()) } else { Err(NetworkError::TooWide(network)) }
}

/// Whether `peer` is in one of the networks.
#[must_use]
pub fn contain(networks: &[IpNet], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    networks.iter().any(|network| canonical(*network).contains(&peer))
}

/// The prefix length of the narrowest of the networks that admits `peer` without a password.
pub(crate) fn narrowest_admitting(networks: &[IpNet], peer: IpAddr) -> Option<u8> {
    let peer = peer.to_canonical();
    networks
        .iter()
        .map(|network| canonical(*network))
        .filter(|network| check_admitting(*network).is_ok() && network.contains(&peer))
        .filter(|network| !peer.is_loopback() || is_loopback(*network))
        .map(|network| network.prefix_len())
        .max()
}

fn is_loopback(network: IpNet) -> bool {
    match network {
        IpNet::V4(net) => net.prefix_len() >= 8 && net.network().is_loopback(),
        IpNet::V6(net) => net.prefix_len() == 128 && net.network().is_loopback(),
    }
}

fn unique_local() -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7)
}

/// `::ffff:192.0.2.0/120` as `192.0.2.0/24`.
fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(net) = network
        && net.prefix_len() >= 96
        && let Some(address) = net.network().to_ipv4_mapped()
        && let Ok(mapped) = IpNet::new(address.into(), net.prefix_len() - 96)
    {
        return mapped;
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|t| parse(t).unwrap()).collect()
    }

    #[test]
    fn loopback_is_admitted_only_by_name() {
        // ASSURANCE O31
        for (networks, peer, admitted) in [
            (&["127.0.0.0/8"][..], "127.0.0.1", true),
            (&["127.0.0.1"], "127.0.0.1", true),
            (&["127.0.0.1/32"], "::ffff:127.0.0.1", true),
            (&["::1"], "::1", true),
            (&["::1/128"], "127.0.0.1", false),
            (&["126.0.0.0/7"], "127.0.0.1", false),
            (&["0.0.0.0/0", "::/0"], "127.0.0.1", false),
            (&["0.0.0.0/0", "::/0"], "192.0.2.1", false),
            (&["::ffff:0.0.0.0/96"], "192.0.2.1", false),
            (&["::/16"], "::1", false),
            (&["::/127"], "::1", false),
            (&["10.0.0.0/8"], "10.9.8.7", true),
            (&["10.0.0.0/8"], "11.9.8.7", false),
            (&["2001:db8::/32"], "2001:db8::5", true),
            (&["::ffff:10.0.0.0/104"], "10.1.1.1", true),
        ] {
            assert_eq!(
                narrowest_admitting(&nets(networks), peer.parse().unwrap()).is_some(),
                admitted,
                "{networks:?} {peer}"
            );
        }
        assert_eq!(
            narrowest_admitting(&nets(&["10.0.0.0/8", "10.1.0.0/16"]), "10.1.2.3".parse().unwrap()),
            Some(16)
        );
    }

    #[test]
    fn networks_are_read_and_host_bits_cleared() {
        assert_eq!(parse("192.0.2.9/24").unwrap().to_string(), "192.0.2.0/24");
        for text in ["", "x", "1.2.3/8", "1.2.3.4/33", "0x7f.1", "127.1", "1.2.3.4/-1"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for (text, fine) in [
            ("0.0.0.0/0", false),
            ("::/0", false),
            ("128.0.0.0/1", false),
            ("10.0.0.0/8", true),
            ("fc00::/7", true),
        ] {
            assert_eq!(check_admitting(parse(text).unwrap()).is_ok(), fine, "{text}");
        }
    }
}
