//! Every refusal of the policy as an SMTP reply: the one place where they are worded.
//!
//! Our own faults are 4xx and name no cause; 5xx states a fact about the sender, the message or the policy.

use intake::Refusal;
use smtp::{Reply, replies};

/// Not logged in, and the recipient is not here (RFC 3463 5.7.1).
pub(crate) const RELAYING_DENIED: Reply = Reply::new(550, 5, 7, 1, "Relaying denied: log in to send to other domains");
/// The domain is here, the recipient is not.
pub(crate) const UNKNOWN_RECIPIENT: Reply = Reply::new(550, 5, 1, 1, "No such recipient here");
/// Only the null reverse-path may write to a return path.
pub(crate) const NOT_A_BOUNCE: Reply = Reply::new(550, 5, 7, 1, "This address takes delivery reports only");
/// The credential was withdrawn while its session was open.
pub(crate) const LOGIN_WITHDRAWN: Reply = Reply::new(530, 5, 7, 0, "Your login is no longer valid");
/// The organization is suspended; it may come back.
pub(crate) const SUSPENDED: Reply = Reply::new(451, 4, 7, 1, "Sending is suspended for this account");
/// Credentials cannot be checked (RFC 4954 §6).
pub(crate) const LOGIN_UNAVAILABLE: Reply = Reply::new(454, 4, 7, 0, "Temporary authentication failure");
/// The address has failed to log in too often.
pub(crate) const TOO_MANY_LOGINS: Reply = Reply::new(421, 4, 7, 0, "Too many failed logins, try again later");
/// The address has asked for too many recipients that do not exist.
pub(crate) const TOO_MANY_UNKNOWN: Reply = Reply::new(421, 4, 7, 0, "Too many unknown recipients, try again later");

/// Words a refusal of the door.
pub(crate) fn reply(refusal: &Refusal) -> Reply {
    let base = match refusal {
        Refusal::DomainNotVerified { .. } | Refusal::SenderNotAllowed { .. } => Reply::new(550, 5, 7, 1, ""),
        Refusal::NoFrom | Refusal::Malformed(_) => Reply::new(554, 5, 6, 0, ""),
        Refusal::TooLarge { .. } => Reply::new(552, 5, 3, 4, ""),
        Refusal::RecipientCount { .. } => Reply::new(452, 4, 5, 3, ""),
        Refusal::Loop { .. } => Reply::new(554, 5, 4, 6, ""),
        Refusal::QuotaExceeded { .. } => Reply::new(452, 4, 7, 1, ""),
        Refusal::KeyReused => Reply::new(554, 5, 5, 0, ""),
        Refusal::KeyInProgress => Reply::new(451, 4, 5, 0, ""),
        Refusal::InvalidReturnPath
        | Refusal::NotHosted { .. }
        | Refusal::Blocked { .. }
        | Refusal::DmarcFailed { .. }
        | Refusal::ReplyNotProven => Reply::new(550, 5, 7, 1, ""),
        Refusal::NoSuchAddress => return UNKNOWN_RECIPIENT,
        Refusal::AliasClosed { .. } => Reply::new(550, 5, 2, 1, ""),
        Refusal::NoDestination => Reply::new(450, 4, 2, 1, ""),
        Refusal::Unavailable | Refusal::InDoubt => return replies::INTERNAL,
    };
    base.with_text(refusal.to_string())
}

/// Words why a session's credential is not, or no longer, good.
pub(crate) fn of_credential(refusal: &auth::smtp_credentials::Refusal) -> Reply {
    match refusal {
        auth::smtp_credentials::Refusal::Invalid => LOGIN_WITHDRAWN,
        auth::smtp_credentials::Refusal::Suspended => SUSPENDED,
        auth::smtp_credentials::Refusal::Unavailable(_) => replies::INTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn our_faults_are_temporary_and_theirs_name_the_cause() {
        for refusal in [Refusal::Unavailable, Refusal::InDoubt] {
            assert_eq!(reply(&refusal).to_string(), "451 4.3.0 Temporary failure, try again later");
        }
        let all = [
            Refusal::DomainNotVerified { domain: "a.test".into() },
            Refusal::SenderNotAllowed {
                address: "x@a.test".into(),
            },
            Refusal::NoFrom,
            Refusal::Malformed("broken".into()),
            Refusal::TooLarge { limit: 1 },
            Refusal::RecipientCount { limit: 1 },
            Refusal::Loop { hops: 200 },
            Refusal::QuotaExceeded {
                retry_after: Duration::from_secs(1),
            },
            Refusal::KeyReused,
            Refusal::KeyInProgress,
            Refusal::Unavailable,
            Refusal::InDoubt,
            Refusal::InvalidReturnPath,
            Refusal::NotHosted { domain: "a.test".into() },
            Refusal::NoSuchAddress,
            Refusal::AliasClosed { reply: None },
            Refusal::NoDestination,
            Refusal::Blocked {
                reply: Some("no thanks".into()),
            },
            Refusal::DmarcFailed { domain: "a.test".into() },
            Refusal::ReplyNotProven,
        ];
        for refusal in all {
            let reply = reply(&refusal);
            let class = reply.enhanced.map(|code| u16::from(code.0));
            assert_eq!(class, Some(reply.code / 100), "{refusal}");
            assert!(!reply.text.is_empty());
            if refusal.is_temporary() {
                assert!(reply.is_transient(), "{refusal}");
            }
        }
    }
}
