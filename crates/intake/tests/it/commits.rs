//! One COMMIT, many messages, and a database that goes away in between (ASSURANCE P1, P2, P5, F06).

use crate::{
    database_proxy::{DatabaseProxy, Fate},
    world::{COMPLETE, World, settings},
};
use intake::{Idempotency, Refusal};
use std::sync::Arc;
use store::PgPool;

const MESSAGES: &str = "select count(*) from message";

#[sqlx::test(migrations = "../../migrations")]
async fn a_crowd_is_stored_whole_in_far_fewer_transactions(pool: PgPool) {
    // P1. The first commit is held up until a crowd has gathered behind it, so that the outcome does not depend on the machine.
    let mut held_up = pool.begin().await.unwrap();
    sqlx::query("lock table message in exclusive mode")
        .execute(&mut *held_up)
        .await
        .unwrap();
    let world = World::new(pool).await;
    let accepting: Vec<_> = (0..200)
        .map(|_| {
            let (intake, letter) = (Arc::clone(&world.intake), world.letter(COMPLETE));
            tokio::spawn(async move { intake.accept(letter).await.unwrap().message })
        })
        .collect();
    while world.number("select count(*) from pg_locks where not granted").await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    held_up.commit().await.unwrap();
    let mut ids = std::collections::HashSet::new();
    for one in accepting {
        ids.insert(one.await.unwrap());
    }
    assert_eq!(ids.len(), 200);
    assert_eq!(world.number(MESSAGES).await, 200);
    assert_eq!(
        world
            .number("select count(*) from content c join delivery d using (message_id) join queue q using (message_id)")
            .await,
        200
    );
    let transactions = world.number("select count(distinct xmin::text) from message").await;
    assert!(transactions <= 100, "{transactions} transactions for two hundred messages");
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_answer_comes_after_the_commit(pool: PgPool) {
    // P1: another connection sees everything the moment we are answered
    let world = World::new(pool).await;
    for count in 1..=20 {
        world.accept(COMPLETE).await.unwrap();
        assert_eq!(world.number(MESSAGES).await, count);
        assert_eq!(world.number("select count(*) from queue").await, count);
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn while_the_database_is_away_mail_is_refused_for_now_and_afterwards_taken_again(pool: PgPool) {
    // P5, F06
    let proxy = DatabaseProxy::start(&pool).await;
    let world = World::with_door_on(proxy.pool(&pool), pool, settings()).await;
    world.accept(COMPLETE).await.unwrap();
    proxy.shut();
    for who in ["known", "unknown"] {
        let mut letter = world.letter(COMPLETE);
        if who == "unknown" {
            letter.sender.organization = store::ids::OrganizationId::generate(); // nothing is remembered of it
        }
        let refusal = world.intake.accept(letter).await.unwrap_err();
        assert_eq!(refusal, Refusal::Unavailable, "{who}");
        assert!(refusal.is_temporary());
    }
    proxy.reopen();
    testkit::eventually("an open door", || async { world.accept(COMPLETE).await.ok() }).await;
    assert_eq!(world.number(MESSAGES).await, 2);
}

async fn at_commit(pool: PgPool, fate: Fate) -> (World, Result<intake::Accepted, Refusal>) {
    let proxy = DatabaseProxy::start(&pool).await;
    let world = World::with_door_on(proxy.pool(&pool), pool, settings()).await;
    world.accept(COMPLETE).await.unwrap();
    proxy.next_commit(fate);
    let answer = world.accept(COMPLETE).await;
    assert!(proxy.is_spent());
    world.accept(COMPLETE).await.unwrap(); // the door goes on
    (world, answer)
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_commit_whose_answer_is_lost_is_found_to_hold_and_is_not_repeated(pool: PgPool) {
    // P2
    let (world, answer) = at_commit(pool, Fate::CarriedOut).await;
    let message = answer.unwrap().message;
    assert_eq!(world.number(MESSAGES).await, 3);
    assert!(store::messages::content(&world.pool, world.organization, message).await.is_ok());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_commit_answered_by_the_end_of_the_connection_is_found_to_hold(pool: PgPool) {
    // P2, F07: the server says "terminated" after it has committed
    let (world, answer) = at_commit(pool, Fate::CarriedOutAndTerminated).await;
    let message = answer.unwrap().message;
    assert_eq!(world.number(MESSAGES).await, 3);
    assert!(store::messages::content(&world.pool, world.organization, message).await.is_ok());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_commit_that_never_arrived_is_found_not_to_hold_and_refused_for_now(pool: PgPool) {
    // P2
    let (world, answer) = at_commit(pool, Fate::Lost).await;
    assert_eq!(answer, Err(Refusal::Unavailable));
    assert_eq!(world.number(MESSAGES).await, 2);
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_same_request_twice_at_once_makes_one_message(pool: PgPool) {
    let world = World::new(pool).await;
    let keyed = |hash: u8| {
        let mut letter = world.letter(COMPLETE);
        letter.idempotency = Some(Idempotency {
            route: "POST /messages".into(),
            key: "order-17".into(),
            request_hash: [hash; 32],
        });
        letter
    };
    let accepting: Vec<_> = (0..20)
        .map(|_| {
            let (intake, letter) = (Arc::clone(&world.intake), keyed(1));
            tokio::spawn(async move { intake.accept(letter).await })
        })
        .collect();
    let mut first = 0;
    let mut ids = std::collections::HashSet::new();
    for one in accepting {
        let accepted = one.await.unwrap().unwrap();
        first += i32::from(!accepted.replayed);
        ids.insert(accepted.message);
    }
    assert_eq!((first, ids.len(), world.number(MESSAGES).await), (1, 1, 1));
    assert_eq!(world.intake.accept(keyed(2)).await, Err(Refusal::KeyReused));
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_smtp_client_that_repeats_itself_with_the_key_in_the_header_makes_one_message(pool: PgPool) {
    let world = World::new(pool).await;
    let keyed = [b"Postroad-Idempotency-Key: order-18\r\n", COMPLETE].concat();
    let first = world.accept(&keyed).await.unwrap();
    let second = world.accept(&keyed).await.unwrap();
    assert_eq!(
        (first.message, second.message, second.replayed),
        (first.message, first.message, true)
    );
    let other = [keyed.as_slice(), b"more\r\n"].concat();
    assert_eq!(world.accept(&other).await, Err(Refusal::KeyReused));
    assert_eq!(world.number(MESSAGES).await, 1);
    let stored = world.ours_before(first.message, COMPLETE).await;
    assert!(!stored.contains("order-18"), "{stored}");
}
