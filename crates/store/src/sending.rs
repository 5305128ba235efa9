//! What sending as a domain takes: whether the organization may, where bounces return, and the keys to sign with.

use crate::{
    Result,
    ids::{DkimKeyId, DomainId, OrganizationId},
    models::DkimAlgorithm,
};
use sqlx::PgPool;

/// A domain as a sender.
#[derive(Debug, Clone)]
pub struct SendingDomain {
    /// Its id.
    pub id: DomainId,
    /// Its name.
    pub name: String,
    /// The name that takes bounces, when its DNS record was found right: the return-path name, or the domain itself when its MX is ours.
    pub return_path: Option<String>,
    /// Whether to sign.
    pub sign: bool,
    /// Active keys.
    pub keys: Vec<SealedKey>,
}

/// An active signing key, its private part sealed under the instance secret.
#[derive(Debug, Clone)]
pub struct SealedKey {
    /// Its id, which the seal is bound to.
    pub id: DkimKeyId,
    /// RFC 6376 selector.
    pub selector: String,
    /// Its algorithm.
    pub algorithm: DkimAlgorithm,
    /// Sealed PKCS#8 DER.
    pub private_key: Vec<u8>,
}

/// The organization's verified domain of that name. `None`: it may not send as it.
///
/// # Errors
/// When the database is out of reach.
pub async fn verified(pool: &PgPool, organization: OrganizationId, name: &str) -> Result<Option<DomainId>> {
    // sending::verified — a domain that is failing was proved once: its owner's mail goes on while the owner is told
    let id = sqlx::query_scalar!(
        "select id from domain where organization_id = $1 and name = $2 and verified_at is not null",
        organization.0,
        name
    )
    .fetch_optional(pool)
    .await?;
    Ok(id.map(DomainId))
}

/// Whether any organization has verified this name.
///
/// # Errors
/// When the database is out of reach.
pub async fn is_hosted(pool: &PgPool, name: &str) -> Result<bool> {
    // sending::is_hosted — also the return-path names below a verified domain
    let found = sqlx::query_scalar!(
        r#"select exists (
             select from domain where verified_at is not null and (name = $1 or return_path_label || '.' || name = $1)
           ) as "found!""#,
        name
    )
    .fetch_one(pool)
    .await?;
    Ok(found)
}

/// The domain whose postmaster is the one of this host: the host's own name or one above it, else the first domain of the first
/// organization, whose people run this.
///
/// # Errors
/// When the database is out of reach.
pub async fn domain_of_host(pool: &PgPool, hostname: &str) -> Result<Option<String>> {
    // sending::domain_of_host
    Ok(sqlx::query_scalar!(
        r#"select d.name
           from domain d cross join lateral (select $1 = d.name or right($1, length(d.name) + 1) = '.' || d.name as own) o
           where d.verified_at is not null
             and (o.own or d.organization_id = (select id from organization order by created_at, id limit 1))
           order by o.own desc, length(d.name) * o.own::int desc, d.verified_at, d.id limit 1"#,
        hostname
    )
    .fetch_optional(pool)
    .await?)
}

/// Everything needed to send as a domain.
///
/// # Errors
/// [`crate::Error::NotFound`] when the domain is gone.
pub async fn domain(pool: &PgPool, organization: OrganizationId, id: DomainId) -> Result<SendingDomain> {
    // sending::domain
    let row = sqlx::query!(
        r#"select d.name, d.sign,
             case
               when exists (select from domain_record r where r.domain_id = d.id and r.purpose = 'return_path' and r.type = 'MX' and r.status = 'ok')
                 then d.return_path_label || '.' || d.name
               when exists (select from domain_record r where r.domain_id = d.id and r.purpose = 'mx' and r.status = 'ok') then d.name
             end as return_path
           from domain d where d.organization_id = $1 and d.id = $2"#,
        organization.0,
        id.0
    )
    .fetch_one(pool)
    .await?;
    let keys = sqlx::query!(
        r#"select id, selector, algorithm as "algorithm: DkimAlgorithm", private_key from dkim_key
           where organization_id = $1 and domain_id = $2 and state = 'active' order by algorithm"#,
        organization.0,
        id.0
    )
    .fetch_all(pool)
    .await?;
    Ok(SendingDomain {
        id,
        name: row.name,
        return_path: row.return_path,
        sign: row.sign,
        keys: keys
            .into_iter()
            .map(|key| SealedKey {
                id: DkimKeyId(key.id),
                selector: key.selector,
                algorithm: key.algorithm,
                private_key: key.private_key,
            })
            .collect(),
    })
}
