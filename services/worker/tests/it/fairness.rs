//! Nobody waits for somebody else's trouble (ASSURANCE F14; DESIGN: one tenant's million messages do not delay another tenant's one).

use crate::{peer::Peer, world::World};
use mail::ReversePath;
use std::net::SocketAddr;
use store::{
    PgPool,
    ids::{MessageId, OrganizationId},
};
use testkit::{
    Sink,
    sink::{Behaviour, Reply},
};

/// Many messages of the world's own organization, put straight into the queue.
async fn crowd(world: &World, domain: &str, count: usize) {
    let seed = world.send(&[&format!("seed@{domain}")]).await;
    sqlx::query(
        "with copies as (select new_uuid() as id from generate_series(1, $2)),
         m as (insert into message (organization_id, id, direction, via, envelope_sender, header_from, subject, message_id_header, size_bytes,
                 eight_bit, smtputf8, stream, expires_at)
             select s.organization_id, c.id, s.direction, s.via, s.envelope_sender, s.header_from, s.subject, s.message_id_header, s.size_bytes,
                 s.eight_bit, s.smtputf8, s.stream, s.expires_at from message s, copies c where s.id = $1),
         b as (insert into content (message_id, raw) select c.id, s.raw from content s, copies c where s.message_id = $1),
         d as (insert into delivery (message_id, number, organization_id, recipient, recipient_folded, kind, status, destination)
             select c.id, 0, s.organization_id, s.recipient, s.recipient_folded, s.kind, 'queued', 0 from delivery s, copies c where s.message_id = $1)
         insert into queue (message_id, number, organization_id, lane_id, due_at, expires_at)
             select c.id, 0, s.organization_id, s.lane_id, s.due_at, s.expires_at from queue s, copies c where s.message_id = $1",
    )
    .bind(seed.0)
    .bind(i32::try_from(count - 1).unwrap())
    .execute(&world.pool)
    .await
    .unwrap();
}

/// One message of another tenant.
async fn other_tenants_message(world: &World) -> MessageId {
    let organization = OrganizationId::generate();
    world.tenant(organization, "other.test").await;
    let mut letter = world.letter(&["one@quick.test"]);
    letter.sender.organization = organization;
    letter.envelope.sender = ReversePath::parse("app@other.test").unwrap();
    letter.raw = bytes::Bytes::from_static(b"From: app@other.test\r\nSubject: one\r\n\r\none\r\n");
    world.accept(letter).await
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_thousand_messages_to_a_slow_destination_do_not_delay_another_tenants_one(pool: PgPool) {
    let slow = Peer::gated(([127, 0, 0, 1], 0).into()).await;
    let quick = Sink::on(SocketAddr::from(([127, 0, 0, 2], slow.address.port())), Behaviour::default()).await;
    let world = World::new(pool, slow.address.port(), |_| {}).await;
    world.serve("slow.test", slow.address.ip());
    world.serve("quick.test", quick.address.ip());
    crowd(&world, "slow.test", 1_000).await;
    let worker = world.start();
    slow.wait(10).await; // every connection it may have is stuck
    let one = other_tenants_message(&world).await;
    world.until(one, &["one@quick.test delivered 2.0.0 1"]).await;
    slow.gate.add_permits(1_000);
    worker.stop().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_tenant_with_many_slow_destinations_leaves_room_for_another_tenants_one(pool: PgPool) {
    let slow = Peer::gated(([127, 0, 0, 1], 0).into()).await;
    let quick = Sink::on(SocketAddr::from(([127, 0, 0, 2], slow.address.port())), Behaviour::default()).await;
    let world = World::new(pool, slow.address.port(), |_| {}).await;
    world.serve("quick.test", quick.address.ip());
    for number in 0..20 {
        let domain = format!("slow{number}.test");
        world.serve(&domain, slow.address.ip());
        crowd(&world, &domain, 50).await;
    }
    let worker = world.start();
    testkit::eventually("a worker with its hands full", || async {
        (world.number("select count(*) from queue where worker_id is not null").await >= 120).then_some(())
    })
    .await;
    let one = other_tenants_message(&world).await;
    world.until(one, &["one@quick.test delivered 2.0.0 1"]).await;
    slow.gate.add_permits(2_000);
    worker.stop().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn dead_destinations_do_not_delay_the_tenants_other_mail(pool: PgPool) {
    // F14: servers that accept connections and never say a word, more of them than there is room
    let dead = Sink::behaving(Behaviour::scripted(|_| Reply::Stall)).await;
    let quick = Sink::on(SocketAddr::from(([127, 0, 0, 2], dead.address.port())), Behaviour::default()).await;
    let world = World::new(pool, dead.address.port(), |config| {
        config.delivery.connections_per_destination = 2;
        config.delivery.command_timeout = std::time::Duration::from_secs(40);
    })
    .await;
    world.serve("quick.test", quick.address.ip());
    for number in 0..20 {
        let domain = format!("dead{number}.test");
        world.serve(&domain, dead.address.ip());
        crowd(&world, &domain, 50).await;
    }
    let worker = world.start();
    testkit::eventually("connections to the dead", || async { (dead.connections() >= 20).then_some(()) }).await;
    let one = world.send(&["one@quick.test"]).await;
    world.until(one, &["one@quick.test delivered 2.0.0 1"]).await;
    worker.stop().await; // does not wait for servers that say nothing
    assert_eq!(
        world.number("select count(*) from queue where attempts <> 0").await,
        0,
        "what was never tried is not counted"
    );
}
