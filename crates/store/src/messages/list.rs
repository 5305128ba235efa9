//! The list of messages, by filters that the caller combines.

use super::{CAPTURE_HOST, Message};
use crate::{
    Result,
    ids::{MessageId, OrganizationId},
    models::{DeliveryStatus, Direction},
};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgExecutor, Postgres, QueryBuilder};
use uuid::Uuid;

/// Ids are made before the row is, on the accepting host's clock: this is how far the two may be apart.
const CLOCK_SLACK: TimeDelta = TimeDelta::hours(1);

/// Which statuses a listed message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    /// At least one recipient stands so.
    Some(DeliveryStatus),
    /// Its recipients do not agree.
    Mixed,
}

/// Which messages a list holds; empty fields leave the choice open.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// Only this direction.
    pub direction: Option<Direction>,
    /// Only with such recipients.
    pub status: Option<StatusFilter>,
    /// The From field or the envelope sender contains this.
    pub from: Option<String>,
    /// A recipient has this folded address.
    pub to: Option<String>,
    /// Has this tag.
    pub tag: Option<String>,
    /// Accepted then or later.
    pub since: Option<DateTime<Utc>>,
    /// Accepted before.
    pub until: Option<DateTime<Utc>>,
    /// Subject, sender or a recipient contains this.
    pub q: Option<String>,
    /// Whether it lies in the built-in mailbox.
    pub captured: Option<bool>,
}

/// Up to `limit` messages, the newest first, older than `after`.
///
/// # Errors
/// When the database fails; a search that takes longer than a statement may is `Unavailable`.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organization: OrganizationId,
    filter: &MessageFilter,
    after: Option<MessageId>,
    limit: i64,
) -> Result<Vec<Message>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select id, direction, via, domain_id, parent_id, envelope_sender, header_from, subject, message_id_header, size_bytes, stream, \
         tags, metadata, expires_at, created_at from message m where m.organization_id = ",
    );
    query.push_bind(organization.0);
    if let Some(after) = after {
        query.push(" and m.id < ").push_bind(after.0);
    }
    if let Some(direction) = filter.direction {
        query.push(" and m.direction = ").push_bind(direction);
    }
    if let Some(tag) = &filter.tag {
        query.push(" and ").push_bind(tag.clone()).push(" = any(m.tags)");
    }
    times(&mut query, filter);
    recipients(&mut query, organization, filter);
    texts(&mut query, organization, filter);
    query.push(" order by m.id desc limit ").push_bind(limit);
    Ok(query.build_query_as().fetch_all(executor).await?)
}

fn times(query: &mut QueryBuilder<Postgres>, filter: &MessageFilter) {
    if let Some(since) = filter.since {
        query.push(" and m.created_at >= ").push_bind(since);
        query.push(" and m.id >= ").push_bind(smallest_id(since - CLOCK_SLACK));
    }
    if let Some(until) = filter.until {
        query.push(" and m.created_at < ").push_bind(until);
        query.push(" and m.id < ").push_bind(smallest_id(until + CLOCK_SLACK));
    }
}

fn recipients(query: &mut QueryBuilder<Postgres>, organization: OrganizationId, filter: &MessageFilter) {
    match filter.status {
        Some(StatusFilter::Some(status)) => {
            query
                .push(" and exists (select from delivery d where d.message_id = m.id and d.status = ")
                .push_bind(status)
                .push(")");
        }
        Some(StatusFilter::Mixed) => {
            query.push(" and (select count(distinct d.status) from delivery d where d.message_id = m.id) > 1");
        }
        None => {}
    }
    if let Some(to) = &filter.to {
        query.push(" and m.id in (select d.message_id from delivery d where d.organization_id = ");
        query
            .push_bind(organization.0)
            .push(" and d.recipient_folded = ")
            .push_bind(to.clone())
            .push(")");
    }
    if let Some(captured) = filter.captured {
        query.push(if captured { " and" } else { " and not" });
        query
            .push(" exists (select from attempt a where a.message_id = m.id and a.outcome = 'delivered' and a.host = ")
            .push_bind(CAPTURE_HOST)
            .push(")");
    }
}

fn texts(query: &mut QueryBuilder<Postgres>, organization: OrganizationId, filter: &MessageFilter) {
    let contains = |query: &mut QueryBuilder<Postgres>, column: &'static str, part: &str| {
        query
            .push("position(lower(")
            .push_bind(part.to_owned())
            .push(") in lower(")
            .push(column)
            .push(")) > 0");
    };
    if let Some(from) = &filter.from {
        query.push(" and (");
        contains(query, "m.header_from", from);
        query.push(" or ");
        contains(query, "m.envelope_sender", from);
        query.push(")");
    }
    if let Some(part) = &filter.q {
        query.push(" and (");
        for column in ["m.subject", "m.header_from", "m.envelope_sender"] {
            contains(query, column, part);
            query.push(" or ");
        }
        query.push("exists (select from delivery d where d.message_id = m.id and d.organization_id = ");
        query.push_bind(organization.0).push(" and ");
        contains(query, "d.recipient_folded", part);
        query.push("))");
    }
}

/// The smallest UUIDv7 of that millisecond. Spares the partitions that cannot hold anything wanted.
fn smallest_id(at: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(u128::from(millis & 0xffff_ffff_ffff) << 80)
}
