//! Dashboard sessions: a random token in a cookie, its SHA-256 in the database, and a second token that writes must echo.
//!
//! Every login makes a new token and ends the session the browser came with (no fixation). A session ends 14 days after the login, or
//! after 3 days without use. Cookies and headers are the API service's.

use crate::{
    passwords::{Busy, Passwords},
    random,
    scopes::{Scope, Scopes},
    secrets,
};
use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use std::net::IpAddr;
use store::{
    PgPool,
    ids::{OrganizationId, SessionId, UserId},
    sessions::NewSession,
    users::{Membership, User},
};

/// Two weeks, unless [`Sessions::with_lifetime`] says otherwise.
const LIFETIME_SECONDS: i64 = 14 * 24 * 3600;
const IDLE_SECONDS: i64 = 3 * 24 * 3600;

/// Where a login comes from.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoginFrom<'a> {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The browser's name for itself; shortened here.
    pub user_agent: &'a str,
    /// The token of the session that the browser came with; it ends.
    pub previous: Option<&'a SecretString>,
}

/// A login that succeeded.
#[derive(Debug)]
pub struct Login {
    /// For the cookie; exists only here.
    pub token: SecretString,
    /// What writes must echo in `X-CSRF-Token`.
    pub csrf_token: String,
    /// When the session ends at the latest.
    pub expires_at: DateTime<Utc>,
    /// Who.
    pub user: User,
    /// Their organizations, the oldest membership first.
    pub memberships: Vec<Membership>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Unknown, wrong, ended: deliberately not told apart.
    #[error("not logged in")]
    Invalid,
    /// Too many logins at once: temporary.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// We cannot tell: temporary, our fault.
    #[error("sessions cannot be checked at the moment")]
    Unavailable(#[source] store::Error),
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        if matches!(error, store::Error::NotFound) {
            Self::Invalid
        } else {
            Self::Unavailable(error)
        }
    }
}

/// Who speaks through a session.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Which session.
    pub session: SessionId,
    /// Who.
    pub user: UserId,
    /// Whether the person operates the instance.
    pub instance_admin: bool,
    /// Their organizations, the oldest membership first.
    pub memberships: Vec<Membership>,
    csrf_token: String,
}

impl Principal {
    /// Whether a write echoes the right token.
    #[must_use]
    pub fn csrf_matches(&self, presented: &str) -> bool {
        secrets::equal(self.csrf_token.as_bytes(), presented.as_bytes())
    }

    /// The token that writes must echo.
    #[must_use]
    pub fn csrf_token(&self) -> &str {
        &self.csrf_token
    }

    /// The membership that a request is about: the named organization's, or the oldest one. None when the person is no member.
    #[must_use]
    pub fn membership(&self, organization: Option<OrganizationId>) -> Option<&Membership> {
        match organization {
            Some(wanted) => self.memberships.iter().find(|membership| membership.organization == wanted),
            None => self.memberships.first(),
        }
    }

    /// What the person may do there.
    #[must_use]
    pub fn scopes(&self, membership: &Membership) -> Scopes {
        let own = Scopes::of_role(membership.role);
        if self.instance_admin { own.with(Scope::InstanceAdmin) } else { own }
    }
}

/// Begins, checks and ends sessions.
#[derive(Debug, Clone)]
pub struct Sessions {
    pool: PgPool,
    passwords: Passwords,
    lifetime_seconds: i64,
}

impl Sessions {
    /// Shares the bounded pool of password hashing.
    #[must_use]
    pub const fn new(pool: PgPool, passwords: Passwords) -> Self {
        Self {
            pool,
            passwords,
            lifetime_seconds: LIFETIME_SECONDS,
        }
    }

    /// The same with another length of a session.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: std::time::Duration) -> Self {
        self.lifetime_seconds = i64::try_from(lifetime.as_secs()).unwrap_or(LIFETIME_SECONDS);
        self
    }

    /// Checks a password and begins a session. An unknown address costs as much as a wrong password.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn login(&self, email: &str, password: &SecretString, from: LoginFrom<'_>) -> Result<Login, Refusal> {
        let user = match store::users::find_by_email(&self.pool, &email.trim().replace('\0', "\u{fffd}")).await {
            Ok(user) => Some(user),
            Err(store::Error::NotFound) => None,
            Err(error) => return Err(Refusal::Unavailable(error)),
        };
        let fits = self
            .passwords
            .verify(password, user.as_ref().map(|user| user.password_hash.as_str()))
            .await?;
        let user = user.filter(|_| fits).ok_or(Refusal::Invalid)?;

        let (token, csrf_token) = (random::token(), random::token());
        let user_agent: String = from.user_agent.chars().filter(|c| !c.is_control()).take(256).collect();
        let token_hash = sha256(&token);
        let new = NewSession {
            token_hash: token_hash.as_ref(),
            csrf_token: &csrf_token,
            address: from.address,
            user_agent: &user_agent,
            lifetime_seconds: self.lifetime_seconds,
        };
        let mut transaction = self.pool.begin().await.map_err(store::Error::from)?;
        if let Some(previous) = from.previous {
            store::sessions::delete_by_token(&mut *transaction, sha256(previous.expose_secret()).as_ref()).await?;
        }
        let session = store::sessions::insert(&mut *transaction, user.id, new).await?;
        store::users::logged_in(&mut *transaction, user.id).await?;
        let memberships = store::users::memberships(&mut *transaction, user.id).await?;
        transaction.commit().await.map_err(store::Error::from)?;
        Ok(Login {
            token: token.into(),
            csrf_token,
            expires_at: session.expires_at,
            user,
            memberships,
        })
    }

    /// Who speaks through the token of a cookie.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn authenticate(&self, token: &SecretString) -> Result<Principal, Refusal> {
        let session = store::sessions::find_by_token(&self.pool, sha256(token.expose_secret()).as_ref(), IDLE_SECONDS).await?;
        let user = store::users::find(&self.pool, session.user).await?;
        let memberships = store::users::memberships(&self.pool, session.user).await?;
        if Utc::now() - session.last_seen_at > chrono::TimeDelta::minutes(1) {
            let pool = self.pool.clone();
            // Off the request's path: a lost write only ages the last use.
            tokio::spawn(async move { store::sessions::touch(&pool, session.id).await });
        }
        Ok(Principal {
            session: session.id,
            user: user.id,
            instance_admin: user.instance_admin,
            memberships,
            csrf_token: session.csrf_token,
        })
    }

    /// Ends the session of a token; none is no error.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn logout(&self, token: &SecretString) -> store::Result<()> {
        store::sessions::delete_by_token(&self.pool, sha256(token.expose_secret()).as_ref()).await
    }
}

