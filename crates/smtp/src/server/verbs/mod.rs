//! The verbs: each checks whether it may be said now, asks the backend, and changes the session. None of them reads or writes.

mod auth;
mod content;
mod envelope;
mod hello;
