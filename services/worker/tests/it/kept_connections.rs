//! Connections that carry more than one message, and their end (ASSURANCE S05, S13, S14).

use crate::{
    peer::{Peer, Say, usual},
    world::{World, milliseconds},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use store::PgPool;
use testkit::{
    Sink,
    sink::{Behaviour, Reply},
};

const DELIVERED: &str = "select count(*) from delivery where status = 'delivered'";
const MOST_ATTEMPTS: &str = "select max(attempts)::bigint from delivery";

#[sqlx::test(migrations = "../../migrations")]
async fn one_connection_carries_many_messages_up_to_its_limit(pool: PgPool) {
    let sink = Sink::start().await;
    let world = World::new(pool, sink.address.port(), |config| {
        config.delivery.connections_per_destination = 1;
        config.delivery.messages_per_connection = 5;
        config.delivery.idle_timeout = Duration::from_secs(5);
    })
    .await;
    world.serve("d.test", sink.address.ip());
    for number in 0..10 {
        world.send(&[&format!("a{number}@d.test")]).await;
    }
    let _worker = world.start();
    world.until_number(DELIVERED, 10).await;
    assert_eq!(sink.connections(), 2);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_server_that_says_421_between_messages_costs_the_waiting_ones_no_attempt(pool: PgPool) {
    // S05
    let sink = Sink::behaving(Behaviour::scripted({
        let mails = Arc::new(std::sync::Mutex::new(std::collections::HashMap::<usize, usize>::new()));
        move |moment| {
            if moment.verb != "MAIL" {
                return Reply::Usual;
            }
            let mut mails = mails.lock().unwrap();
            let count = mails.entry(moment.message.connection).or_default();
            *count += 1;
            if *count > 1 {
                Reply::Line("421 4.3.2 enough for one connection".into())
            } else {
                Reply::Usual
            }
        }
    }))
    .await;
    let world = World::new(pool, sink.address.port(), |config| {
        config.delivery.connections_per_destination = 1;
        config.delivery.idle_timeout = Duration::from_secs(5);
    })
    .await;
    world.serve("d.test", sink.address.ip());
    for number in 0..10 {
        world.send(&[&format!("a{number}@d.test")]).await;
    }
    let _worker = world.start();
    world
        .until_number("select count(*) from delivery where status in ('delivered', 'deferred')", 10)
        .await;
    let tried: Vec<String> = sqlx::query_scalar("select outcome::text || response from attempt")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert!(tried.iter().all(|attempt| attempt.starts_with("delivered")), "{tried:?}");
    assert_eq!(world.number(MOST_ATTEMPTS).await, 1);
    assert_eq!(sink.messages().len(), 10);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_connection_that_the_server_closed_while_it_was_idle_is_replaced_without_penalty(pool: PgPool) {
    // S13
    let peer = Peer::start(|_, line| match line {
        "DOT" => Say::Last("250 2.0.0 mine"),
        other => usual(other),
    })
    .await;
    let world = World::new(pool, peer.address.port(), |config| {
        config.delivery.connections_per_destination = 1;
        config.delivery.idle_timeout = Duration::from_secs(5);
    })
    .await;
    world.serve("d.test", peer.address.ip());
    let _worker = world.start();
    for number in 0..3 {
        let recipient = format!("a{number}@d.test");
        let message = world.send(&[&recipient]).await;
        world.until(message, &[&format!("{recipient} delivered 2.0.0 1")]).await;
    }
    assert_eq!(peer.connections(), 3);
}

async fn after_a_failed_reset(pool: PgPool, answer: Reply) {
    let refusals = AtomicUsize::new(0);
    let sink = Sink::behaving(Behaviour::scripted(move |moment| match moment.verb {
        "DOT" if refusals.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Line("554 5.7.1 not this one".into()),
        "RSET" => answer.clone(),
        _ => Reply::Usual,
    }))
    .await;
    let world = World::new(pool, sink.address.port(), |config| {
        config.delivery.connections_per_destination = 1;
        config.delivery.idle_timeout = Duration::from_secs(5);
    })
    .await;
    world.serve("d.test", sink.address.ip());
    let _worker = world.start();
    let first = world.send(&["first@d.test"]).await;
    world.until(first, &["first@d.test bounced 5.7.1 1"]).await;
    let second = world.send(&["second@d.test"]).await;
    world.until(second, &["second@d.test delivered 2.0.0 1"]).await;
    assert_eq!(world.attempts(second).await.len(), 1);
    assert_eq!(sink.messages().len(), 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_server_that_closes_at_rset_is_dialled_again_without_penalty(pool: PgPool) {
    // S13
    after_a_failed_reset(pool, Reply::Close).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_server_that_says_421_to_rset_is_dialled_again_without_penalty(pool: PgPool) {
    // S13
    after_a_failed_reset(pool, Reply::Line("421 4.4.2 too long idle".into())).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_a_server_offers_is_asked_anew_at_each_attempt(pool: PgPool) {
    // S14: the first time SIZE, CHUNKING, DSN and 8BITMIME; the second time nothing
    let rich = Sink::behaving(Behaviour::scripted(|moment| match moment.verb {
        "DOT" => Reply::Line("451 4.3.0 not now".into()),
        _ => Reply::Usual,
    }))
    .await;
    let address = rich.address;
    let world = World::new(pool, address.port(), |config| {
        config.delivery.retry_schedule = vec![milliseconds(700)];
    })
    .await;
    world.serve("d.test", address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    world.until(message, &["a@d.test deferred 4.3.0 1"]).await;
    assert!(
        rich.lines()
            .iter()
            .any(|line| line.starts_with("MAIL FROM") && line.contains("SIZE="))
    );
    drop(rich);
    let poor = testkit::eventually("the address to be free", || async {
        // the listener ends when its task is gone
        tokio::net::TcpListener::bind(address).await.ok()?;
        Some(Sink::on(address, Behaviour::default().offering(&[])).await)
    })
    .await;
    world.until(message, &["a@d.test delivered 2.0.0 2"]).await;
    let lines = poor.lines();
    assert!(lines.contains(&"DATA".to_owned()), "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.contains("SIZE=") || line.contains("BODY=")),
        "{lines:?}"
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_crowd_that_comes_while_one_connection_is_idle_gets_more_connections(pool: PgPool) {
    let peer = Peer::gated(([127, 0, 0, 1], 0).into()).await;
    let world = World::new(pool, peer.address.port(), |config| {
        config.delivery.idle_timeout = Duration::from_secs(20);
    })
    .await;
    world.serve("d.test", peer.address.ip());
    let worker = world.start();
    let first = world.send(&["first@d.test"]).await;
    peer.wait(1).await;
    peer.gate.add_permits(1);
    world.until(first, &["first@d.test delivered 2.0.0 1"]).await;
    crowd(5, &world).await;
    peer.wait(6).await; // five contents at the same time, none of them answered yet
    peer.gate.add_permits(5);
    world.until_number(DELIVERED, 6).await;
    worker.stop().await;
}

/// Several messages for the same destination in one commit.
async fn crowd(count: usize, world: &World) {
    let accepting = (0..count).map(|number| {
        let (intake, submission) = (Arc::clone(&world.assembly.intake), world.letter(&[&format!("c{number}@d.test")]));
        tokio::spawn(async move { intake.accept(submission).await.unwrap() })
    });
    for one in accepting.collect::<Vec<_>>() {
        one.await.unwrap();
    }
}
