//! What happens to every request before and after its handler, from the outside in: [`answers`] gives it an id and renders errors,
//! [`security`] adds the headers that protect browsers, [`admission`] finds out who calls and counts.

pub(crate) mod admission;
pub(crate) mod answers;
pub(crate) mod security;
