//! The way back: return paths, and the bounces that come to them (ASSURANCE 2.7, 2.10).

use crate::world::{HOSTNAME, World};
use mail::{
    Address, EnhancedCode,
    dsn::{Action, Dsn, Original, ReportedRecipient},
};
use store::{PgPool, models::Via};
use testkit::{Sink, sink::Behaviour};

async fn return_path_is_published(world: &World) {
    sqlx::query(
        "insert into domain_record (domain_id, purpose, type, name, status, checked_at) values ($1, 'return_path', 'MX', 'rp.sender.test', 'ok', now())",
    )
    .bind(world.domain.0)
    .execute(&world.pool)
    .await
    .unwrap();
}

/// What a server further on writes when `recipient` turns out not to exist.
fn bounce(to: &str, recipient: &str, action: Action, status: EnhancedCode) -> Vec<u8> {
    let (to, recipient) = (Address::parse(to).unwrap(), Address::parse(recipient).unwrap());
    mail::dsn::write(&Dsn {
        reporting_mta: "far.test",
        envelope_id: None,
        arrival: None,
        to: &to,
        recipients: &[ReportedRecipient {
            final_recipient: &recipient,
            original_recipient: None,
            action,
            status,
            remote_mta: None,
            diagnostic: Some("550 5.1.1 no such user after all"),
            last_attempt: None,
            will_retry_until: None,
        }],
        original: Original::Headers(crate::world::CONTENT),
        message_id: "<bounce@far.test>",
        boundary: "b",
        now: chrono::Utc::now(),
    })
}

/// The recipients' server, the sender's, and a world in which one letter has been delivered; gives its return path.
async fn delivered(pool: PgPool, via: Via) -> (Sink, Sink, World, store::ids::MessageId, String) {
    let theirs = Sink::start().await;
    let senders = Sink::on(([127, 0, 0, 2], theirs.address.port()).into(), Behaviour::default()).await;
    let world = World::new(pool, theirs.address.port(), |_| {}).await;
    world.serve("d.test", theirs.address.ip());
    world.serve("sender.test", senders.address.ip());
    return_path_is_published(&world).await;
    let mut letter = world.letter(&["ann@d.test"]);
    letter.via = via;
    let message = world.accept(letter).await;
    let worker = world.start();
    let from = theirs.wait(1).await.remove(0).from;
    world.until(message, &["ann@d.test delivered 2.0.0 1"]).await;
    worker.stop().await;
    (theirs, senders, world, message, from)
}

#[sqlx::test(migrations = "../../migrations")]
async fn mail_leaves_from_a_signed_return_path_below_the_senders_domain_or_from_our_own_name(pool: PgPool) {
    let sink = Sink::start().await;
    let world = World::new(pool, sink.address.port(), |_| {}).await;
    world.serve("d.test", sink.address.ip());
    world.serve("e.test", sink.address.ip());
    let worker = world.start();
    let unpublished = world.send(&["ann@d.test"]).await;
    world.until(unpublished, &["ann@d.test delivered 2.0.0 1"]).await;
    worker.stop().await;
    return_path_is_published(&world).await;
    let _worker = world.start();
    world.send(&["ann@d.test", "bob@e.test"]).await;
    let messages = sink.wait(3).await;
    let domains: Vec<&str> = messages.iter().map(|message| message.from.split_once('@').unwrap().1).collect();
    assert_eq!(domains, [HOSTNAME, "rp.sender.test", "rp.sender.test"]);
    assert!(
        messages
            .iter()
            .all(|message| mail::return_path::is_candidate(message.from.split_once('@').unwrap().0))
    );
    assert_ne!(messages[1].from, messages[2].from, "each destination has its own");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_bounce_that_comes_back_changes_the_status_suppresses_the_address_and_is_reported_once(pool: PgPool) {
    let (_theirs, senders, world, message, from) = delivered(pool, Via::Smtp).await;
    let intake = &world.assembly.intake;
    let raw = bounce(&from, "somebody@behind.test", Action::Failed, EnhancedCode(5, 1, 1));
    let recipient = Address::parse(&from.to_uppercase()).unwrap(); // some hosts change the case
    for copy in 0..2 {
        match intake.bounce_target(&recipient).await {
            Ok(target) => intake.take_bounce(target.unwrap(), &raw).await.unwrap(),
            Err(refusal) => assert_eq!((copy, refusal), (1, intake::Refusal::InvalidReturnPath)),
        }
    }
    assert_eq!(world.deliveries(message).await, ["ann@d.test bounced 5.1.1 1"]);
    assert_eq!(
        world.events(message).await,
        ["message.bounced", "message.delivered", "message.queued", "suppression.created"]
    );
    let worker = world.start();
    let report = senders.wait(1).await.remove(0);
    world
        .until_number("select (select count(*) from queue) + (select count(*) from report_owed)", 0)
        .await;
    worker.stop().await;
    assert_eq!((report.from.as_str(), report.to[0].as_str()), ("", "app@sender.test"));
    let text = String::from_utf8(report.data).unwrap();
    assert!(
        text.contains("rfc822; ann@d.test") && text.contains("no such user after all"),
        "{text}"
    );
    assert!(!text.contains("behind.test"), "only the address that the sender knows: {text}");
    assert_eq!(senders.messages().len(), 1);
    let again = world.send(&["Ann@d.test"]).await;
    assert_eq!(world.deliveries(again).await, ["Ann@d.test suppressed - 0"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_bounce_of_a_message_that_came_by_the_api_is_recorded_and_nobody_is_written_to(pool: PgPool) {
    let (_theirs, _senders, world, message, from) = delivered(pool, Via::Api).await;
    let intake = &world.assembly.intake;
    let target = intake.bounce_target(&Address::parse(&from).unwrap()).await.unwrap().unwrap();
    intake
        .take_bounce(target, &bounce(&from, "ann@d.test", Action::Failed, EnhancedCode(5, 2, 2)))
        .await
        .unwrap();
    assert_eq!(world.deliveries(message).await, ["ann@d.test bounced 5.2.2 1"]);
    assert_eq!(
        world
            .number("select (select count(*) from report_owed) + (select count(*) from suppression)")
            .await,
        0
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_delay_or_an_answer_that_is_no_report_is_kept_as_an_event_and_changes_nothing(pool: PgPool) {
    let (_theirs, _senders, world, message, from) = delivered(pool, Via::Smtp).await;
    let intake = &world.assembly.intake;
    for raw in [
        bounce(&from, "ann@d.test", Action::Delayed, EnhancedCode(4, 4, 1)),
        b"Subject: I am away\r\n\r\nuntil May\r\n".to_vec(),
    ] {
        let target = intake.bounce_target(&Address::parse(&from).unwrap()).await.unwrap().unwrap();
        intake.take_bounce(target, &raw).await.unwrap();
    }
    assert_eq!(world.deliveries(message).await, ["ann@d.test delivered 2.0.0 1"]);
    let events = world.events(message).await;
    assert_eq!(
        events.iter().filter(|kind| *kind == "message.bounce_received").count(),
        2,
        "{events:?}"
    );
    assert_eq!(world.number("select count(*) from report_owed").await, 0);
}
