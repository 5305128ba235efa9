//! Header fields: finding them, reading a few of them, adding and removing some without touching another byte.
//!
//! [`Headers::scan`] never fails: whatever stands before the first empty line is the header, and a line in it that is no field
//! is a field without a name. Nothing is copied. How many fields and octets to tolerate is for the caller ([`crate::content`]).

mod author;
mod decode;
mod edit;
pub mod hops;
mod rewrite;
mod scan;

pub use author::{Authors, author, authors, read_authors};
pub(crate) use decode::{FORGIVING_BASE64, decode_raw, known_charset, to_text};
pub use decode::{decode, unfold};
pub use edit::{prepend, remove};
pub(crate) use rewrite::chunks;
pub use rewrite::{mailbox, replace_author, replace_author_and_answers, shown_author};
pub use scan::{Field, Fields, Headers};
