//! Writing accepted messages: one transaction, one statement, for a whole batch.
//!
//! Promises: a message is stored with its body and *all* its recipients or not at all; [`Committer::commit`] says for each message what
//! became of it, also when the connection is lost during COMMIT ([`Stored::InDoubt`] only when the database cannot be asked in
//! time). It decides nothing about the messages, and takes lanes that exist already (see [`crate::lanes`]).

mod columns;
mod verdict;

use crate::{
    Error, Result,
    ids::{AliasId, DestinationId, DomainId, MessageId, OrganizationId, RuleId},
    models::{DeliveryStatus, Direction, RecipientKind, Via},
};
use chrono::{DateTime, Utc};
use columns::Columns;
use sqlx::{Acquire, PgConnection, PgPool};
use std::collections::HashSet;
use uuid::Uuid;

pub use verdict::CommitVerdict;

/// A message to store. The id is made by the caller, so that the message can be looked up when a COMMIT stays unanswered.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Made by [`MessageId::generate`].
    pub id: MessageId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// Which way it goes.
    pub direction: Direction,
    /// By which door it came.
    pub via: Via,
    /// The SMTP credential or API key that brought it.
    pub credential: Option<Uuid>,
    /// The verified domain it is sent as.
    pub domain: Option<DomainId>,
    /// The message it reports on.
    pub parent: Option<MessageId>,
    /// Empty: the null reverse-path.
    pub envelope_sender: String,
    /// The From field, decoded.
    pub header_from: String,
    /// The Subject field, decoded.
    pub subject: String,
    /// The Message-ID field.
    pub message_id_header: String,
    /// The body holds octets above 127.
    pub eight_bit: bool,
    /// Envelope or header need SMTPUTF8.
    pub smtputf8: bool,
    /// Its stream.
    pub stream: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its metadata, a JSON object.
    pub metadata: serde_json::Value,
    /// RFC 3461 ENVID, decoded.
    pub dsn_envid: Option<String>,
    /// RFC 3461 RET=HDRS.
    pub dsn_headers_only: bool,
    /// W3C traceparent.
    pub trace_context: Option<String>,
    /// Not before then.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Given up after then.
    pub expires_at: DateTime<Utc>,
    /// The raw message as it will leave, CRLF lines.
    pub raw: Vec<u8>,
    /// Its recipients, at least one.
    pub deliveries: Vec<NewDelivery>,
    /// The caller's protection against sending twice.
    pub idempotency: Option<NewIdempotency>,
    /// What is known of a message that came in.
    pub inbound: InboundFacts,
}

/// What is known of a message that came in; all empty for one that was submitted.
#[derive(Debug, Clone, Default)]
pub struct InboundFacts {
    /// The address it came for.
    pub original_recipient: Option<String>,
    /// The alias it came for; its messages are counted with it.
    pub alias: Option<AliasId>,
    /// The rule that decided.
    pub rule: Option<RuleId>,
    /// SPF, DKIM and DMARC, as verified once.
    pub verdicts: Option<serde_json::Value>,
    /// From on the way out, when it must not stay.
    pub rewrite_from: Option<String>,
}

/// One recipient of a [`NewMessage`].
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// As it will be dialled.
    pub recipient: String,
    /// Lower-cased, for look-ups and suppression.
    pub recipient_folded: String,
    /// How it was named.
    pub kind: RecipientKind,
    /// The same number for recipients that share a transaction.
    pub destination: i16,
    /// From [`crate::lanes::resolve`].
    pub lane: i64,
    /// RFC 3461 NOTIFY bits.
    pub dsn_notify: Option<i16>,
    /// RFC 3461 ORCPT, decoded.
    pub dsn_orcpt: Option<String>,
    /// The destination it forwards to.
    pub forward_to: Option<DestinationId>,
    /// Instead of queued: `blocked`, `discarded` and `quarantined` are never queued.
    pub decided: Option<DeliveryStatus>,
}

