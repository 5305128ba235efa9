//! A batch of messages as columns, and the one statement that inserts them.

use super::NewMessage;
use crate::models::DeliveryStatus;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// Separates tags within one array element: no tag may hold a control character.
const TAG_SEPARATOR: &str = "\u{1f}";

/// One vector per column, because one statement with arrays is far cheaper than a statement per row.
#[derive(Default)]
pub(super) struct Columns<'a> {
    id: Vec<Uuid>,
    organization: Vec<Uuid>,
    direction: Vec<&'static str>,
    via: Vec<&'static str>,
    credential: Vec<Option<Uuid>>,
    domain: Vec<Option<Uuid>>,
    parent: Vec<Option<Uuid>>,
    envelope_sender: Vec<&'a str>,
    header_from: Vec<&'a str>,
    subject: Vec<&'a str>,
    message_id_header: Vec<&'a str>,
    eight_bit: Vec<bool>,
    smtputf8: Vec<bool>,
    stream: Vec<&'a str>,
    tags: Vec<String>,
    metadata: Vec<serde_json::Value>,
    dsn_envid: Vec<Option<&'a str>>,
    dsn_headers_only: Vec<bool>,
    trace_context: Vec<Option<&'a str>>,
    scheduled_at: Vec<Option<DateTime<Utc>>>,
    expires_at: Vec<DateTime<Utc>>,
    event: Vec<Uuid>,
    raw: Vec<&'a [u8]>,
    original_recipient: Vec<Option<&'a str>>,
    alias: Vec<Option<Uuid>>,
    rule: Vec<Option<Uuid>>,
    verdicts: Vec<Option<&'a serde_json::Value>>,
    rewrite_from: Vec<Option<&'a str>>,
    delivery: DeliveryColumns<'a>,
}

