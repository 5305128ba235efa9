//! How often somebody may do something: the generic cell rate algorithm, in Redis for all processes together, in this process when
//! there is no Redis or it does not answer.
//!
//! Promises: a question is answered within the timeout whatever Redis does; while Redis is away every process limits for itself, and it
//! returns by itself; memory is bounded; the arithmetic is one pure function ([`gcra`]), the same on both sides. Nothing kept here may
//! not be lost. Deliberately not here: what a key is and which quota it has.

pub mod gcra;
mod in_process;
mod limiter;
mod redis;

pub use gcra::{Decision, Quota};
pub use limiter::{BadUrl, Limiter, RedisSettings};