/// A token has 256 random bits: a fast hash without a key is enough.
fn sha256(token: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts;
    use store::users::MemberRole;

    const PASSWORD: &str = "correct horse battery";

    async fn world(pool: &PgPool) -> (Sessions, OrganizationId) {
        let passwords = Passwords::default();
        let password = SecretString::from(PASSWORD);
        let wanted = accounts::Wanted {
            email: "Owner@A.test",
            password: &password,
            name: "O",
            organization: "A",
            instance_admin: false,
        };
        let (_, organization) = accounts::create(pool, &passwords, wanted).await.unwrap();
        let again = accounts::create(
            pool,
            &passwords,
            accounts::Wanted {
                email: "owner@a.TEST",
                ..wanted
            },
        )
        .await;
        assert!(matches!(again, Err(accounts::CreateError::EmailTaken)));
        for email in ["", "x", "@a.test", "a b@a.test"] {
            let refused = accounts::create(pool, &passwords, accounts::Wanted { email, ..wanted }).await;
            assert!(matches!(refused, Err(accounts::CreateError::InvalidEmail)), "{email}");
        }
        (Sessions::new(pool.clone(), passwords), organization)
    }

    #[sqlx::test(migrations = "../../migrations")]
    async fn a_login_makes_a_session_that_a_logout_ends(pool: PgPool) {
        let (sessions, organization) = world(&pool).await;
        let login = sessions
            .login(
                "OWNER@a.test",
                &PASSWORD.into(),
                LoginFrom {
                    user_agent: "x\r\ny",
                    ..LoginFrom::default()
                },
            )
            .await
            .unwrap();
        assert_eq!(login.memberships.len(), 1);
        let principal = sessions.authenticate(&login.token).await.unwrap();
        let membership = principal.membership(None).unwrap();
        assert_eq!((membership.organization, membership.role), (organization, MemberRole::Owner));
        assert!(principal.membership(Some(OrganizationId::generate())).is_none());
        assert!(principal.scopes(membership).allows(Scope::Admin) && !principal.scopes(membership).allows(Scope::InstanceAdmin));
        assert!(principal.csrf_matches(&login.csrf_token) && !principal.csrf_matches("") && !principal.csrf_matches("x"));
        sessions.logout(&login.token).await.unwrap();
        assert!(matches!(sessions.authenticate(&login.token).await, Err(Refusal::Invalid)));
    }

    #[sqlx::test(migrations = "../../migrations")]
    async fn a_wrong_password_and_an_unknown_person_are_told_the_same(pool: PgPool) {
        let (sessions, _) = world(&pool).await;
        for (email, password) in [("owner@a.test", "wrong"), ("nobody@a.test", PASSWORD), ("", ""), ("\0", PASSWORD)] {
            let refused = sessions.login(email, &password.into(), LoginFrom::default()).await;
            assert!(matches!(refused, Err(Refusal::Invalid)), "{email:?}: {refused:?}");
        }
        assert!(matches!(sessions.authenticate(&"nonsense".into()).await, Err(Refusal::Invalid)));
    }

    #[sqlx::test(migrations = "../../migrations")]
    async fn a_new_login_ends_the_session_the_browser_came_with(pool: PgPool) {
        // ASSURANCE W02
        let (sessions, _) = world(&pool).await;
        let first = sessions
            .login("owner@a.test", &PASSWORD.into(), LoginFrom::default())
            .await
            .unwrap();
        let from = LoginFrom {
            previous: Some(&first.token),
            ..LoginFrom::default()
        };
        let second = sessions.login("owner@a.test", &PASSWORD.into(), from).await.unwrap();
        assert_ne!(first.token.expose_secret(), second.token.expose_secret());
        assert!(matches!(sessions.authenticate(&first.token).await, Err(Refusal::Invalid)));
        sessions.authenticate(&second.token).await.unwrap();
    }
}
