//! Correspondents of aliases, and the reverse addresses by which an alias's destination writes to them.
//!
//! A reverse address cannot be guessed, but it is no secret either: who may write to one is decided by whoever takes the message.

use crate::{
    Result,
    aliases::{AliasFacts, HostedDomain, Target, TargetRow, targets},
    ids::{AliasId, ContactId, DomainId, OrganizationId},
    models::{AliasState, DmarcFailure, RepliesAs},
};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool, types::Json};

/// What every reverse address begins with; no alias may.
pub const PREFIX: &str = "r+";

/// Characters behind [`PREFIX`].
const LENGTH: usize = 26;

/// RFC 4648's base 32 in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A correspondent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Its id.
    pub id: ContactId,
    /// The alias that it writes to.
    pub alias: AliasId,
    /// The correspondent's address.
    pub address: String,
    /// The correspondent's name; may be empty.
    pub display_name: String,
    /// The local part of the reverse address.
    pub reverse_local_part: String,
    /// The domain of the reverse address.
    pub domain_name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Contact {
    /// The address to write to, so that mail leaves for the correspondent as the alias.
    #[must_use]
    pub fn reverse_address(&self) -> String {
        format!("{}@{}", self.reverse_local_part, self.domain_name)
    }
}

/// What stands behind a reverse address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReverseContact {
    /// The correspondent's id.
    pub id: ContactId,
    /// The correspondent's address: where the mail goes.
    pub address: String,
    /// The domain.
    pub domain: HostedDomain,
    /// The alias, as which the mail leaves: not deleted, but perhaps paused or expired.
    pub alias: AliasFacts,
    /// Who may write to the reverse address.
    pub destinations: Vec<Target>,
}

impl ReverseContact {
    /// The address as which the mail leaves.
    #[must_use]
    pub fn alias_address(&self) -> String {
        format!("{}@{}", self.alias.local_part, self.domain.name)
    }
}

/// Whether a folded local part looks like a reverse address.
#[must_use]
pub fn is_candidate(local_part: &str) -> bool {
    local_part.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == LENGTH)
}

fn mint() -> String {
    let random = rand::random::<[u8; LENGTH]>();
    let text: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect();
    format!("{PREFIX}{text}")
}

/// The alias's contact of this address, made if there is none; the same address twice is the same contact. `folded` is the address in lower
/// case. `true`: it was made now. Call it inside a transaction: two statements.
///
/// # Errors
/// `NotFound` when the organization has no such alias.
pub async fn find_or_insert(
    connection: &mut PgConnection,
    organization: OrganizationId,
    alias: AliasId,
    address: &mail::Address,
    display_name: &str,
) -> Result<(Contact, bool)> {
    let folded = address.folded();
    // contacts::find_or_insert
    let made = sqlx::query!(
        "insert into contact (id, organization_id, alias_id, domain_id, address, address_folded, display_name, reverse_local_part)
         select $1, a.organization_id, a.id, a.domain_id, $4, $5, $6, $7
         from alias a where a.organization_id = $2 and a.id = $3 and a.deleted_at is null
         on conflict (alias_id, address_folded) do nothing",
        ContactId::generate().0,
        organization.0,
        alias.0,
        address.to_string(),
        folded,
        display_name,
        mint()
    )
    .execute(&mut *connection)
    .await?;
    let contact = sqlx::query_as!(
        Contact,
        r#"select c.id as "id: ContactId", c.alias_id as "alias: AliasId", c.address, c.display_name, c.reverse_local_part,
                  d.name as domain_name, c.created_at
           from contact c join domain d on d.id = c.domain_id
           where c.organization_id = $1 and c.alias_id = $2 and c.address_folded = $3"#,
        organization.0,
        alias.0,
        folded
    )
    .fetch_one(connection)
    .await?;
    Ok((contact, made.rows_affected() == 1))
}

/// Up to `limit` contacts of an alias, the newest first, older than `after`.
///
/// # Errors
/// When the database fails. An unknown alias has none.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    alias: AliasId,
    after: Option<ContactId>,
    limit: i64,
) -> Result<Vec<Contact>> {
    // contacts::list
    Ok(sqlx::query_as!(
        Contact,
        r#"select c.id as "id: ContactId", c.alias_id as "alias: AliasId", c.address, c.display_name, c.reverse_local_part,
                  d.name as domain_name, c.created_at
           from contact c join domain d on d.id = c.domain_id
           where c.organization_id = $1 and c.alias_id = $2 and ($3::uuid is null or c.id < $3)
           order by c.id desc limit $4"#,
        organization.0,
        alias.0,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(executor)
    .await?)
}

/// What stands behind the reverse address `local_part@domain`, both folded. `None`: it is none, or its alias is deleted.
///
/// # Errors
/// When the database is out of reach.
pub async fn by_reverse(pool: &PgPool, domain: &str, local_part: &str) -> Result<Option<ReverseContact>> {
    if !is_candidate(local_part) {
        return Ok(None);
    }
    // contacts::by_reverse
    let row = sqlx::query!(
        r#"select c.id as "id: ContactId", c.address, d.id as "domain_id: DomainId", d.organization_id as "organization: OrganizationId", d.name,
                  d.subaddressing, d.paused_reply, d.dmarc_fail as "dmarc_fail: DmarcFailure", a.id as "alias_id: AliasId", a.local_part,
                  a.pattern, a.state as "state: AliasState", a.replies as "replies: RepliesAs", a.expires_at, a.max_messages, a.message_count,
                  (select coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'kind', t.kind, 'address', t.address,
                                                                'verified', t.verified_at is not null) order by l.position), '[]')
                   from alias_destination l join destination t on t.id = l.destination_id
                   where l.alias_id = a.id) as "destinations!: Json<Vec<TargetRow>>"
           from domain d
           join contact c on c.domain_id = d.id and c.reverse_local_part = $2
           join alias a on a.id = c.alias_id and a.deleted_at is null
           where d.name = $1 and d.verified_at is not null"#,
        domain,
        local_part
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| ReverseContact {
        id: row.id,
        address: row.address,
        domain: HostedDomain {
            id: row.domain_id,
            organization: row.organization,
            name: row.name,
            subaddressing: row.subaddressing,
            paused_reply: row.paused_reply,
            dmarc_fail: row.dmarc_fail,
        },
        alias: AliasFacts {
            id: row.alias_id,
            local_part: row.local_part,
            pattern: row.pattern,
            state: row.state,
            replies: row.replies,
            expires_at: row.expires_at,
            max_messages: row.max_messages,
            message_count: row.message_count,
        },
        destinations: targets(row.destinations),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_local_part_is_a_candidate_and_lower_case() {
        let minted = mint();
        assert!(is_candidate(&minted) && minted == minted.to_lowercase(), "{minted}");
        assert_ne!(minted, mint());
        for other in ["r+", "r+short", "b+abcdefghijklmnopqrstuvwxyz", "shop"] {
            assert!(!is_candidate(other), "{other}");
        }
    }
}
