//! Telling SMTP senders what failed (ASSURANCE L06, L09, G23).

use crate::world::{World, milliseconds};
use mail::Notify;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use store::{PgPool, models::Via};
use testkit::{
    Sink,
    sink::{Behaviour, Message, Reply},
};

const SETTLED: &str = "select (select count(*) from queue) + (select count(*) from report_owed)";
const REPORTS: &str = "select count(*) from message where direction = 'bounce'";

/// Recipients called `bad…` do not exist.
fn picky() -> Behaviour {
    Behaviour::scripted(|moment| match moment.verb {
        "RCPT" if moment.line.contains("<bad") => Reply::Line("550 5.1.1 no such user".into()),
        _ => Reply::Usual,
    })
}

/// The recipients' server and the sender's.
async fn two_sides(pool: PgPool) -> (Sink, Sink, World) {
    between(pool, picky()).await
}

async fn between(pool: PgPool, recipients_server: Behaviour) -> (Sink, Sink, World) {
    let theirs = Sink::behaving(recipients_server).await;
    let senders = Sink::on(([127, 0, 0, 2], theirs.address.port()).into(), Behaviour::default()).await;
    let world = World::new(pool, theirs.address.port(), |config| {
        config.delivery.retry_schedule = vec![milliseconds(300)];
    })
    .await;
    world.serve("d.test", theirs.address.ip());
    world.serve("sender.test", senders.address.ip());
    (theirs, senders, world)
}

fn text(message: &Message) -> String {
    String::from_utf8(message.data.clone()).unwrap()
}

