//! Workers that end in the middle, and rows that cannot be used (ASSURANCE P3, P6, F04, F06, F18).

use crate::{peer::Peer, world::World};
use postroad_worker::Deps;
use sqlx::postgres::PgPoolOptions;
use std::sync::Arc;
use store::{PgPool, incarnations, queue};
use testkit::Sink;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A worker on a runtime and a pool of its own, so that everything of it can end between two instructions.
struct Mortal(Option<tokio::runtime::Runtime>);

impl Mortal {
    fn start(world: &World) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (assembly, options) = (world.assembly.clone(), world.pool.connect_options());
        runtime.spawn(async move {
            let pool = PgPoolOptions::new()
                .max_connections(5)
                .connect_lazy_with(Arc::unwrap_or_clone(options));
            let assembly = assembly::Assembly { pool, ..assembly };
            postroad_worker::run(Deps { assembly, alone: true }, CancellationToken::new())
                .await
                .unwrap();
        });
        Self(Some(runtime))
    }

    fn kill(mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A failed assertion must not wait for the worker to end.
impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_delivery_whose_worker_died_is_tried_again_and_the_lost_attempt_is_on_record(pool: PgPool) {
    // P3, P4, F02
    let peer = Peer::gated(([127, 0, 0, 1], 0).into()).await;
    let world = World::new(pool, peer.address.port(), |_| {}).await;
    world.serve("d.test", peer.address.ip());
    let message = world.send(&["a@d.test", "b@d.test"]).await;
    let mortal = Mortal::start(&world);
    peer.wait(1).await;
    mortal.kill();
    peer.gate.add_permits(10);
    let worker = world.start();
    world
        .until(message, &["a@d.test delivered 2.0.0 2", "b@d.test delivered 2.0.0 2"])
        .await;
    let attempts = world.attempts(message).await;
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert_eq!(
        attempts[0],
        "in_doubt the worker ended before the outcome was known a@d.test,b@d.test"
    );
    assert_eq!(
        peer.messages().len(),
        2,
        "one copy more than messages, as the one attempt in doubt says"
    );
    worker.stop().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_message_that_kills_every_worker_is_set_aside_and_the_others_flow(pool: PgPool) {
    // P6
    let poison = Peer::gated(([127, 0, 0, 1], 0).into()).await;
    let sink = Sink::on(([127, 0, 0, 2], poison.address.port()).into(), testkit::sink::Behaviour::default()).await;
    let world = World::new(pool, poison.address.port(), |config| config.delivery.quarantine_after = 3).await;
    world.serve("poison.test", poison.address.ip());
    world.serve("good.test", sink.address.ip());
    let message = world.send(&["a@poison.test"]).await;
    for death in 1..=3 {
        let mortal = Mortal::start(&world);
        poison.wait(death).await;
        mortal.kill();
    }
    let worker = world.start();
    world.until(message, &["a@poison.test quarantined - 3"]).await;
    assert!(world.events(message).await.contains(&"message.quarantined".to_owned()));
    let good = world.send(&["b@good.test"]).await;
    world.until(good, &["b@good.test delivered 2.0.0 1"]).await;
    assert_eq!(world.number("select count(*) from report_owed").await, 0);
    worker.stop().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_worker_taken_for_dead_cannot_write_its_late_outcome(pool: PgPool) {
    // F04: its claim went to somebody else while it was stopped; the other's outcome stands
    let peer = Peer::gated(([127, 0, 0, 1], 0).into()).await;
    let world = World::new(pool, peer.address.port(), |_| {}).await;
    world.serve("d.test", peer.address.ip());
    let message = world.send(&["a@d.test"]).await;
    let worker = world.start();
    peer.wait(1).await;
    let other = Uuid::now_v7();
    assert_eq!(incarnations::bury(&world.pool, 0.0, 5).await.unwrap(), 1);
    sqlx::query("update queue set due_at = now() + interval '1 hour'")
        .execute(&world.pool)
        .await
        .unwrap();
    incarnations::start(&world.pool, other, "other").await.unwrap();
    peer.gate.add_permits(1);
    world.until(message, &["a@d.test deferred - 1"]).await;
    worker.stop().await; // its late outcome has been handed in by now
    assert_eq!(world.deliveries(message).await, ["a@d.test deferred - 1"]);
    assert_eq!(world.number("select count(*) from queue where worker_id is null").await, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_claim_under_the_name_of_a_worker_that_is_not_known_any_more_comes_back(pool: PgPool) {
    // P3, V7: a worker that is taken for dead may claim once more before it learns of it, and then really die
    let sink = Sink::start().await;
    let world = World::new(pool, sink.address.port(), |_| {}).await;
    world.serve("d.test", sink.address.ip());
    let message = world.send(&["a@d.test"]).await;
    let mut connection = queue::batch_connection(&world.pool).await.unwrap();
    let lane = world.number("select lane_id from queue").await;
    let want = queue::Want {
        lane,
        room: 1,
        since: chrono::DateTime::UNIX_EPOCH,
    };
    assert_eq!(queue::claim(&mut connection, Uuid::now_v7(), &[want]).await.unwrap().len(), 1);
    drop(connection);
    sqlx::query("update queue set claimed_at = now() - interval '5 minutes'")
        .execute(&world.pool)
        .await
        .unwrap();
    let _worker = world.start();
    world.until(message, &["a@d.test delivered 2.0.0 2"]).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_outcome_waits_for_a_database_whose_connections_were_cut_and_stands_once(pool: PgPool) {
    // F06, F07
    let peer = Peer::gated(([127, 0, 0, 1], 0).into()).await;
    let world = World::new(pool, peer.address.port(), |_| {}).await;
    world.serve("d.test", peer.address.ip());
    let message = world.send(&["a@d.test"]).await;
    let _worker = world.start();
    peer.wait(1).await;
    let cut =
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    assert!(world.number(cut).await >= 2);
    peer.gate.add_permits(1);
    world.until(message, &["a@d.test delivered 2.0.0 1"]).await;
    let next = world.send(&["b@d.test"]).await;
    peer.gate.add_permits(1);
    world.until(next, &["b@d.test delivered 2.0.0 1"]).await;
    assert_eq!(peer.messages().len(), 2);
}

#[sqlx::test(migrations = "../../migrations")]
async fn rows_that_cannot_be_used_are_set_aside_and_the_others_flow(pool: PgPool) {
    // F18: no body, a recipient that is no address
    let sink = Sink::start().await;
    let world = World::new(pool, sink.address.port(), |_| {}).await;
    world.serve("d.test", sink.address.ip());
    let (bodiless, unreadable, good) = (
        world.send(&["a@d.test"]).await,
        world.send(&["b@d.test"]).await,
        world.send(&["c@d.test"]).await,
    );
    for (statement, message) in [
        ("delete from content where message_id = $1", bodiless),
        ("update delivery set recipient = 'no address' where message_id = $1", unreadable),
    ] {
        sqlx::query(statement).bind(message.0).execute(&world.pool).await.unwrap();
    }
    let _worker = world.start();
    world.until(good, &["c@d.test delivered 2.0.0 1"]).await;
    world.until(bodiless, &["a@d.test quarantined 5.3.0 1"]).await;
    world.until(unreadable, &["no address quarantined 5.3.0 1"]).await;
    assert_eq!(sink.messages().len(), 1);
}
