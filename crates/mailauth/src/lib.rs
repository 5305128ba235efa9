//! Proving where mail comes from: DKIM signing of what leaves, SPF, DKIM and DMARC verification of what arrives.
//!
//! Promises: a signature is made over the very bytes that leave, with no copy of the body; keys are parsed once. Verifying looks names up
//! through [`dns::Resolver`] and nothing else, within bounds, and takes silence for silence. What to do about a verdict is decided by pure
//! functions ([`dmarc::disposition`], [`dmarc::rewrite_from`], [`verify::aligned_with`]). Keys come from the caller and are never shown by
//! `Debug`. No ARC: the standard is being retired.

pub mod dkim;
pub mod dmarc;
pub mod results;
pub mod spf;
mod verdicts;
pub mod verify;

pub use results::{authentication_results, remove_forged};
pub use verify::{Inbound, Verdicts, Verifier, aligned_with};
