//! Acceptance, claims, outcomes and leases on a real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test")]

use chrono::{DateTime, Duration, Utc};
use sqlx::PgPool;
use std::time::Duration as Wait;
use store::{
    acceptance::{self, Committer, NewDelivery, NewIdempotency, NewMessage, Previous, Stored},
    bounces::{self, Finding, FindingKind, Known},
    ids::{MessageId, OrganizationId},
    incarnations,
    lanes::{self, LaneKey},
    models::{AttemptOutcome, DeliveryStatus, Direction, RecipientKind, Via},
    operator,
    queue::{self, AttemptRecord, Claimed, Finish, Outcome, Want},
    reports,
};
use uuid::Uuid;

async fn organization(pool: &PgPool) -> OrganizationId {
    let id = OrganizationId::generate();
    sqlx::query("insert into organization (id, name) values ($1, 'test')")
        .bind(id.0)
        .execute(pool)
        .await
        .unwrap();
    id
}

async fn lane(pool: &PgPool, organization: OrganizationId, destination: &str) -> i64 {
    let key = LaneKey {
        organization,
        stream: "transactional".into(),
        destination: destination.into(),
    };
    lanes::resolve(pool, &[key]).await.unwrap()[0]
}

fn message(organization: OrganizationId, lane: i64, recipients: &[&str]) -> NewMessage {
    NewMessage {
        id: MessageId::generate(),
        organization,
        direction: Direction::Outbound,
        via: Via::Smtp,
        credential: None,
        domain: None,
        parent: None,
        envelope_sender: "app@sender.test".into(),
        header_from: "app@sender.test".into(),
        subject: "hello".into(),
        message_id_header: "<1@sender.test>".into(),
        eight_bit: false,
        smtputf8: false,
        stream: "transactional".into(),
        tags: vec!["a".into(), "b".into()],
        metadata: serde_json::json!({"order": 17}),
        dsn_envid: None,
        dsn_headers_only: false,
        trace_context: None,
        scheduled_at: None,
        expires_at: Utc::now() + Duration::days(5),
        raw: b"Subject: hello\r\n\r\nbody\r\n".to_vec(),
        deliveries: recipients
            .iter()
            .map(|address| NewDelivery {
                recipient: (*address).into(),
                recipient_folded: address.to_lowercase(),
                kind: RecipientKind::Envelope,
                destination: 0,
                lane,
                dsn_notify: None,
                dsn_orcpt: None,
                forward_to: None,
                decided: None,
            })
            .collect(),
        idempotency: None,
        inbound: acceptance::InboundFacts::default(),
    }
}

async fn accept(pool: &PgPool, message: &NewMessage) -> Stored {
    Committer::new(pool.clone()).commit(std::slice::from_ref(message)).await.remove(0)
}

async fn claim(pool: &PgPool, worker: Uuid, lane: i64, room: i32) -> Vec<Claimed> {
    let mut connection = queue::batch_connection(pool).await.unwrap();
    let want = Want {
        lane,
        room,
        since: DateTime::UNIX_EPOCH,
    };
    queue::claim(&mut connection, worker, &[want]).await.unwrap()
}

fn outcome(claimed: &Claimed, finish: Finish) -> Outcome {
    Outcome {
        message: claimed.message,
        number: claimed.number,
        token: claimed.token,
        finish,
        enhanced_code: Some("5.1.1".into()),
        reason: Some("550 5.1.1 no such user".into()),
        suppress: false,
        report: false,
    }
}

async fn finish(pool: &PgPool, outcomes: &[Outcome]) -> queue::Written {
    let mut connection = queue::batch_connection(pool).await.unwrap();
    queue::finish(&mut connection, outcomes, &[]).await.unwrap()
}

async fn statuses(pool: &PgPool, message: MessageId) -> Vec<(String, i32)> {
    sqlx::query_as("select status::text, attempts from delivery where message_id = $1 order by number")
        .bind(message.0)
        .fetch_all(pool)
        .await
        .unwrap()
}

