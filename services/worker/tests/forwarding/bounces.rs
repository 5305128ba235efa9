//! Bounces of forwarded mail: the author hears once, of the alias alone; nobody hears of mail that he did not send.

use crate::world::{AUTHORS, STRANGE, World, letter, text};
use intake::Refusal;
use mail::Address;
use store::PgPool;
use testkit::sink::{Message, Moment, Reply};

/// Mailboxes called `full…` are.
fn picky(moment: &Moment<'_>) -> Reply {
    match moment.verb {
        "RCPT" if moment.line.contains("<full") => Reply::Line("552 5.2.2 <full@home.test> over quota at mx.home.test [127.0.0.1]".into()),
        _ => Reply::Usual,
    }
}

fn reports(world: &World) -> Vec<Message> {
    world
        .sink
        .messages()
        .into_iter()
        .filter(|message| message.from.is_empty())
        .collect()
}

/// The only report, which must say this and nothing private.
fn only_report(world: &World, alias: &str, code: &str) -> String {
    let reports = reports(world);
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert_eq!(reports[0].to, ["bob@stranger.test"]);
    let parsed = mail::dsn::parse(&reports[0].data).unwrap();
    let named: Vec<String> = parsed
        .recipients
        .iter()
        .filter_map(|one| Some(one.final_recipient.as_ref()?.to_string()))
        .collect();
    assert_eq!(named, [alias]);
    assert_eq!(parsed.recipients[0].status.unwrap().to_string(), code);
    let said = text(&reports[0]);
    assert!(
        !said.contains("home.test") && !said.contains("127.0.0.1"),
        "the private mailbox shows: {said}"
    );
    said
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_refusal_at_the_mailbox_is_told_once_and_names_the_alias_alone(pool: PgPool) {
    let world = World::scripted(pool, picky).await;
    world.alias("shop", &["full@home.test", "full2@home.test", "full3@work.test"]).await;
    world.start();
    world.letter("bob@stranger.test", &["shop@mine.test"], "a").await.unwrap();
    world.settled().await;
    let said = only_report(&world, "shop@mine.test", "5.2.2");
    assert!(
        said.contains("Subject: a") && said.contains("Auto-Submitted: auto-replied"),
        "{said}"
    );
}

/// What the mailbox's server sends when it finds out later.
fn late_bounce(path: &str) -> Vec<u8> {
    format!(
        "From: <mailer-daemon@mx.home.test>\r\nTo: <{path}>\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
         <me@home.test>: mailbox full at mx.home.test\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; mx.home.test\r\n\r\nFinal-Recipient: rfc822; me@home.test\r\nAction: failed\r\nStatus: 5.2.2\r\n\
         Diagnostic-Code: smtp; 552 5.2.2 <me@home.test> over quota at mx.home.test [127.0.0.1]\r\n\r\n--b--\r\n"
    )
    .into_bytes()
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_bounce_that_comes_later_is_told_once_however_often_it_comes(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("shop", &["me@home.test"]).await;
    world.start();
    world.letter("bob@stranger.test", &["shop@mine.test"], "a").await.unwrap();
    let path = world.arrives("a", 1).await.remove(0).from;
    let (intake, address) = (&world.assembly.intake, Address::parse(&path).unwrap());
    let target = intake.bounce_target(&address).await.unwrap().unwrap();
    for _ in 0..2 {
        intake.take_bounce(target, &late_bounce(&path)).await.unwrap(); // two servers' copies at the same time
    }
    world.until("select count(*) from delivery where reported_at is not null", 1).await;
    world.settled().await;
    only_report(&world, "shop@mine.test", "5.2.2");
    assert_eq!(
        intake.bounce_target(&address).await,
        Err(Refusal::InvalidReturnPath),
        "it is answered"
    );
    for at in [4, 20, path.find('@').unwrap() - 2] {
        let other = if &path[at..=at] == "a" { "b" } else { "a" };
        let forged = Address::parse(&format!("{}{other}{}", &path[..at], &path[at + 1..])).unwrap();
        assert_eq!(intake.bounce_target(&forged).await, Err(Refusal::InvalidReturnPath), "{forged}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn nobody_hears_of_mail_whose_sender_spf_did_not_vouch_for(pool: PgPool) {
    let world = World::scripted(pool, picky).await;
    world.alias("shop", &["full@home.test"]).await;
    world.start();
    let raw = letter("bob@stranger.test", "shop@mine.test", "a");
    world
        .receive(STRANGE, "bob@stranger.test", &["shop@mine.test"], &raw)
        .await
        .unwrap();
    // The author's signature says who wrote it, not whose envelope it is.
    let signed = world.sign("stranger.test", &letter("bob@stranger.test", "shop@mine.test", "b"));
    world
        .receive(STRANGE, "victim@careful.test", &["shop@mine.test"], &signed)
        .await
        .unwrap();
    // And a report is never answered.
    world
        .receive(
            AUTHORS,
            "",
            &["shop@mine.test"],
            &letter("daemon@stranger.test", "shop@mine.test", "c"),
        )
        .await
        .unwrap();
    world.until("select count(*) from delivery where status = 'bounced'", 3).await;
    world.settled().await;
    assert_eq!(
        (
            reports(&world),
            world.number("select count(*) from message where direction = 'bounce'").await
        ),
        (vec![], 0)
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_mailbox_that_refuses_keeps_getting_what_comes(pool: PgPool) {
    let world = World::scripted(pool, |moment| match moment.verb {
        "RCPT" if moment.line.contains("<gone") => Reply::Line("550 5.1.1 no such user".into()),
        _ => Reply::Usual,
    })
    .await;
    world.alias("shop", &["gone@home.test"]).await;
    world.start();
    for subject in ["a", "b"] {
        world.letter("bob@stranger.test", &["shop@mine.test"], subject).await.unwrap();
        world.settled().await;
    }
    // A suppressed address would swallow the second message without a word to its author.
    let told = "bob@stranger.test delivered 2.0.0";
    let refused = "gone@home.test bounced 5.1.1";
    assert_eq!(world.deliveries().await, [told, told, refused, refused]);
}
