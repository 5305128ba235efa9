//! The one door by which a message enters, whatever the protocol: policy, routing, group commit.
//!
//! Promises: [`Intake::accept`] answers only after one COMMIT that holds the body, the envelope and all recipients; a refusal names
//! a fact about the sender, the message or the policy, and leaves nothing behind; a fault of ours is [`Refusal::Unavailable`], never a
//! permanent answer. A crowd of sessions costs one transaction, not one each.
//!
//! It takes a sender that is already authenticated and a quota that is somebody else's ([`Quota`]); it neither speaks SMTP or HTTP nor
//! dials anybody.

mod accept;
mod batcher;
mod bounces;
mod confirmations;
mod directory;
mod inbound;
mod message;
pub mod policy;
mod quota;
mod refusal;
mod reports;
pub mod routing;
mod submission;
mod wake;

pub use accept::{BatchLimits, Intake, Settings};
pub use bounces::BounceTarget;
pub use confirmations::ConfirmationMail;
pub use inbound::{Arrival, LocalOrigin};
pub use quota::{NoQuota, Quota, QuotaExceeded};
pub use refusal::Refusal;
pub use reports::Reporter;
pub use submission::{Accepted, AcceptedRecipient, Idempotency, ReceivedInfo, Sender, Submission};
pub use wake::{Wake, announce, listen};
