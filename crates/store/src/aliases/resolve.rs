//! Who takes mail for an address: asked at every RCPT, one round trip, a handful of index probes however many aliases there are.

use super::{Target, TargetRow, targets};
use crate::{
    Result,
    ids::{AliasId, DomainId, OrganizationId},
    models::{AliasState, DmarcFailure, RepliesAs},
};
use chrono::{DateTime, Utc};
use sqlx::{PgPool, types::Json};

/// Local parts that every domain must answer to (RFC 5321 §4.5.1, RFC 2142).
const ROLES: [&str; 2] = ["postmaster", "abuse"];

/// A verified domain, as mail that comes in for it needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedDomain {
    /// Its id.
    pub id: DomainId,
    /// Whose.
    pub organization: OrganizationId,
    /// Its name.
    pub name: String,
    /// Whether `local+tag` is `local`.
    pub subaddressing: bool,
    /// Instead of the standard refusal of a paused alias.
    pub paused_reply: Option<String>,
    /// What becomes of mail that fails DMARC.
    pub dmarc_fail: DmarcFailure,
}

/// An alias, as mail that comes in for it needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasFacts {
    /// Its id.
    pub id: AliasId,
    /// As configured: without a tag; with `*` when it is a pattern.
    pub local_part: String,
    /// Whether it stands for many addresses.
    pub pattern: bool,
    /// Whether it takes mail.
    pub state: AliasState,
    /// How its mail can be answered.
    pub replies: RepliesAs,
    /// Refuses from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// Refuses after so many.
    pub max_messages: Option<i32>,
    /// Accepted so far.
    pub message_count: i32,
}

/// Why an alias that is there takes no mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNot {
    /// Its owner paused it.
    Paused,
    /// Its time is over.
    Expired,
    /// It has taken as many messages as it may.
    UsedUp,
}

impl AliasFacts {
    /// Whether it takes mail at `now`; an accepting transaction asks [`super::count_message`] besides.
    ///
    /// # Errors
    /// Why not.
    pub fn takes_mail(&self, now: DateTime<Utc>) -> std::result::Result<(), WhyNot> {
        if self.state == AliasState::Paused {
            Err(WhyNot::Paused)
        } else if self.expires_at.is_some_and(|until| until <= now) {
            Err(WhyNot::Expired)
        } else if self.max_messages.is_some_and(|most| self.message_count >= most) {
            Err(WhyNot::UsedUp)
        } else {
            Ok(())
        }
    }
}

/// Who takes mail for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// No organization has verified this domain.
    NotHosted,
    /// The domain is known, the address is nobody's, or its alias was deleted.
    NoAlias {
        /// The domain.
        domain: HostedDomain,
    },
    /// An alias, which may refuse: see [`AliasFacts::takes_mail`].
    Alias {
        /// The domain.
        domain: HostedDomain,
        /// The alias.
        alias: AliasFacts,
        /// Where its mail goes, in order.
        destinations: Vec<Target>,
    },
    /// The domain's catch-all.
    CatchAll {
        /// The domain.
        domain: HostedDomain,
        /// Where its mail goes, in order; at least one.
        destinations: Vec<Target>,
    },
    /// `postmaster` or `abuse`, which no alias takes: the organization's oldest owner.
    Owner {
        /// The domain.
        domain: HostedDomain,
        /// The owner's e-mail address.
        address: String,
    },
}

/// Who takes mail for `local_part@domain`, both folded. Looked for in this order: the plain alias; the plain alias without `+tag`, where the
/// domain has subaddressing; the longest pattern that matches; the organization's owner for `postmaster` and `abuse` (also when their
/// alias is paused, expired, used up or deleted); the catch-all. A deleted alias ends the search.
///
/// # Errors
/// When the database is out of reach.
pub async fn resolve(pool: &PgPool, domain: &str, local_part: &str) -> Result<Resolution> {
    let base = local_part.split_once('+').map(|(base, _)| base).filter(|base| !base.is_empty());
    let role = ROLES.contains(&local_part) || base.is_some_and(|base| ROLES.contains(&base));
    // aliases::resolve
    let row = sqlx::query!(
        r#"select d.id as "domain_id: DomainId", d.organization_id as "organization: OrganizationId", d.name, d.subaddressing, d.paused_reply,
                  d.dmarc_fail as "dmarc_fail: DmarcFailure", now() as "now!",
                  a.id as "alias_id?: AliasId", a.local_part as "local_part?", a.pattern as "pattern?", a.state as "state?: AliasState",
                  a.replies as "replies?: RepliesAs", a.expires_at as "expires_at?", a.max_messages as "max_messages?",
                  a.message_count as "message_count?", a.deleted_at is not null as "deleted!",
                  (select coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'kind', t.kind, 'address', t.address,
                                                                'verified', t.verified_at is not null) order by l.position), '[]')
                   from (select destination_id, position from alias_destination where alias_id = a.id
                         union all
                         select destination_id, position from catch_all_destination where a.id is null and domain_id = d.id) l
                   join destination t on t.id = l.destination_id) as "destinations!: Json<Vec<TargetRow>>",
                  case when $4 then (
                    select u.email from membership m join app_user u on u.id = m.user_id
                    where m.organization_id = d.organization_id and m.role = 'owner' order by m.created_at, u.id limit 1) end as owner
           from domain d
           left join lateral (
             select * from (
               select 0 as rank, p.* from alias p where p.domain_id = d.id and p.local_part = $2 and not p.pattern
               union all
               select 1, p.* from alias p where d.subaddressing and p.domain_id = d.id and p.local_part = $3 and not p.pattern
               union all
               (select 2, p.* from alias p
                cross join lateral (select replace(replace(replace(replace(p.local_part, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')) l (pattern)
                where p.domain_id = d.id and p.pattern and p.deleted_at is null
                  and ($2 like l.pattern or (d.subaddressing and $3 like l.pattern))
                order by length(p.local_part) desc, p.id limit 1)
             ) found order by rank limit 1
           ) a on true
           where d.name = $1 and d.verified_at is not null"#,
        domain,
        local_part,
        base,
        role
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(Resolution::NotHosted) };
    let domain = HostedDomain {
        id: row.domain_id,
        organization: row.organization,
        name: row.name,
        subaddressing: row.subaddressing,
        paused_reply: row.paused_reply,
        dmarc_fail: row.dmarc_fail,
    };
    let destinations = targets(row.destinations);
    let alias = match (row.alias_id, row.local_part, row.state, row.replies) {
        (Some(id), Some(local_part), Some(state), Some(replies)) => Some(AliasFacts {
            id,
            local_part,
            pattern: row.pattern.unwrap_or_default(),
            state,
            replies,
            expires_at: row.expires_at,
            max_messages: row.max_messages,
            message_count: row.message_count.unwrap_or_default(),
        }),
        _ => None,
    };
    let known = alias.is_some();
    let living = alias.filter(|alias| !row.deleted && (row.owner.is_none() || alias.takes_mail(row.now).is_ok()));
    Ok(match (living, row.owner) {
        (Some(alias), _) => Resolution::Alias {
            domain,
            alias,
            destinations,
        },
        (None, Some(address)) => Resolution::Owner { domain, address },
        (None, None) if known || destinations.is_empty() => Resolution::NoAlias { domain },
        (None, None) => Resolution::CatchAll { domain, destinations },
    })
}
