//! Recipients that are hosted here too: handed to the door again, once, and never in circles.

use crate::world::{AUTHORS, World, field, text};
use intake::LocalOrigin;
use mail::Address;
use store::{PgPool, ids::OrganizationId};
use testkit::sink::Reply;

#[sqlx::test(migrations = "../../migrations")]
async fn mail_from_alias_to_alias_arrives_without_a_connection_to_ourselves(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("first", &["second@mine.test"]).await;
    world.alias("second", &["me@home.test"]).await;
    world.start();
    world.letter("eve@strict.test", &["first@mine.test"], "a").await.unwrap();
    let message = world.arrives("a", 1).await.remove(0);
    assert_eq!(
        (message.to.as_slice(), world.sink.connections()),
        (&["me@home.test".to_owned()][..], 1)
    );
    assert_eq!(field(&message, "From"), "\"eve at strict.test\" <first@mine.test>");
    assert!(field(&message, "Authentication-Results").contains("dmarc="), "{}", text(&message));
    assert_eq!(
        world
            .number("select count(*) from message where parent_id is not null and via = 'internal'")
            .await,
        1
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn two_aliases_that_forward_to_each_other_come_to_an_end_and_the_author_hears_once(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("ping", &["pong@mine.test"]).await;
    world.alias("pong", &["ping@mine.test"]).await;
    world.start();
    world.letter("bob@stranger.test", &["ping@mine.test"], "a").await.unwrap();
    world.until("select count(*) from message m join delivery d on d.message_id = m.id where m.direction = 'bounce' and d.recipient = 'bob@stranger.test' and d.status = 'delivered'", 1)
        .await;
    world.settled().await;
    assert_eq!(world.number("select count(*) from message where direction = 'forward'").await, 3);
    let told = world.sink.messages();
    assert_eq!(told.len(), 1, "{told:?}");
    let parsed = mail::dsn::parse(&told[0].data).unwrap();
    assert_eq!(
        (told[0].to.as_slice(), parsed.recipients.len()),
        (&["bob@stranger.test".to_owned()][..], 1)
    );
    assert_eq!(parsed.recipients[0].status.unwrap().to_string(), "5.4.6");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_refusal_behind_a_second_alias_is_told_to_the_author_and_names_the_first(pool: PgPool) {
    let world = World::scripted(pool, |moment| match moment.verb {
        "RCPT" if moment.line.contains("<full") => Reply::Line("552 5.2.2 full".into()),
        _ => Reply::Usual,
    })
    .await;
    world.alias("first", &["second@mine.test"]).await;
    world.alias("second", &["full@home.test"]).await;
    world.start();
    world.letter("bob@stranger.test", &["first@mine.test"], "a").await.unwrap();
    world.until("select count(*) from message m join delivery d on d.message_id = m.id where m.direction = 'bounce' and d.recipient = 'bob@stranger.test' and d.status = 'delivered'", 1)
        .await;
    world.settled().await;
    let said = text(&world.sink.messages()[0]);
    assert!(
        world.sink.messages().len() == 1 && said.contains("first@mine.test") && said.contains("5.2.2"),
        "{said}"
    );
    assert!(!said.contains("home.test") && !said.contains("second@"), "{said}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_delivery_enters_once_although_its_worker_died_before_it_could_say_so(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("first", &["second@mine.test"]).await;
    world.alias("second", &["me@home.test"]).await;
    let message = world.letter("bob@stranger.test", &["first@mine.test"], "a").await.unwrap()[0];
    // A worker hands the delivery over and dies: the queue still holds it.
    let raw = crate::world::letter("bob@stranger.test", "first@mine.test", "a");
    let mut arrival = world.arrival(AUTHORS, "bob@stranger.test", &["second@mine.test"], &raw);
    arrival.received.peer = None;
    arrival.local = Some(LocalOrigin {
        organization: world.organization,
        message,
        number: 0,
    });
    world.assembly.intake.receive(arrival).await.unwrap();
    assert_eq!(world.number("select count(*) from queue").await, 2);
    world.start();
    world.arrives("a", 1).await;
    assert_eq!(
        world.deliveries().await,
        ["me@home.test delivered 2.0.0", "second@mine.test delivered 2.0.0"]
    );
    assert_eq!(world.number("select count(*) from message where parent_id is not null").await, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_neighbours_alias_that_is_not_ready_yet_is_tried_again(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("first", &["desk@theirs.test"]).await;
    let theirs = OrganizationId::generate();
    let domain = world.tenant(theirs, "theirs.test").await;
    world.dns.mx("theirs.test", &[(10, crate::world::HOSTNAME)]);
    let alias = uuid::Uuid::now_v7();
    let waiting = uuid::Uuid::now_v7();
    for (statement, ids) in [
        (
            "insert into alias (id, organization_id, domain_id, local_part) values ($1, $2, $3, 'desk')",
            [alias, theirs.0, domain.0],
        ),
        (
            "insert into destination (id, organization_id, kind, address, address_folded) select $1, $2, 'mailbox', 'you@home.test', 'you@home.test' where $3::uuid is not null",
            [waiting, theirs.0, domain.0],
        ),
        (
            "insert into alias_destination (alias_id, destination_id, position) select $1, $2, 1 where $3::uuid is not null",
            [alias, waiting, domain.0],
        ),
    ] {
        world.run(statement, &ids, None).await;
    }
    world.start();
    world.letter("bob@stranger.test", &["first@mine.test"], "a").await.unwrap();
    world.until("select count(*) from delivery where status = 'deferred'", 1).await;
    world
        .run("update destination set verified_at = now() where id = $1", &[waiting], None)
        .await;
    assert_eq!(world.arrives("a", 1).await[0].to, ["you@home.test"]);
    assert!(
        world
            .assembly
            .intake
            .recipient(&Address::parse("desk@theirs.test").unwrap())
            .await
            .is_ok()
    );
}