#[sqlx::test(migrations = "../../migrations")]
async fn one_report_names_only_the_failed_recipient_and_says_what_the_sender_asked_to_hear(pool: PgPool) {
    // L09, L06, G23
    let (theirs, senders, world) = two_sides(pool).await;
    let mut letter = world.letter(&["ann@d.test", "bad@d.test", "bob@d.test"]);
    letter.envelope.envelope_id = Some("order 17".into());
    letter.envelope.headers_only = true;
    letter.envelope.recipients[1].original_recipient = Some("rfc822;old+name@d.test".into());
    letter.envelope.recipients[1].notify = Some(Notify::parse("FAILURE,DELAY").unwrap());
    let message = world.accept(letter).await;
    let worker = world.start();
    let report = senders.wait(1).await.remove(0);
    world.until_number(SETTLED, 0).await;
    worker.stop().await;
    assert_eq!(
        (report.from.as_str(), report.to.as_slice()),
        ("", &["app@sender.test".to_owned()][..])
    );
    let said = text(&report);
    let parsed = mail::dsn::parse(&report.data).unwrap();
    assert_eq!(parsed.recipients.len(), 1, "{said}");
    assert_eq!(parsed.recipients[0].final_recipient.as_ref().unwrap().to_string(), "bad@d.test");
    for wanted in [
        "Original-Envelope-Id: order 17",
        "Original-Recipient: rfc822; old+name@d.test",
        "Status: 5.1.1",
        "Action: failed",
        "no such user",
        "Auto-Submitted: auto-replied",
        "<1@sender.test>",
    ] {
        assert!(said.contains(wanted), "{wanted} is not in {said}");
    }
    assert!(
        !said.contains("the body") && !said.contains("ann@d.test") && !said.contains("bob@d.test"),
        "{said}"
    );
    assert_eq!(
        (theirs.messages().len(), senders.messages().len(), world.number(REPORTS).await),
        (1, 1, 1)
    );
    let children = world
        .texts(
            "select envelope_sender || direction::text || via::text from message where parent_id = $1",
            message,
        )
        .await;
    assert_eq!(children, ["bounceinternal"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_report_returns_the_whole_message_unless_only_its_header_is_asked_for(pool: PgPool) {
    // G23: RET=FULL is the default
    let (_theirs, senders, world) = two_sides(pool).await;
    let _worker = world.start();
    world.send(&["bad@d.test"]).await;
    assert!(text(&senders.wait(1).await[0]).contains("the body"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_recipient_that_fails_later_is_reported_later_and_alone(pool: PgPool) {
    // L09
    let decided = Arc::new(AtomicBool::new(false));
    let later = Arc::clone(&decided);
    let server = Behaviour::scripted(move |moment| match moment.verb {
        "RCPT" if moment.line.contains("<bad") => Reply::Line("550 5.1.1 no such user".into()),
        "RCPT" if moment.line.contains("<slow") && later.load(Ordering::SeqCst) => Reply::Line("552 5.2.2 full".into()),
        "RCPT" if moment.line.contains("<slow") => Reply::Line("450 4.2.1 later".into()),
        _ => Reply::Usual,
    });
    let (_theirs, senders, world) = between(pool, server).await;
    let _worker = world.start();
    world.send(&["bad@d.test", "slow@d.test", "fine@d.test"]).await;
    senders.wait(1).await;
    decided.store(true, Ordering::SeqCst);
    let reports = senders.wait(2).await;
    world.until_number(SETTLED, 0).await;
    let named: Vec<String> = reports
        .iter()
        .map(|report| {
            let parsed = mail::dsn::parse(&report.data).unwrap();
            assert_eq!(parsed.recipients.len(), 1);
            parsed.recipients[0].final_recipient.as_ref().unwrap().to_string()
        })
        .collect();
    assert_eq!(named, ["bad@d.test", "slow@d.test"]);
    assert_eq!(senders.messages().len(), 2);
}

#[sqlx::test(migrations = "../../migrations")]
async fn nobody_is_told_who_asked_not_to_be_or_has_the_api_to_ask(pool: PgPool) {
    // G23: NOTIFY=NEVER, NOTIFY=SUCCESS; a message by the API; a message from <>
    let (_theirs, senders, world) = two_sides(pool).await;
    for notify in ["NEVER", "SUCCESS"] {
        let mut letter = world.letter(&["bad@d.test"]);
        letter.envelope.recipients[0].notify = Some(Notify::parse(notify).unwrap());
        world.accept(letter).await;
    }
    let mut by_api = world.letter(&["bad@d.test"]);
    by_api.via = Via::Api;
    world.accept(by_api).await;
    let mut from_nobody = world.letter(&["bad@d.test"]);
    from_nobody.envelope.sender = mail::ReversePath::Null;
    world.accept(from_nobody).await;
    let worker = world.start();
    world
        .until_number("select count(*) from delivery where status = 'bounced'", 4)
        .await;
    // The same worker does report what is to be reported, so the others were passed over.
    sqlx::query("delete from suppression").execute(&world.pool).await.unwrap();
    world.send(&["bad@d.test"]).await;
    senders.wait(1).await;
    world.until_number(SETTLED, 0).await;
    worker.stop().await;
    assert_eq!((senders.messages().len(), world.number(REPORTS).await), (1, 1));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_report_that_cannot_be_delivered_is_recorded_and_never_reported_on(pool: PgPool) {
    // L06
    let theirs = Sink::behaving(Behaviour::scripted(|moment| match moment.verb {
        "RCPT" => Reply::Line("550 5.1.1 no such user".into()),
        _ => Reply::Usual,
    }))
    .await;
    let world = World::new(pool, theirs.address.port(), |_| {}).await;
    world.serve("d.test", theirs.address.ip());
    world.serve("sender.test", theirs.address.ip());
    let worker = world.start();
    let message = world.send(&["bad@d.test"]).await;
    world
        .until_number(
            "select count(*) from message m join delivery d on d.message_id = m.id where m.direction = 'bounce' and d.status = 'bounced'",
            1,
        )
        .await;
    world.until_number(SETTLED, 0).await;
    worker.stop().await;
    assert_eq!((world.number(REPORTS).await, theirs.messages().len()), (1, 0));
    let events = world
        .texts(
            "select e.type from event e join message m on m.id = e.message_id where m.parent_id = $1 and e.type = 'message.bounced'",
            message,
        )
        .await;
    assert_eq!(events.len(), 1, "discarded, and recorded");
    let mails: Vec<String> = theirs.lines().into_iter().filter(|line| line.starts_with("MAIL")).collect();
    assert_eq!(mails.iter().filter(|line| line.contains("FROM:<>")).count(), 1, "{mails:?}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_the_sender_asks_of_reports_goes_on_to_a_server_that_offers_them_and_to_no_other(pool: PgPool) {
    // G23, RFC 3461 §5.2
    let offers = Sink::start().await;
    let plain = Sink::on(
        ([127, 0, 0, 2], offers.address.port()).into(),
        Behaviour::default().offering(&["PIPELINING"]),
    )
    .await;
    let world = World::new(pool, offers.address.port(), |_| {}).await;
    world.serve("offers.test", offers.address.ip());
    world.serve("plain.test", plain.address.ip());
    let _worker = world.start();
    for domain in ["offers.test", "plain.test"] {
        let mut letter = world.letter(&[&format!("a@{domain}")]);
        letter.envelope.envelope_id = Some("id+1".into());
        letter.envelope.headers_only = true;
        letter.envelope.recipients[0].notify = Some(Notify::parse("SUCCESS,FAILURE").unwrap());
        letter.envelope.recipients[0].original_recipient = Some("rfc822;b@x.test".into());
        world.accept(letter).await;
    }
    let (to_offers, to_plain) = (offers.wait(1).await.remove(0), plain.wait(1).await.remove(0));
    assert!(
        to_offers.mail.contains("RET=HDRS") && to_offers.mail.contains("ENVID=id+2B1"),
        "{}",
        to_offers.mail
    );
    let rcpt = &to_offers.rcpt[0];
    assert!(
        rcpt.contains("NOTIFY=SUCCESS,FAILURE") && rcpt.contains("ORCPT=rfc822;b@x.test"),
        "{rcpt}"
    );
    assert_eq!(to_plain.rcpt, ["<a@plain.test>"]);
    assert!(!to_plain.mail.contains("RET=") && !to_plain.mail.contains("ENVID="));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_report_that_cannot_be_written_does_not_hold_up_the_others(pool: PgPool) {
    // P6: the database refuses the older one
    let (_theirs, senders, world) = two_sides(pool).await;
    let refused = world.send(&["bad1@d.test"]).await;
    for statement in [
        "create function refuse() returns trigger language plpgsql as $$ begin raise check_violation; end $$".to_owned(),
        format!(
            "create trigger refuse before insert on message for each row when (new.parent_id = '{}') execute function refuse()",
            refused.0
        ),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&world.pool).await.unwrap();
    }
    let _worker = world.start();
    world.until_number("select count(*) from report_owed", 1).await;
    world.send(&["bad2@d.test"]).await;
    let report = senders.wait(1).await.remove(0);
    assert!(text(&report).contains("rfc822; bad2@d.test"));
    assert_eq!(world.number("select count(*) from report_owed").await, 1, "still owed");
}
