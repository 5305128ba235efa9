//! Stopping (ASSURANCE P4, P7).

use crate::{peer::Peer, world::World};
use store::PgPool;
use testkit::{
    Sink,
    sink::{Behaviour, Reply},
};

#[sqlx::test(migrations = "../../migrations")]
async fn a_stop_lets_the_running_final_dot_wait_finish_and_gives_the_waiting_ones_back_uncounted(pool: PgPool) {
    // P7
    let peer = Peer::gated(([127, 0, 0, 1], 0).into()).await;
    let world = World::new(pool, peer.address.port(), |config| config.delivery.connections_per_destination = 1).await;
    world.serve("d.test", peer.address.ip());
    let mut messages = Vec::new();
    for number in 0..3 {
        messages.push(world.send(&[&format!("a{number}@d.test")]).await);
    }
    let worker = world.start();
    peer.wait(1).await;
    world
        .until_number("select count(*) from queue where worker_id is not null", 3)
        .await;
    worker.stop.cancel();
    world
        .until_number("select count(*) from queue where worker_id is not null", 1)
        .await;
    peer.gate.add_permits(1);
    worker.ended().await;
    let mut found = Vec::new();
    for message in messages {
        found.extend(world.deliveries(message).await);
    }
    found.sort_by_key(|line| line.contains("queued"));
    assert!(found[0].ends_with(" delivered 2.0.0 1"), "{found:?}");
    assert!(found[1..].iter().all(|line| line.ends_with(" queued - 0")), "{found:?}");
    assert_eq!(
        world
            .number("select count(*) from queue where attempts = 0 and worker_id is null")
            .await,
        2
    );
    assert_eq!(world.number("select count(*) from worker_incarnation").await, 0);
    assert_eq!(peer.messages().len(), 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_stop_does_not_wait_for_a_server_that_has_not_greeted_and_counts_no_attempt(pool: PgPool) {
    // P7: nothing of the message was said
    let silent = Sink::behaving(Behaviour::scripted(|_| Reply::Stall)).await;
    let world = World::new(pool, silent.address.port(), |_| {}).await;
    world.serve("d.test", silent.address.ip());
    let worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    testkit::eventually("a connection", || async { (silent.connections() > 0).then_some(()) }).await;
    worker.stop().await;
    assert_eq!(world.deliveries(message).await, ["a@d.test queued - 0"]);
    assert_eq!(
        world
            .number("select count(*) from queue where attempts = 0 and worker_id is null")
            .await,
        1
    );
    assert_eq!(world.number("select count(*) from attempt").await, 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_attempt_is_booked_and_no_transaction_is_open_while_a_server_thinks(pool: PgPool) {
    // P4
    let peer = Peer::gated(([127, 0, 0, 1], 0).into()).await;
    let world = World::new(pool, peer.address.port(), |_| {}).await;
    world.serve("d.test", peer.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    peer.wait(1).await;
    assert_eq!(
        world
            .number("select count(*) from queue where attempts = 1 and worker_id is not null and token is not null")
            .await,
        1
    );
    world
        .until_number(
            "select count(*) from pg_stat_activity where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()",
            0,
        )
        .await;
    peer.gate.add_permits(1);
    world.until(message, &["a@d.test delivered 2.0.0 1"]).await;
}