async fn events(pool: &PgPool, message: MessageId) -> Vec<String> {
    sqlx::query_scalar("select type from event where message_id = $1 order by id")
        .bind(message.0)
        .fetch_all(pool)
        .await
        .unwrap()
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_accepted_message_is_stored_whole_and_can_be_claimed(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    let message = message(organization, lane, &["ann@rcpt.test", "Bob@rcpt.test"]);
    assert_eq!(accept(&pool, &message).await, Stored::Committed { suppressed: vec![] });
    assert_eq!(statuses(&pool, message.id).await, [("queued".into(), 0), ("queued".into(), 0)]);
    assert_eq!(events(&pool, message.id).await, ["message.queued"]);
    let tags: Vec<String> = sqlx::query_scalar("select unnest(tags) from message where id = $1")
        .bind(message.id.0)
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(tags, ["a", "b"]);
    let claimed = claim(&pool, Uuid::now_v7(), lane, 10).await;
    assert_eq!(
        claimed.iter().map(|c| (c.recipient.as_str(), c.attempts)).collect::<Vec<_>>(),
        [("ann@rcpt.test", 1), ("Bob@rcpt.test", 1)]
    );
    assert_eq!(
        queue::bodies(&pool, &[message.id]).await.unwrap(),
        [(message.id, message.raw.clone())]
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_suppressed_recipient_is_final_at_once_and_the_others_are_queued(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    sqlx::query("insert into suppression (id, organization_id, address, reason) values (new_uuid(), $1, 'bob@rcpt.test', 'manual')")
        .bind(organization.0)
        .execute(&pool)
        .await
        .unwrap();
    let message = message(organization, lane, &["ann@rcpt.test", "Bob@rcpt.test"]);
    assert_eq!(accept(&pool, &message).await, Stored::Committed { suppressed: vec![1] });
    assert_eq!(statuses(&pool, message.id).await, [("queued".into(), 0), ("suppressed".into(), 0)]);
    assert_eq!(claim(&pool, Uuid::now_v7(), lane, 10).await.len(), 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn bad_data_in_one_message_of_a_batch_refuses_only_that_one(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    let mut batch: Vec<_> = (0..5).map(|n| message(organization, lane, &[&format!("r{n}@rcpt.test")])).collect();
    batch[3].subject = "NUL \0 is no text for PostgreSQL".into();
    let stored = Committer::new(pool.clone()).commit(&batch).await;
    for (n, stored) in stored.iter().enumerate() {
        let want = if n == 3 {
            Stored::Refused
        } else {
            Stored::Committed { suppressed: vec![] }
        };
        assert_eq!(*stored, want, "{n}");
    }
    assert_eq!(claim(&pool, Uuid::now_v7(), lane, 10).await.len(), 4);
}

#[sqlx::test(migrations = "../../migrations")]
async fn one_idempotency_key_makes_one_message_also_within_one_batch(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    let keyed = |hash: u8| {
        let mut message = message(organization, lane, &["once@rcpt.test"]);
        message.idempotency = Some(NewIdempotency {
            route: "POST /messages".into(),
            key: "order-17".into(),
            request_hash: vec![hash; 32],
        });
        message
    };
    let batch = [keyed(1), keyed(1)];
    let stored = Committer::new(pool.clone()).commit(&batch).await;
    assert_eq!(stored.iter().filter(|stored| matches!(stored, Stored::Committed { .. })).count(), 1);
    assert_eq!(stored.iter().filter(|stored| **stored == Stored::KeyTaken).count(), 1);
    assert_eq!(accept(&pool, &keyed(1)).await, Stored::KeyTaken);
    let first = batch
        .iter()
        .zip(&stored)
        .find(|(_, stored)| matches!(stored, Stored::Committed { .. }))
        .unwrap()
        .0;
    let key = first.idempotency.clone().unwrap();
    assert_eq!(
        acceptance::previous(&pool, organization, &key).await.unwrap(),
        Previous::Answered {
            message: first.id,
            recipients: vec![("once@rcpt.test".into(), DeliveryStatus::Queued)]
        }
    );
    let other = NewIdempotency {
        request_hash: vec![2; 32],
        ..key
    };
    assert_eq!(
        acceptance::previous(&pool, organization, &other).await.unwrap(),
        Previous::OtherRequest
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn two_workers_never_claim_the_same_delivery(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    let batch: Vec<_> = (0..200)
        .map(|n| message(organization, lane, &[&format!("r{n}@rcpt.test")]))
        .collect();
    Committer::new(pool.clone()).commit(&batch).await;
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(4));
    let claims = (0..4).map(|_| {
        let (pool, barrier) = (pool.clone(), barrier.clone());
        tokio::spawn(async move {
            let worker = Uuid::now_v7();
            barrier.wait().await;
            let mut mine = Vec::new();
            while let claimed @ [_, ..] = claim(&pool, worker, lane, 7).await.as_slice() {
                mine.extend(claimed.iter().map(|c| c.message));
            }
            mine
        })
    });
    let mut all = Vec::new();
    for task in claims.collect::<Vec<_>>() {
        all.extend(task.await.unwrap());
    }
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (200, 200));
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_outcome_finishes_retries_or_releases_a_delivery_with_its_events(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    let message = message(
        organization,
        lane,
        &["ok@rcpt.test", "later@rcpt.test", "never@rcpt.test", "untried@rcpt.test"],
    );
    accept(&pool, &message).await;
    let claimed = claim(&pool, Uuid::now_v7(), lane, 10).await;
    let ends = [
        Finish::Over(DeliveryStatus::Delivered),
        Finish::Retry(Wait::from_secs(60)),
        Finish::Over(DeliveryStatus::Bounced),
        Finish::Release(Wait::ZERO),
    ];
    let mut outcomes: Vec<_> = claimed.iter().zip(ends).map(|(claimed, end)| outcome(claimed, end)).collect();
    outcomes[2].suppress = true;
    outcomes[2].report = true;
    assert_eq!(finish(&pool, &outcomes).await, queue::Written { written: 4, fenced: 0 });
    assert_eq!(
        statuses(&pool, message.id).await,
        [
            ("delivered".into(), 1),
            ("deferred".into(), 1),
            ("bounced".into(), 1),
            ("queued".into(), 0)
        ]
    );
    let mut kinds = events(&pool, message.id).await;
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "message.bounced",
            "message.deferred",
            "message.delivered",
            "message.queued",
            "suppression.created"
        ]
    );
    let again = claim(&pool, Uuid::now_v7(), lane, 10).await;
    assert_eq!(
        again.iter().map(|c| (c.recipient.as_str(), c.attempts)).collect::<Vec<_>>(),
        [("untried@rcpt.test", 1)]
    );
    let suppressed: Vec<String> = sqlx::query_scalar("select address from suppression")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(suppressed, ["never@rcpt.test"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_outcome_that_comes_after_its_claim_was_lost_is_not_written(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    let message = message(organization, lane, &["ann@rcpt.test"]);
    accept(&pool, &message).await;
    let (slow, quick) = (Uuid::now_v7(), Uuid::now_v7());
    incarnations::start(&pool, slow, "here").await.unwrap();
    let late = claim(&pool, slow, lane, 1).await;
    assert_eq!(incarnations::bury(&pool, 0.0, 5).await.unwrap(), 1);
    assert!(!incarnations::renew(&pool, slow).await.unwrap(), "a buried worker must learn of it");
    let second = claim(&pool, quick, lane, 1).await;
    assert_eq!(second[0].attempts, 2);
    let fenced = finish(&pool, &[outcome(&late[0], Finish::Over(DeliveryStatus::Bounced))]).await;
    assert_eq!(fenced, queue::Written { written: 0, fenced: 1 });
    assert_eq!(statuses(&pool, message.id).await, [("deferred".into(), 1)]);
    assert_eq!(
        finish(&pool, &[outcome(&second[0], Finish::Over(DeliveryStatus::Delivered))])
            .await
            .written,
        1
    );
    assert_eq!(statuses(&pool, message.id).await, [("delivered".into(), 2)]);
    let doubts: Vec<String> = sqlx::query_scalar("select outcome::text from attempt where message_id = $1")
        .bind(message.id.0)
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(doubts, ["in_doubt"], "the lost attempt is on record");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_living_workers_claims_stay_and_a_dead_ones_come_back(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    let batch: Vec<_> = (0..2).map(|n| message(organization, lane, &[&format!("r{n}@rcpt.test")])).collect();
    Committer::new(pool.clone()).commit(&batch).await;
    let (living, dead) = (Uuid::now_v7(), Uuid::now_v7());
    for worker in [living, dead] {
        incarnations::start(&pool, worker, "here").await.unwrap();
        assert_eq!(claim(&pool, worker, lane, 1).await.len(), 1);
    }
    sqlx::query("update worker_incarnation set renewed_at = now() - interval '21 seconds' where id = $1")
        .bind(dead)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(incarnations::bury(&pool, incarnations::DEAD_AFTER_SECONDS, 5).await.unwrap(), 1);
    let left: Vec<Uuid> = sqlx::query_scalar("select worker_id from queue where worker_id is not null")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(left, [living]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_delivery_on_which_worker_after_worker_ends_is_set_aside_and_others_flow(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    let message = message(organization, lane, &["poison@rcpt.test"]);
    accept(&pool, &message).await;
    for _ in 0..5 {
        let worker = Uuid::now_v7();
        incarnations::start(&pool, worker, "here").await.unwrap();
        assert_eq!(claim(&pool, worker, lane, 1).await.len(), 1);
        incarnations::bury(&pool, 0.0, 5).await.unwrap();
    }
    assert_eq!(statuses(&pool, message.id).await, [("quarantined".into(), 5)]);
    assert!(claim(&pool, Uuid::now_v7(), lane, 1).await.is_empty());
    assert!(events(&pool, message.id).await.contains(&"message.quarantined".to_owned()));
}

#[sqlx::test(migrations = "../../migrations")]
async fn discovery_names_each_lane_once_with_its_earliest_unclaimed_delivery(pool: PgPool) {
    let organization = organization(&pool).await;
    let (first, second, third) = (
        lane(&pool, organization, "a.test").await,
        lane(&pool, organization, "b.test").await,
        lane(&pool, organization, "c.test").await,
    );
    let mut later = message(organization, second, &["x@b.test"]);
    later.scheduled_at = Some(Utc::now() + Duration::hours(1));
    let batch = [
        message(organization, first, &["x@a.test"]),
        message(organization, first, &["y@a.test"]),
        later,
        message(organization, third, &["z@c.test"]),
    ];
    Committer::new(pool.clone()).commit(&batch).await;
    claim(&pool, Uuid::now_v7(), third, 5).await;
    let due = lanes::due(&pool).await.unwrap();
    assert_eq!(
        due.iter()
            .map(|lane| (lane.id, lane.due_at.unwrap() > Utc::now()))
            .collect::<Vec<_>>(),
        [(first, false), (second, true)]
    );
    assert_eq!(statuses(&pool, batch[2].id).await[0].0, "scheduled");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_bounce_changes_a_delivery_once_and_its_return_path_is_then_settled(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    let message = message(organization, lane, &["ann@rcpt.test"]);
    accept(&pool, &message).await;
    let claimed = claim(&pool, Uuid::now_v7(), lane, 1).await;
    assert_eq!(
        bounces::standing(&pool, message.id, 0).await.unwrap(),
        Known::Busy,
        "its outcome is not written yet"
    );
    finish(&pool, &[outcome(&claimed[0], Finish::Over(DeliveryStatus::Delivered))]).await;
    assert_eq!(bounces::standing(&pool, message.id, 0).await.unwrap(), Known::Open);
    assert_eq!(bounces::standing(&pool, message.id, 9).await.unwrap(), Known::Unknown);
    let finding = Finding {
        recipients: vec!["somebody@else.test".into()],
        kind: FindingKind::Failure,
        enhanced_code: Some("5.1.1".into()),
        reason: Some("550 no such user".into()),
        suppress: true,
    };
    assert_eq!(
        bounces::record(&pool, message.id, 0, std::slice::from_ref(&finding)).await.unwrap(),
        1
    );
    assert_eq!(bounces::record(&pool, message.id, 0, &[finding]).await.unwrap(), 0);
    assert_eq!(bounces::standing(&pool, message.id, 0).await.unwrap(), Known::Settled);
    assert_eq!(statuses(&pool, message.id).await[0].0, "bounced");
    assert_eq!(reports::ready(&pool, 10).await.unwrap(), [(organization, message.id)]);
    let mut transaction = pool.begin().await.unwrap();
    let owed = reports::take(&mut transaction, organization, message.id).await.unwrap().unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((owed.envelope_sender.as_str(), owed.failures.len()), ("app@sender.test", 1));
    assert!(reports::ready(&pool, 10).await.unwrap().is_empty(), "one report per failure");
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_same_attempt_written_twice_stands_once(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    let message = message(organization, lane, &["ann@rcpt.test"]);
    accept(&pool, &message).await;
    let claimed = claim(&pool, Uuid::now_v7(), lane, 1).await;
    let attempt = AttemptRecord {
        message: message.id,
        id: store::ids::AttemptId::generate(),
        organization,
        started_at: Utc::now(),
        duration: Wait::from_millis(12),
        host: Some("mx.rcpt.test".into()),
        address: None,
        tls: None,
        outcome: AttemptOutcome::Delivered,
        code: Some(250),
        enhanced_code: None,
        response: Some("250 ok".into()),
        recipients: vec!["ann@rcpt.test".into()],
        transcript: "S: 250 ok".into(),
    };
    let mut connection = queue::batch_connection(&pool).await.unwrap();
    let outcomes = [outcome(&claimed[0], Finish::Over(DeliveryStatus::Delivered))];
    for written in [1, 0] {
        assert_eq!(
            queue::finish(&mut connection, &outcomes, std::slice::from_ref(&attempt))
                .await
                .unwrap()
                .written,
            written
        );
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from attempt").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_month_past_every_retention_is_dropped_unless_something_in_it_is_unfinished(pool: PgPool) {
    let organization = organization(&pool).await;
    sqlx::query("update organization set history_retention = interval '14 days'")
        .execute(&pool)
        .await
        .unwrap();
    for (name, from, to) in [("2025m02", "2025-02-01", "2025-03-01"), ("2025m03", "2025-03-01", "2025-04-01")] {
        for parent in ["message", "content", "delivery", "attempt", "event"] {
            let statement = format!(
                "create table {parent}_{name} partition of {parent} for values from (uuid_at('{from}+00')) to (uuid_at('{to}+00'))"
            );
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
        }
    }
    let lane = lane(&pool, organization, "rcpt.test").await;
    sqlx::query("insert into queue (message_id, number, organization_id, lane_id, due_at, expires_at) values (uuid_at('2025-03-12+00'), 0, $1, $2, now(), now())")
        .bind(organization.0)
        .bind(lane)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(store::maintenance::drop_old_partitions(&pool).await.unwrap(), ["2025m02"]);
    let left: Option<String> = sqlx::query_scalar("select to_regclass('message_2025m03')::text")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left.as_deref(), Some("message_2025m03"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_operator_lets_held_mail_go_at_its_own_time_and_names_what_shall_go_before(pool: PgPool) {
    let organization = organization(&pool).await;
    let lane = lane(&pool, organization, "rcpt.test").await;
    let later = Utc::now() + Duration::days(1);
    let mut scheduled = message(organization, lane, &["later@rcpt.test"]);
    scheduled.scheduled_at = Some(later);
    accept(&pool, &scheduled).await;
    let state = async || -> (String, bool) {
        sqlx::query_as("select d.status::text, q.due_at > now() from delivery d join queue q using (message_id, number)")
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    let everything = operator::Selection::default();
    assert_eq!(operator::hold(&pool, everything).await.unwrap().deliveries, 1);
    assert_eq!(state().await, ("held".to_owned(), true));
    assert_eq!(operator::release(&pool, everything).await.unwrap().deliveries, 1);
    assert_eq!(state().await, ("scheduled".to_owned(), true));
    assert_eq!(operator::retry(&pool, everything).await.unwrap().deliveries, 0);
    let named = operator::Selection {
        message: Some(scheduled.id),
        ..everything
    };
    assert_eq!(operator::retry(&pool, named).await.unwrap().deliveries, 1);
    assert_eq!(state().await, ("queued".to_owned(), false));
}
