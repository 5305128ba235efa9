//! Proving where mail comes from: DKIM signing.
//!
//! Promises: a signature is made over the very bytes that leave, with no copy of the body; keys are parsed once. No I/O and no clock: the
//! time is a parameter. Keys come from the caller and are never shown by `Debug`.

pub mod dkim;
