//! The SMTP protocol (RFC 5321 and its extensions): what goes over the wire, on both sides of it.
//!
//! - [`command`] reads one command line, [`data`] one message as it arrives, [`proxy`] a PROXY v2 header: strict, bounded, without I/O.
//! - [`server`] is a session: a state machine over a product's [`server::Backend`], and the loop that feeds it from any byte stream.
//! - [`client`] sends transactions over any byte stream and tells each recipient's fate.
//!
//! Promises: only `CRLF . CRLF` ends a message; bare CR, bare LF and NUL never pass, in either direction; what came before a TLS
//! handshake is forgotten at it; memory per session is bounded; every answer carries a code that means what it says.
//!
//! Not here: accounts, policy, databases, DNS, configuration, retries. Those belong to the services that use this crate.

pub mod client;
pub mod command;
pub mod data;
pub mod proxy;
mod reply;
pub mod server;
mod timer;
mod transport;

pub use reply::{Reply, replies};
pub use transport::{TlsInfo, Transport};