/// An idempotency key that commits with the message.
#[derive(Debug, Clone)]
pub struct NewIdempotency {
    /// The route it counts for.
    pub route: String,
    /// 1–256 characters.
    pub key: String,
    /// SHA-256 of the request.
    pub request_hash: Vec<u8>,
}

/// What became of one message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Committed. The numbers name the recipients that are suppressed and will not be tried.
    Committed {
        /// Indices into [`NewMessage::deliveries`].
        suppressed: Vec<i32>,
    },
    /// Its idempotency key is taken by an earlier request: nothing was written.
    KeyTaken,
    /// Its own data was refused by the database: nothing was written.
    Refused,
    /// The database was out of reach: nothing was written.
    Unavailable,
    /// The connection was lost during COMMIT and the database did not say in time what became of it.
    InDoubt,
}

/// A connection kept for committing batches, reopened when it breaks.
#[derive(Debug)]
pub struct Committer {
    pool: PgPool,
    connection: Option<sqlx::pool::PoolConnection<sqlx::Postgres>>,
}

/// What one try at a batch came to.
enum Try {
    Done(Vec<Stored>),
    /// Nothing was written; the whole batch may be tried again.
    Again,
    Unavailable,
    /// Some message's data was refused.
    Data,
    /// COMMIT was sent and not answered. The transaction's number, and what it would have been.
    Unanswered(String, Vec<Stored>),
}

impl Committer {
    /// A committer on `pool`, which opens its connection when first used.
    #[must_use]
    pub const fn new(pool: PgPool) -> Self {
        Self { pool, connection: None }
    }

    /// Stores a batch. The answer has one entry per message, in order.
    ///
    /// A serialization failure or a connection found dead before COMMIT is tried again; data that the database refuses bisects
    /// the batch, so that only the message that carries it is refused.
    pub async fn commit(&mut self, batch: &[NewMessage]) -> Vec<Stored> {
        for _ in 0..3 {
            match self.try_batch(batch).await {
                Try::Done(stored) => return stored,
                Try::Again => {}
                Try::Unavailable => break,
                Try::Data if batch.len() == 1 => return vec![Stored::Refused],
                Try::Data => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    let mut stored = Box::pin(self.commit(first)).await;
                    stored.extend(Box::pin(self.commit(second)).await);
                    return stored;
                }
                Try::Unanswered(transaction, stored) => return self.resolve(&transaction, batch, stored).await,
            }
        }
        vec![Stored::Unavailable; batch.len()]
    }

    /// DESIGN §1.1: after a lost COMMIT the same primary is asked what became of the transaction.
    async fn resolve(&self, transaction: &str, batch: &[NewMessage], stored: Vec<Stored>) -> Vec<Stored> {
        metrics::counter!("postroad_commit_unanswered_total").increment(1);
        match verdict::of(&self.pool, transaction, &batch[0]).await {
            CommitVerdict::Committed => stored,
            CommitVerdict::Aborted => vec![Stored::Unavailable; batch.len()],
            CommitVerdict::Unknown => vec![Stored::InDoubt; batch.len()],
        }
    }

    async fn try_batch(&mut self, batch: &[NewMessage]) -> Try {
        let fresh = self.connection.is_none();
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "no connection for a batch of messages");
                return Try::Unavailable;
            }
        };
        let outcome = write(connection, batch).await;
        if matches!(outcome, Try::Done(_) | Try::Data) {
            return outcome;
        }
        self.connection = None;
        match outcome {
            // A kept connection may have died while idle; a fresh one that fails means the database is away.
            Try::Unavailable if !fresh => Try::Again,
            other => other,
        }
    }

    async fn connection(&mut self) -> Result<&mut PgConnection> {
        if self.connection.is_none() {
            let mut connection = self.pool.acquire().await?;
            // The batch statement joins arrays of unknown length: planning it anew each time costs more than running it.
            sqlx::query!("set plan_cache_mode = force_generic_plan")
                .execute(&mut *connection)
                .await?;
            self.connection = Some(connection);
        }
        self.connection.as_deref_mut().ok_or(Error::NotFound)
    }
}

