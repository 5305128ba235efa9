//! People, and the organizations they belong to.
//!
//! A user belongs to organizations by membership. Passwords arrive here already hashed (argon2id, PHC text).

use crate::{
    Result,
    ids::{OrganizationId, UserId},
};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use std::fmt;

/// What a member may do in an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type, serde::Serialize, serde::Deserialize)]
#[sqlx(type_name = "member_role", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    /// Everything, including giving the organization away.
    Owner,
    /// Everything but that.
    Admin,
    /// Sends mail and works with what is there.
    Member,
    /// Looks, changes nothing.
    Viewer,
}

/// A person. The password's hash is kept out of `Debug`.
#[derive(Clone)]
pub struct User {
    /// The person's id.
    pub id: UserId,
    /// Lower-cased address, unique in the instance.
    pub email: String,
    /// argon2id in PHC format.
    pub password_hash: String,
    /// How to call the person; may be empty.
    pub name: String,
    /// Whether the person operates the instance.
    pub instance_admin: bool,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// The last successful login.
    pub last_login_at: Option<DateTime<Utc>>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("instance_admin", &self.instance_admin)
            .finish_non_exhaustive()
    }
}

/// What makes a person.
#[derive(Clone, Copy)]
pub struct NewUser<'a> {
    /// Any case; stored lower-cased.
    pub email: &'a str,
    /// argon2id in PHC format.
    pub password_hash: &'a str,
    /// How to call the person; may be empty.
    pub name: &'a str,
    /// Whether the person operates the instance.
    pub instance_admin: bool,
}

impl fmt::Debug for NewUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("instance_admin", &self.instance_admin)
            .finish_non_exhaustive()
    }
}

/// One organization of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Which.
    pub organization: OrganizationId,
    /// Its name.
    pub organization_name: String,
    /// Whether the organization is suspended.
    pub suspended: bool,
    /// What the person may do there.
    pub role: MemberRole,
}

/// Makes a person who belongs to no organization yet.
///
/// # Errors
/// `Conflict("app_user_email_key")` when the address is taken.
pub async fn insert(executor: impl PgExecutor<'_>, new: NewUser<'_>) -> Result<User> {
    // users::insert
    Ok(sqlx::query_as!(
        User,
        r#"insert into app_user (id, email, password_hash, name, instance_admin) values ($1, lower($2), $3, $4, $5)
           returning id as "id: UserId", email, password_hash, name, instance_admin, created_at, last_login_at"#,
        UserId::generate().0,
        new.email,
        new.password_hash,
        new.name,
        new.instance_admin
    )
    .fetch_one(executor)
    .await?)
}

/// Makes a person together with an organization that the person owns. Call it inside a transaction: two statements.
///
/// # Errors
/// As [`insert`] and [`crate::organizations::insert`].
pub async fn create_with_organization(
    connection: &mut PgConnection,
    new: NewUser<'_>,
    organization: &str,
) -> Result<(User, OrganizationId)> {
    let user = insert(&mut *connection, new).await?;
    let organization = crate::organizations::insert(&mut *connection, OrganizationId::generate(), organization)
        .await?
        .id;
    add_member(connection, organization, user.id, MemberRole::Owner).await?;
    Ok((user, organization))
}

/// Makes the person a member, or changes the role of one.
///
/// # Errors
/// `Conflict` when the organization or the person does not exist.
pub async fn add_member(executor: impl PgExecutor<'_>, organization: OrganizationId, user: UserId, role: MemberRole) -> Result<()> {
    // users::add_member
    sqlx::query!(
        "insert into membership (organization_id, user_id, role) values ($1, $2, $3)
         on conflict (organization_id, user_id) do update set role = excluded.role",
        organization.0,
        user.0,
        role as MemberRole
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// The person of this id.
///
/// # Errors
/// `NotFound` when there is none.
pub async fn find(executor: impl PgExecutor<'_>, id: UserId) -> Result<User> {
    // users::find
    Ok(sqlx::query_as!(
        User,
        r#"select id as "id: UserId", email, password_hash, name, instance_admin, created_at, last_login_at from app_user where id = $1"#,
        id.0
    )
    .fetch_one(executor)
    .await?)
}

/// The person with this address, in any case.
///
/// # Errors
/// `NotFound` when there is none.
pub async fn find_by_email(executor: impl PgExecutor<'_>, email: &str) -> Result<User> {
    // users::find_by_email
    Ok(sqlx::query_as!(
        User,
        r#"select id as "id: UserId", email, password_hash, name, instance_admin, created_at, last_login_at
           from app_user where email = lower($1)"#,
        email
    )
    .fetch_one(executor)
    .await?)
}

/// The organizations of a person, the oldest membership first.
///
/// # Errors
/// When the database fails.
pub async fn memberships(executor: impl PgExecutor<'_>, user: UserId) -> Result<Vec<Membership>> {
    // users::memberships
    Ok(sqlx::query_as!(
        Membership,
        r#"select m.organization_id as "organization: OrganizationId", o.name as organization_name,
                  o.suspended_at is not null as "suspended!", m.role as "role: MemberRole"
           from membership m join organization o on o.id = m.organization_id
           where m.user_id = $1 order by m.created_at, m.organization_id"#,
        user.0
    )
    .fetch_all(executor)
    .await?)
}

/// Notes a successful login.
///
/// # Errors
/// When the database fails.
pub async fn logged_in(executor: impl PgExecutor<'_>, user: UserId) -> Result<()> {
    // users::logged_in
    sqlx::query!("update app_user set last_login_at = now() where id = $1", user.0)
        .execute(executor)
        .await?;
    Ok(())
}

/// Replaces the password's hash.
///
/// # Errors
/// `NotFound` when there is no such person.
pub async fn set_password(executor: impl PgExecutor<'_>, user: UserId, password_hash: &str) -> Result<()> {
    // users::set_password
    let done = sqlx::query!("update app_user set password_hash = $2 where id = $1", user.0, password_hash)
        .execute(executor)
        .await?;
    crate::affected_one(done.rows_affected())
}

/// Whether anybody at all can log in: a first start makes the administrator.
///
/// # Errors
/// When the database fails.
pub async fn exist(executor: impl PgExecutor<'_>) -> Result<bool> {
    // users::exist
    Ok(sqlx::query_scalar!(r#"select exists (select from app_user) as "exists!""#)
        .fetch_one(executor)
        .await?)
}
