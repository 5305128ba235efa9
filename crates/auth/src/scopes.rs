//! What a key or a member may do.
//!
//! `<resource>.read` and `<resource>.write` stand apart: writing does not imply reading. `admin` implies everything of the organization,
//! but never `instance.admin`, which only the operator's command line gives.

use std::{collections::BTreeSet, fmt, str::FromStr};
use store::users::MemberRole;

/// What can be read and written, spelled as in the API's paths.
pub const RESOURCES: [&str; 19] = [
    "aliases",
    "api-keys",
    "billing",
    "contacts",
    "destinations",
    "domains",
    "events",
    "members",
    "messages",
    "organization",
    "rules",
    "sender-lists",
    "smtp-credentials",
    "stats",
    "streams",
    "suppressions",
    "webhooks",
    "audit-log",
    "destination-policies",
];

/// One permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything of the organization.
    Admin,
    /// Operating the instance.
    InstanceAdmin,
    /// Sending mail.
    Send,
    /// Looking at a resource, one of [`RESOURCES`].
    Read(&'static str),
    /// Changing a resource, one of [`RESOURCES`].
    Write(&'static str),
}

/// The text names no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a scope: use <resource>.read, <resource>.write, messages.send or admin")]
pub struct UnknownScope(pub String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let unknown = || UnknownScope(text.chars().take(64).collect());
        let resource = |name: &str| RESOURCES.iter().copied().find(|known| *known == name).ok_or_else(unknown);
        match text {
            "admin" => Ok(Self::Admin),
            "instance.admin" => Ok(Self::InstanceAdmin),
            "messages.send" => Ok(Self::Send),
            _ => match text.rsplit_once('.') {
                Some((name, "read")) => Ok(Self::Read(resource(name)?)),
                Some((name, "write")) => Ok(Self::Write(resource(name)?)),
                _ => Err(unknown()),
            },
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
            Self::InstanceAdmin => f.write_str("instance.admin"),
            Self::Send => f.write_str("messages.send"),
            Self::Read(resource) => write!(f, "{resource}.read"),
            Self::Write(resource) => write!(f, "{resource}.write"),
        }
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Everything there is, the instance's operation included: for the command line alone.
    #[must_use]
    pub fn every() -> Self {
        Self([Scope::Admin, Scope::InstanceAdmin].into())
    }

    /// Reads the texts of the API or of the store; twice the same is once.
    ///
    /// # Errors
    /// Names the first text that is no scope.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, UnknownScope> {
        texts.iter().map(|text| text.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// What a member of an organization may do, by role.
    #[must_use]
    pub fn of_role(role: MemberRole) -> Self {
        let reads = RESOURCES
            .iter()
            .copied()
            .filter(|r| !matches!(*r, "api-keys" | "billing" | "audit-log"))
            .map(Scope::Read);
        match role {
            MemberRole::Owner | MemberRole::Admin => Self([Scope::Admin].into()),
            MemberRole::Viewer => Self(reads.collect()),
            MemberRole::Member => {
                let writes = [
                    "aliases",
                    "contacts",
                    "destinations",
                    "messages",
                    "rules",
                    "sender-lists",
                    "suppressions",
                ];
                Self(reads.chain(writes.map(Scope::Write)).chain([Scope::Send]).collect())
            }
        }
    }

    /// These and one more.
    #[must_use]
    pub fn with(mut self, scope: Scope) -> Self {
        self.0.insert(scope);
        self
    }

    /// Whether the set holds `scope`, itself or by implication.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || (scope != Scope::InstanceAdmin && self.0.contains(&Scope::Admin))
    }

    /// Whether a holder of `grantor` may create a key with these: nothing beyond its own, and never the instance's operation.
    #[must_use]
    pub fn within(&self, grantor: &Self) -> bool {
        self.0.iter().all(|scope| *scope != Scope::InstanceAdmin && grantor.allows(*scope))
    }

    /// All that a holder of these may pass on to a key.
    #[must_use]
    pub fn grantable(&self) -> Self {
        self.0.iter().copied().filter(|scope| *scope != Scope::InstanceAdmin).collect()
    }

    /// Whether there is no permission in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The texts, for the store and the API.
    #[must_use]
    pub fn to_texts(&self) -> Vec<String> {
        self.0.iter().map(Scope::to_string).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(texts: &[&str]) -> Scopes {
        Scopes::parse(texts).unwrap()
    }

    #[test]
    fn scopes_survive_their_texts() {
        let all = ["admin", "instance.admin", "messages.send", "domains.read", "api-keys.write"];
        let mut texts = scopes(&all).to_texts();
        texts.sort();
        let mut wanted = all.map(str::to_owned).to_vec();
        wanted.sort();
        assert_eq!(texts, wanted);
        for text in [
            "",
            "Admin",
            "domains",
            "domains.",
            ".read",
            "nothing.read",
            "domains.delete",
            "messages.send ",
            "instance.read",
            "*",
        ] {
            assert!(Scopes::parse(&[text]).is_err(), "{text}");
        }
    }

    #[test]
    fn admin_is_the_organizations_and_not_the_instances() {
        let admin = scopes(&["admin"]);
        assert!(admin.allows(Scope::Send) && admin.allows(Scope::Write("domains")) && admin.allows(Scope::Admin));
        assert!(!admin.allows(Scope::InstanceAdmin));
        assert!(Scopes::every().allows(Scope::InstanceAdmin) && Scopes::every().allows(Scope::Send));
        assert!(!scopes(&["instance.admin"]).allows(Scope::Read("domains")));
        assert!(!scopes(&["domains.write"]).allows(Scope::Read("domains")));
        assert!(!scopes(&["messages.write"]).allows(Scope::Send));
    }

    #[test]
    fn a_key_creates_only_keys_within_its_own_scopes() {
        for (wanted, grantor, fine) in [
            (&["domains.read"][..], &["domains.read", "api-keys.write"][..], true),
            (&["domains.write"], &["domains.read", "api-keys.write"], false),
            (&["admin"], &["domains.read", "api-keys.write"], false),
            (&["admin", "messages.send"], &["admin"], true),
            (&["instance.admin"], &["admin", "instance.admin"], false),
        ] {
            assert_eq!(scopes(wanted).within(&scopes(grantor)), fine, "{wanted:?} by {grantor:?}");
        }
    }

    #[test]
    fn all_that_may_be_passed_on_is_what_one_has_without_the_instances_operation() {
        let grantor = scopes(&["admin", "instance.admin"]);
        assert_eq!(grantor.grantable(), scopes(&["admin"]));
        assert!(grantor.grantable().within(&grantor));
    }

    #[test]
    fn roles_grow_from_viewer_to_owner() {
        let viewer = Scopes::of_role(MemberRole::Viewer);
        assert!(viewer.allows(Scope::Read("messages")) && !viewer.allows(Scope::Send) && !viewer.allows(Scope::Write("messages")));
        let member = Scopes::of_role(MemberRole::Member);
        assert!(viewer.within(&member) && member.allows(Scope::Send) && !member.allows(Scope::Write("api-keys")));
        assert!(member.within(&Scopes::of_role(MemberRole::Admin)));
        assert!(!Scopes::of_role(MemberRole::Owner).allows(Scope::InstanceAdmin));
    }
}
