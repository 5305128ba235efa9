//! Making people and the organizations they own.

use crate::passwords::{Busy, Passwords, PolicyError, check_policy};
use secrecy::SecretString;
use store::{
    PgPool,
    ids::OrganizationId,
    users::{NewUser, User},
};

/// What a new person shall be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Becomes the login.
    pub email: &'a str,
    /// At least ten characters.
    pub password: &'a SecretString,
    /// How to call the person; may be empty.
    pub name: &'a str,
    /// The organization that is made for the person.
    pub organization: &'a str,
    /// Whether the person operates the instance: only for the command line and the first start.
    pub instance_admin: bool,
}

/// Why nobody was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Not an e-mail address.
    #[error("not an e-mail address")]
    InvalidEmail,
    /// The address has an account already.
    #[error("this e-mail address has an account already")]
    EmailTaken,
    /// The password does not meet the policy.
    #[error(transparent)]
    Password(#[from] PolicyError),
    /// Too much is going on: temporary.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The database failed, or refused the organization's name.
    #[error(transparent)]
    Store(store::Error),
}

impl From<store::Error> for CreateError {
    fn from(error: store::Error) -> Self {
        if error.violates("app_user_email_key") {
            Self::EmailTaken
        } else {
            Self::Store(error)
        }
    }
}

/// Makes a person together with an organization that the person owns.
///
/// # Errors
/// See [`CreateError`].
pub async fn create(pool: &PgPool, passwords: &Passwords, wanted: Wanted<'_>) -> Result<(User, OrganizationId), CreateError> {
    let email = email(wanted.email)?;
    check_policy(wanted.password)?;
    let password_hash = passwords.hash(wanted.password).await?;
    let new = NewUser {
        email: &email,
        password_hash: &password_hash,
        name: wanted.name,
        instance_admin: wanted.instance_admin,
    };
    let mut transaction = pool.begin().await.map_err(store::Error::from)?;
    let made = store::users::create_with_organization(&mut transaction, new, wanted.organization).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(made)
}

/// The stored form of a login: lower case, the domain in A-labels.
fn email(text: &str) -> Result<String, CreateError> {
    match crate::allowed_from::parse(text) {
        Ok(email) if !email.starts_with('@') => Ok(email),
        _ => Err(CreateError::InvalidEmail),
    }
}