#[derive(Default)]
struct DeliveryColumns<'a> {
    message: Vec<Uuid>,
    message_index: Vec<i32>,
    number: Vec<i32>,
    recipient: Vec<&'a str>,
    folded: Vec<&'a str>,
    kind: Vec<&'static str>,
    destination: Vec<i16>,
    lane: Vec<i64>,
    notify: Vec<Option<i16>>,
    original: Vec<Option<&'a str>>,
    forward_to: Vec<Option<Uuid>>,
    decided: Vec<Option<&'static str>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(messages: impl Iterator<Item = &'a NewMessage>) -> Self {
        let mut columns = Self::default();
        for message in messages {
            columns.push(message);
        }
        columns
    }

    fn push(&mut self, message: &'a NewMessage) {
        let index = i32::try_from(self.id.len() + 1).unwrap_or(i32::MAX);
        self.id.push(message.id.0);
        self.organization.push(message.organization.0);
        self.direction.push(message.direction.as_str());
        self.via.push(message.via.as_str());
        self.credential.push(message.credential);
        self.domain.push(message.domain.map(|domain| domain.0));
        self.parent.push(message.parent.map(|parent| parent.0));
        self.envelope_sender.push(&message.envelope_sender);
        self.header_from.push(&message.header_from);
        self.subject.push(&message.subject);
        self.message_id_header.push(&message.message_id_header);
        self.eight_bit.push(message.eight_bit);
        self.smtputf8.push(message.smtputf8);
        self.stream.push(&message.stream);
        self.tags.push(message.tags.join(TAG_SEPARATOR));
        self.metadata.push(message.metadata.clone());
        self.dsn_envid.push(message.dsn_envid.as_deref());
        self.dsn_headers_only.push(message.dsn_headers_only);
        self.trace_context.push(message.trace_context.as_deref());
        self.scheduled_at.push(message.scheduled_at);
        self.expires_at.push(message.expires_at);
        self.event.push(Uuid::now_v7());
        self.raw.push(&message.raw);
        let inbound = &message.inbound;
        self.original_recipient.push(inbound.original_recipient.as_deref());
        self.alias.push(inbound.alias.map(|alias| alias.0));
        self.rule.push(inbound.rule.map(|rule| rule.0));
        self.verdicts.push(inbound.verdicts.as_ref());
        self.rewrite_from.push(inbound.rewrite_from.as_deref());
        for (number, delivery) in (0..).zip(&message.deliveries) {
            let columns = &mut self.delivery;
            columns.message.push(message.id.0);
            columns.message_index.push(index);
            columns.number.push(number);
            columns.recipient.push(&delivery.recipient);
            columns.folded.push(&delivery.recipient_folded);
            columns.kind.push(delivery.kind.as_str());
            columns.destination.push(delivery.destination);
            columns.lane.push(delivery.lane);
            columns.notify.push(delivery.dsn_notify);
            columns.original.push(delivery.dsn_orcpt.as_deref());
            columns.forward_to.push(delivery.forward_to.map(|destination| destination.0));
            columns.decided.push(delivery.decided.map(DeliveryStatus::as_str));
        }
    }

    /// Inserts everything. Gives the transaction's number and the suppressed recipients.
    pub(super) async fn insert(&self, connection: &mut PgConnection) -> Result<(String, Vec<(Uuid, i32)>), sqlx::Error> {
        let d = &self.delivery;
        // acceptance::insert — every table of a message in one round trip. Rows of suppressed recipients are final at once.
        let rows = sqlx::query!(
            r#"with incoming as (
                 select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::uuid[], $8::text[], $9::text[],
                     $10::text[], $11::text[], $12::bool[], $13::bool[], $14::text[], $15::text[], $16::jsonb[], $17::text[], $18::bool[], $19::text[],
                     $20::timestamptz[], $21::timestamptz[], $22::uuid[], $23::bytea[], $34::text[], $35::uuid[], $36::uuid[], $37::jsonb[], $38::text[])
                   as m(id, organization_id, direction, via, credential_id, domain_id, parent_id, envelope_sender, header_from,
                     subject, message_id_header, eight_bit, smtputf8, stream, tags, metadata, dsn_envid, dsn_headers_only, trace_context,
                     scheduled_at, expires_at, event_id, raw, original_recipient, alias_id, rule_id, verdicts, rewrite_from)
             ), message_rows as (
                 insert into message (organization_id, id, direction, via, credential_id, domain_id, parent_id, envelope_sender, header_from, subject,
                     message_id_header, size_bytes, eight_bit, smtputf8, stream, tags, metadata, dsn_envid, dsn_headers_only, trace_context, expires_at,
                     original_recipient, alias_id, rule_id, verdicts, rewrite_from)
                 select organization_id, id, direction::message_direction, via::message_via, credential_id, domain_id, parent_id, envelope_sender,
                     header_from, subject, message_id_header, octet_length(raw), eight_bit, smtputf8, stream, string_to_array(tags, e'\x1f'), metadata,
                     dsn_envid, dsn_headers_only, trace_context, expires_at, original_recipient, alias_id, rule_id, verdicts, rewrite_from
                 from incoming
             ), alias_rows as (
                 update alias a set message_count = a.message_count + n.messages, last_message_at = now()
                 from (select alias_id, count(*)::int as messages from incoming where alias_id is not null group by alias_id order by alias_id) n where a.id = n.alias_id
             ), rule_rows as (
                 update rule r set match_count = r.match_count + n.messages, last_matched_at = now()
                 from (select rule_id, count(*) as messages from incoming where rule_id is not null group by rule_id order by rule_id) n where r.id = n.rule_id
             ), content_rows as (
                 insert into content (message_id, raw) select id, raw from incoming
             ), recipients as materialized (
                 select r.*, (s.address is not null) as suppressed
                 from unnest($24::uuid[], $25::int[], $26::int[], $27::text[], $28::text[], $29::text[], $30::smallint[], $31::bigint[], $32::smallint[], $33::text[],
                     $39::uuid[], $40::text[])
                   as r(message_id, message_index, number, recipient, folded, kind, destination, lane_id, dsn_notify, dsn_orcpt, destination_id, decided)
                 left join suppression s on s.organization_id = ($2::uuid[])[r.message_index] and s.address = r.folded
                   and ($3::text[])[r.message_index] = 'outbound'
             ), delivery_rows as (
                 insert into delivery (message_id, number, organization_id, recipient, recipient_folded, kind, status, destination, dsn_notify, dsn_orcpt, destination_id, finished_at)
                 select message_id, number, ($2::uuid[])[message_index], recipient, folded, kind::recipient_kind,
                     case when suppressed then 'suppressed' when decided is not null then decided when ($20::timestamptz[])[message_index] is not null then 'scheduled' else 'queued' end::delivery_status,
                     destination, dsn_notify, dsn_orcpt, destination_id, case when suppressed or decided is not null then now() end
                 from recipients
             ), queue_rows as (
                 insert into queue (message_id, number, organization_id, lane_id, due_at, expires_at)
                 select message_id, number, ($2::uuid[])[message_index], lane_id, coalesce(($20::timestamptz[])[message_index], now()), ($21::timestamptz[])[message_index]
                 from recipients where not suppressed and decided is null
             ), event_rows as (
                 insert into event (organization_id, id, type, message_id, recipient)
                 select organization_id, event_id, case when direction = 'forward' then 'message.received' when scheduled_at is null then 'message.queued' else 'message.scheduled' end, id, null
                 from incoming
                 union all
                 select ($2::uuid[])[message_index], new_uuid(), 'message.suppressed', message_id, recipient from recipients where suppressed
                 union all
                 select ($2::uuid[])[message_index], new_uuid(), 'message.' || decided, message_id, recipient from recipients where decided is not null
             )
             select pg_current_xact_id()::text as "transaction?", null::uuid as message_id, null::int as number
             union all
             select null, message_id, number from recipients where suppressed"#,
            &self.id,
            &self.organization,
            &self.direction as _,
            &self.via as _,
            &self.credential as _,
            &self.domain as _,
            &self.parent as _,
            &self.envelope_sender as _,
            &self.header_from as _,
            &self.subject as _,
            &self.message_id_header as _,
            &self.eight_bit,
            &self.smtputf8,
            &self.stream as _,
            &self.tags,
            &self.metadata,
            &self.dsn_envid as _,
            &self.dsn_headers_only,
            &self.trace_context as _,
            &self.scheduled_at as _,
            &self.expires_at,
            &self.event,
            &self.raw as _,
            &d.message,
            &d.message_index,
            &d.number,
            &d.recipient as _,
            &d.folded as _,
            &d.kind as _,
            &d.destination,
            &d.lane,
            &d.notify as _,
            &d.original as _,
            &self.original_recipient as _,
            &self.alias as _,
            &self.rule as _,
            &self.verdicts as _,
            &self.rewrite_from as _,
            &d.forward_to as _,
            &d.decided as _,
        )
        .fetch_all(connection)
        .await?;
        let mut transaction = String::new();
        let mut suppressed = Vec::new();
        for row in rows {
            match (row.message_id, row.number) {
                (Some(message), Some(number)) => suppressed.push((message, number)),
                _ => transaction = row.transaction.unwrap_or_default(),
            }
        }
        Ok((transaction, suppressed))
    }
}
