//! What verifying found, in the words of RFC 8601 §2.7, as it is kept with the message.

use crate::dmarc;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$meaning])* $variant,)* }

        impl $name {
            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// RFC 7208 §2.6.
    SpfResult {
        /// The address may send for the domain.
        Pass = "pass",
        /// It may not.
        Fail = "fail",
        /// Probably not.
        SoftFail = "softfail",
        /// The domain does not say.
        Neutral = "neutral",
        /// The domain publishes nothing, or is none.
        None = "none",
        /// DNS did not answer.
        TempError = "temperror",
        /// What the domain publishes cannot be used.
        PermError = "permerror",
    }
}

words! {
    /// RFC 8601 §2.7.1, of one signature.
    DkimResult {
        /// It verified.
        Pass = "pass",
        /// It did not, or has expired.
        Fail = "fail",
        /// It verified, or might have, but is not good enough for us: SHA-1, a short key, a body signed in part.
        Policy = "policy",
        /// It is malformed, or of a kind that we do not know.
        Neutral = "neutral",
        /// Of a whole message: there is no signature.
        None = "none",
        /// DNS did not answer.
        TempError = "temperror",
        /// There is no key that could verify it.
        PermError = "permerror",
    }
}

words! {
    /// RFC 7489 §11.2.
    DmarcResult {
        /// SPF or DKIM passed for the author's domain.
        Pass = "pass",
        /// Neither did.
        Fail = "fail",
        /// The author's domain publishes no policy, or there is no author.
        None = "none",
        /// DNS did not answer, and what it did not answer could have changed the result.
        TempError = "temperror",
        /// Too many authors to tell.
        PermError = "permerror",
    }
}

words! {
    /// What the author's domain asks for, of mail that fails.
    Policy {
        /// Nothing.
        None = "none",
        /// To be treated as suspicious.
        Quarantine = "quarantine",
        /// Not to be accepted.
        Reject = "reject",
    }
}

/// What SPF found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpfVerdict {
    /// The result.
    pub result: SpfResult,
    /// Whom it is about: the domain of MAIL FROM, or the HELO name where that is null. Lower-case; may be no domain at all.
    pub domain: String,
}

/// What became of one signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimVerdict {
    /// The result; never [`DkimResult::None`].
    pub result: DkimResult,
    /// `d=`, lower-case A-labels; empty when the signature is malformed.
    pub domain: String,
    /// `s=`.
    pub selector: String,
    /// `a=`.
    pub algorithm: String,
    /// Why it did not pass, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What DMARC makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmarcVerdict {
    /// The result.
    pub result: DmarcResult,
    /// The author's domain, lower-case A-labels; empty when there is none.
    pub domain: String,
    /// What applies to this message if it fails: `p=`, `sp=` or `np=`, one step milder under `t=y`.
    pub policy: Policy,
    /// SPF passed, for a domain aligned with the author's.
    pub aligned_spf: bool,
    /// A signature passed, of a domain aligned with the author's.
    pub aligned_dkim: bool,
}

/// Everything that was found out about a message. Kept as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// SPF.
    pub spf: SpfVerdict,
    /// Each signature that was looked at, from the top.
    pub dkim: Vec<DkimVerdict>,
    /// DMARC.
    pub dmarc: DmarcVerdict,
}

/// One word per method: what the interface shows as `auth` and rules compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// SPF.
    pub spf: SpfResult,
    /// The best of the signatures; `none` without any.
    pub dkim: DkimResult,
    /// DMARC.
    pub dmarc: DmarcResult,
}

impl Verdicts {
    /// The verdicts in one word per method.
    #[must_use]
    pub fn words(&self) -> Words {
        let best_first = [
            DkimResult::Pass,
            DkimResult::TempError,
            DkimResult::Policy,
            DkimResult::Fail,
            DkimResult::PermError,
            DkimResult::Neutral,
        ];
        let is_there = |word: &DkimResult| self.dkim.iter().any(|verdict| verdict.result == *word);
        Words {
            spf: self.spf.result,
            dkim: best_first.into_iter().find(is_there).unwrap_or(DkimResult::None),
            dmarc: self.dmarc.result,
        }
    }
}

/// Whether the message is shown to come from a domain: SPF or a signature passes for that domain or for one of the same organization. The
/// text of From has no say. For mail with a null sender SPF speaks of the HELO name.
#[must_use]
pub fn aligned_with(verdicts: &Verdicts, domain: &mail::Domain) -> bool {
    let is_ours = |of: &str| dmarc::is_aligned(of, domain.as_str(), false);
    let by_spf = verdicts.spf.result == SpfResult::Pass && is_ours(&verdicts.spf.domain);
    by_spf || (verdicts.dkim.iter()).any(|verdict| verdict.result == DkimResult::Pass && is_ours(&verdict.domain))
}