async fn write(connection: &mut PgConnection, batch: &[NewMessage]) -> Try {
    match write_open(connection, batch).await {
        Ok(done) => done,
        Err(error) => classify(&error),
    }
}

async fn write_open(connection: &mut PgConnection, batch: &[NewMessage]) -> std::result::Result<Try, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let taken = taken_keys(&mut transaction, batch).await?;
    let columns = Columns::of(batch.iter().filter(|message| !taken.contains(&message.id)));
    let (number, suppressed) = columns.insert(&mut transaction).await?;
    let stored = batch
        .iter()
        .map(|message| match taken.contains(&message.id) {
            true => Stored::KeyTaken,
            false => Stored::Committed {
                suppressed: suppressed
                    .iter()
                    .filter(|(id, _)| *id == message.id.0)
                    .map(|(_, number)| *number)
                    .collect(),
            },
        })
        .collect::<Vec<_>>();
    record_answers(&mut transaction, batch, &stored).await?;
    match transaction.commit().await {
        Ok(()) => Ok(Try::Done(stored)),
        Err(sqlx::Error::Database(refused)) if !ends_the_connection(refused.code().as_deref()) => {
            Err(sqlx::Error::Database(refused)) // the server answered: it rolled back
        }
        Err(error) => {
            tracing::warn!(%error, transaction = %number, "the connection was lost during COMMIT");
            Ok(Try::Unanswered(number, stored))
        }
    }
}

/// Operator intervention (class 57) or a fault of the server itself (58, XX): said at any moment, also right after a COMMIT that holds.
fn ends_the_connection(code: Option<&str>) -> bool {
    code.is_none_or(|code| ["57", "58", "XX"].iter().any(|class| code.starts_with(class)))
}

fn classify(error: &sqlx::Error) -> Try {
    let code = match error {
        sqlx::Error::Database(refused) => refused.code().unwrap_or_default().into_owned(),
        _ => String::new(),
    };
    match code.as_str() {
        "40001" | "40P01" => Try::Again,
        // 22 data exception, 23 integrity, 54 a limit of the server's such as the size of an index row
        code if ["22", "23", "54"].iter().any(|class| code.starts_with(class)) => {
            tracing::error!(%error, "the database refused a message's data");
            Try::Data
        }
        _ => {
            tracing::warn!(%error, "a batch of messages was not stored");
            Try::Unavailable
        }
    }
}

