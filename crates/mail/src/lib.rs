//! The vocabulary of mail: addresses, envelopes, header fields, reports. Pure.
//!
//! Promises: nothing here does I/O, reads a clock or draws a random number; whatever is needed of those is a parameter. No
//! input makes a parser panic, and each works in time proportional to its input. What a parser accepts, `Display` renders
//! so that the parser accepts it again and gets the same value.
//!
//! Not here: the SMTP conversation (`smtp`), signatures (`mailauth`), policy (`intake`).

pub mod address;
pub mod compose;
pub mod content;
pub mod domain;
pub mod dsn;
pub mod envelope;
pub mod header;
mod mime;
mod nesting;
pub mod quote;
pub mod reply;
pub mod return_path;
pub mod srs;
pub mod status;
pub mod trace;

pub use address::{Address, AddressError, Host};
pub use domain::{Domain, DomainError};
pub use envelope::{Envelope, ForwardPath, Notify, NotifyError, Recipient, ReversePath};
pub use status::EnhancedCode;
