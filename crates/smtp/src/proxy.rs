//! The PROXY protocol, version 2: how a load balancer tells whose connection it passes on. Own parser, strict and bounded.
//!
//! Promises: reads exactly the header and not an octet of what follows; whatever is not a well-formed version 2 header is an error, version 1
//! included. Not here: from whom a header may be believed. Never call this for a peer outside the trusted networks.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Octets after the fixed part that are accepted: addresses and a handful of TLVs.
const MAX_OCTETS: usize = 2048;

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The balancer's own, as for health checks: the connection's addresses count.
    Local,
    /// A client's.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
}

/// Why there is no origin.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The connection failed or ended.
    #[error("the connection ended within the PROXY header: {0}")]
    Io(#[from] io::Error),
    /// Not a header, or none that we know.
    #[error("malformed PROXY header: {0}")]
    Malformed(&'static str),
}

/// Reads a header off the front of a stream. The caller sets a deadline.
///
/// # Errors
/// [`ProxyError`]; the connection is then to be dropped.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Origin, ProxyError> {
    let mut head = [0u8; 16];
    stream.read_exact(&mut head).await?;
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    check(&head, length)?;
    let mut rest = vec![0u8; length];
    stream.read_exact(&mut rest).await?;
    origin(head[12], head[13], &rest)
}

fn check(head: &[u8; 16], length: usize) -> Result<(), ProxyError> {
    if head[..12] != SIGNATURE {
        return Err(ProxyError::Malformed("no signature"));
    }
    if head[12] >> 4 != 2 {
        return Err(ProxyError::Malformed("unknown version"));
    }
    if length > MAX_OCTETS {
        return Err(ProxyError::Malformed("too long"));
    }
    Ok(())
}

fn origin(command: u8, family: u8, rest: &[u8]) -> Result<Origin, ProxyError> {
    match command & 15 {
        0 => return Ok(Origin::Local),
        1 => {}
        _ => return Err(ProxyError::Malformed("unknown command")),
    }
    let short = ProxyError::Malformed("too short for its addresses");
    let port = |at: usize| rest.get(at..at + 2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]));
    let addresses = match family {
        0x11 => address::<4>(rest, 0)
            .zip(address::<4>(rest, 4))
            .map(|(from, to)| (IpAddr::V4(Ipv4Addr::from(from)), IpAddr::V4(Ipv4Addr::from(to)), 8)),
        0x21 => address::<16>(rest, 0)
            .zip(address::<16>(rest, 16))
            .map(|(from, to)| (IpAddr::V6(Ipv6Addr::from(from)), IpAddr::V6(Ipv6Addr::from(to)), 32)),
        // Unspecified and unix sockets say nothing about an address; a session without one cannot be judged.
        _ => return Err(ProxyError::Malformed("not TCP over IP")),
    };
    let Some((from, to, ports)) = addresses else { return Err(short) };
    let (Some(from_port), Some(to_port)) = (port(ports), port(ports + 2)) else {
        return Err(short);
    };
    Ok(Origin::Proxied {
        source: SocketAddr::new(from.to_canonical(), from_port),
        destination: SocketAddr::new(to.to_canonical(), to_port),
    })
}

fn address<const OCTETS: usize>(rest: &[u8], at: usize) -> Option<[u8; OCTETS]> {
    rest.get(at..at + OCTETS)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    async fn parsed(bytes: &[u8]) -> Result<Origin, ProxyError> {
        let mut bytes = bytes;
        let origin = read(&mut bytes).await?;
        assert_eq!(bytes, b"EHLO", "nothing beyond the header is taken");
        Ok(origin)
    }

    #[tokio::test]
    async fn addresses_of_both_families_are_read_and_tlvs_skipped() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0, 25, 4, 0, 1, 0];
        let bytes = [header(0x21, 0x11, &v4), b"EHLO".to_vec()].concat();
        let want = Origin::Proxied {
            source: "192.0.2.1:12345".parse().unwrap(),
            destination: "198.51.100.2:25".parse().unwrap(),
        };
        assert_eq!(parsed(&bytes).await.unwrap(), want);
        let mut v6 = [0u8; 36];
        v6[15] = 1;
        v6[31] = 2;
        v6[33] = 7;
        let bytes = [header(0x21, 0x21, &v6), b"EHLO".to_vec()].concat();
        let want = Origin::Proxied {
            source: "[::1]:7".parse().unwrap(),
            destination: "[::2]:0".parse().unwrap(),
        };
        assert_eq!(parsed(&bytes).await.unwrap(), want);
        assert_eq!(
            parsed(&[header(0x20, 0, &[]), b"EHLO".to_vec()].concat()).await.unwrap(),
            Origin::Local
        );
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let cases = [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x21, &[0; 12]),
            header(0x21, 0x31, &[0; 216]),
            header(0x21, 0x12, &[0; 12]),
            header(0x21, 0x11, &[0; 4000]),
            header(0x21, 0x11, &[0; 12])[..20].to_vec(),
        ];
        for case in cases {
            assert!(read(&mut &case[..]).await.is_err(), "{case:?}");
        }
    }
}