/// Books the idempotency keys of the batch and gives the messages whose key was taken before.
async fn taken_keys(connection: &mut PgConnection, batch: &[NewMessage]) -> std::result::Result<HashSet<MessageId>, sqlx::Error> {
    let keyed: Vec<_> = batch
        .iter()
        .filter_map(|message| message.idempotency.as_ref().map(|key| (message, key)))
        .collect();
    if keyed.is_empty() {
        return Ok(HashSet::new());
    }
    // acceptance::taken_keys — a conflict with a transaction in flight waits for its end
    let won = sqlx::query_scalar!(
        "insert into idempotency_record (organization_id, route, key, request_hash, message_id)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::uuid[])
         on conflict do nothing
         returning message_id",
        &keyed.iter().map(|(message, _)| message.organization.0).collect::<Vec<_>>(),
        &keyed.iter().map(|(_, key)| key.route.clone()).collect::<Vec<_>>(),
        &keyed.iter().map(|(_, key)| key.key.clone()).collect::<Vec<_>>(),
        &keyed.iter().map(|(_, key)| key.request_hash.clone()).collect::<Vec<_>>(),
        &keyed.iter().map(|(message, _)| message.id.0).collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await?;
    let won: HashSet<_> = won.into_iter().flatten().collect();
    Ok(keyed
        .iter()
        .filter(|(message, _)| !won.contains(&message.id.0))
        .map(|(message, _)| message.id)
        .collect())
}

/// Keeps the answer that a repeated request will be given.
async fn record_answers(connection: &mut PgConnection, batch: &[NewMessage], stored: &[Stored]) -> std::result::Result<(), sqlx::Error> {
    let answers: Vec<_> = batch
        .iter()
        .zip(stored)
        .filter_map(|(message, stored)| answer(message, stored))
        .collect();
    if answers.is_empty() {
        return Ok(());
    }
    // acceptance::record_answers
    sqlx::query!(
        "update idempotency_record r set status = 202, response = a.response
         from unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[]) a(organization_id, route, key, response)
         where (r.organization_id, r.route, r.key) = (a.organization_id, a.route, a.key)",
        &answers.iter().map(|a| a.0.0).collect::<Vec<_>>(),
        &answers.iter().map(|a| a.1.route.clone()).collect::<Vec<_>>(),
        &answers.iter().map(|a| a.1.key.clone()).collect::<Vec<_>>(),
        &answers.into_iter().map(|a| a.2).collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn answer<'a>(message: &'a NewMessage, stored: &Stored) -> Option<(OrganizationId, &'a NewIdempotency, serde_json::Value)> {
    let (Some(key), Stored::Committed { suppressed }) = (&message.idempotency, stored) else {
        return None;
    };
    let recipients: Vec<_> = (0..)
        .zip(&message.deliveries)
        .map(|(number, delivery)| {
            let status = if suppressed.contains(&number) {
                DeliveryStatus::Suppressed
            } else {
                message.first_status()
            };
            serde_json::json!({ "address": delivery.recipient, "status": status })
        })
        .collect();
    Some((
        message.organization,
        key,
        serde_json::json!({ "id": message.id, "recipients": recipients }),
    ))
}

impl NewMessage {
    /// The status its recipients start with.
    #[must_use]
    pub const fn first_status(&self) -> DeliveryStatus {
        if self.scheduled_at.is_some() {
            DeliveryStatus::Scheduled
        } else {
            DeliveryStatus::Queued
        }
    }
}

/// What an idempotency key was used for before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Previous {
    /// A request that was not the same.
    OtherRequest,
    /// The same request, which is not answered yet.
    Running,
    /// The same request, answered with this message.
    Answered {
        /// The message it made.
        message: MessageId,
        /// Its recipients with the status they started with.
        recipients: Vec<(String, DeliveryStatus)>,
    },
}

#[derive(serde::Deserialize)]
struct StoredAnswer {
    recipients: Vec<StoredRecipient>,
}

#[derive(serde::Deserialize)]
struct StoredRecipient {
    address: String,
    status: DeliveryStatus,
}

/// What became of the first request with this key.
///
/// # Errors
/// When the database is out of reach.
pub async fn previous(pool: &PgPool, organization: OrganizationId, key: &NewIdempotency) -> Result<Previous> {
    // acceptance::previous
    let row = sqlx::query!(
        "select request_hash, response, message_id from idempotency_record where (organization_id, route, key) = ($1, $2, $3)",
        organization.0,
        key.route,
        key.key
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(Previous::Running) };
    if row.request_hash != key.request_hash {
        return Ok(Previous::OtherRequest);
    }
    let (Some(response), Some(message)) = (row.response, row.message_id) else {
        return Ok(Previous::Running);
    };
    let answer: StoredAnswer = serde_json::from_value(response).map_err(|error| Error::Other(sqlx::Error::Decode(error.into())))?;
    Ok(Previous::Answered {
        message: MessageId(message),
        recipients: answer
            .recipients
            .into_iter()
            .map(|recipient| (recipient.address, recipient.status))
            .collect(),
    })
}

/// Stores one message inside the caller's transaction: a report goes out in the transaction that takes the debt.
///
/// # Errors
/// When the database is out of reach or refuses the data.
pub async fn insert(connection: &mut PgConnection, message: &NewMessage) -> Result<()> {
    Columns::of(std::iter::once(message)).insert(connection).await?;
    Ok(())
}
