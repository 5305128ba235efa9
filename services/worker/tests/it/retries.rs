//! Waiting, trying again, giving up (ASSURANCE S11–S12, N13).

use crate::{
    peer::Peer,
    world::{World, milliseconds},
};
use std::time::Duration;
use store::PgPool;
use testkit::{
    Sink,
    sink::{Behaviour, Reply},
};

fn always_busy() -> Behaviour {
    Behaviour::scripted(|moment| match moment.verb {
        "RCPT" => Reply::Line("450 4.2.1 busy".into()),
        _ => Reply::Usual,
    })
}

#[sqlx::test(migrations = "../../migrations")]
async fn mail_goes_out_when_its_destination_comes_back(pool: PgPool) {
    // N13
    let address = Sink::start().await.address;
    let world = World::new(pool, address.port(), |config| {
        config.delivery.retry_schedule = vec![milliseconds(200)];
    })
    .await;
    world.serve("d.test", address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    testkit::eventually("two refused connections", || async {
        (world.attempts(message).await.len() >= 2).then_some(())
    })
    .await;
    assert!(world.deliveries(message).await[0].starts_with("a@d.test deferred 4.4.1"));
    let sink = Sink::on(address, Behaviour::default()).await;
    sink.wait(1).await;
    testkit::eventually("delivery", || async {
        world.deliveries(message).await[0].contains(" delivered ").then_some(())
    })
    .await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn messages_refused_together_come_back_one_by_one(pool: PgPool) {
    // S11
    let sink = Sink::behaving(always_busy()).await;
    let world = World::new(pool, sink.address.port(), |_| {}).await;
    world.serve("d.test", sink.address.ip());
    for number in 0..40 {
        world.send(&[&format!("a{number}@d.test")]).await;
    }
    let _worker = world.start();
    world
        .until_number("select count(*) from delivery where status = 'deferred'", 40)
        .await;
    let waits: Vec<f64> = sqlx::query_scalar("select extract(epoch from due_at - now())::float8 from queue order by 1")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    let hour = 3_600.0;
    assert!(waits[0] > hour * 0.85 - 30.0 && waits[39] < hour * 1.15, "{waits:?}");
    assert!(waits[39] - waits[0] > hour * 0.1, "they come back together: {waits:?}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_expired_message_had_a_last_attempt_and_makes_exactly_one_report(pool: PgPool) {
    // S12
    let busy = Sink::behaving(always_busy()).await;
    let sender = Sink::on(([127, 0, 0, 2], busy.address.port()).into(), Behaviour::default()).await;
    let world = World::new(pool, busy.address.port(), |config| {
        config.delivery.retry_schedule = vec![milliseconds(300)];
        config.delivery.expire_after = Duration::from_secs(2);
    })
    .await;
    world.serve("d.test", busy.address.ip());
    world.serve("sender.test", sender.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test", "b@d.test"]).await;
    let report = sender.wait(1).await.remove(0);
    let text = String::from_utf8(report.data).unwrap();
    assert_eq!((report.from.as_str(), report.to[0].as_str()), ("", "app@sender.test"));
    assert!(
        text.contains("Status: 4.4.7") && text.contains("rfc822; a@d.test") && text.contains("rfc822; b@d.test"),
        "{text}"
    );
    let found = world.deliveries(message).await;
    assert!(found.iter().all(|line| line.contains(" expired 4.4.7 ")), "{found:?}");
    assert!(world.attempts(message).await.len() > 2);
    world
        .until_number("select (select count(*) from queue) + (select count(*) from report_owed)", 0)
        .await;
    assert_eq!(
        (
            sender.messages().len(),
            world.number("select count(*) from message where direction = 'bounce'").await
        ),
        (1, 1)
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn everything_that_waits_for_a_silent_destination_shares_one_timeout(pool: PgPool) {
    // N13
    let silent = Sink::behaving(Behaviour::scripted(|_| Reply::Stall)).await;
    let world = World::new(pool, silent.address.port(), |config| {
        config.delivery.command_timeout = milliseconds(400);
        config.delivery.connections_per_destination = 2;
    })
    .await;
    world.serve("d.test", silent.address.ip());
    for number in 0..60 {
        world.send(&[&format!("a{number}@d.test")]).await;
    }
    let _worker = world.start();
    world
        .until_number("select count(*) from delivery where status = 'deferred'", 60)
        .await;
    assert!(silent.connections() <= 6, "{} connections for sixty messages", silent.connections());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_message_to_two_destinations_is_two_transactions_with_their_own_fates(pool: PgPool) {
    let good = Sink::start().await;
    let bad = Sink::on(([127, 0, 0, 2], good.address.port()).into(), always_busy()).await;
    let world = World::new(pool, good.address.port(), |_| {}).await;
    world.serve("good.test", good.address.ip());
    world.serve("bad.test", bad.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@good.test", "b@bad.test", "c@good.test"]).await;
    world
        .until(
            message,
            &[
                "a@good.test delivered 2.0.0 1",
                "b@bad.test deferred 4.2.1 1",
                "c@good.test delivered 2.0.0 1",
            ],
        )
        .await;
    assert_eq!(good.messages().len(), 1);
    assert_eq!(good.messages()[0].to, ["a@good.test", "c@good.test"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_scheduled_message_waits_for_its_time(pool: PgPool) {
    let peer = Peer::start(|_, line| crate::peer::usual(line)).await;
    let world = World::new(pool, peer.address.port(), |_| {}).await;
    world.serve("d.test", peer.address.ip());
    let _worker = world.start();
    let mut letter = world.letter(&["a@d.test"]);
    let at = chrono::Utc::now() + chrono::Duration::milliseconds(1_500);
    letter.scheduled_at = Some(at);
    let message = world.accept(letter).await;
    world.until(message, &["a@d.test scheduled - 0"]).await;
    peer.wait(1).await;
    assert!(chrono::Utc::now() >= at);
    world.until(message, &["a@d.test delivered 2.0.0 1"]).await;
}
