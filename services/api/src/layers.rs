//! What happens to every request before and after its handler, from the outside in: [`answers`] gives it an id and renders errors,
//! [`unread`] takes what a client still sends, [`security`] adds the headers that protect browsers, [`admission`] finds out who calls and
//! counts, [`parameters`] refuses those that a call does not have.

pub(crate) mod admission;
pub(crate) mod answers;
pub(crate) mod parameters;
pub(crate) mod security;
pub(crate) mod unread;
