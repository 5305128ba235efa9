//! What servers say and do at each step of a transaction (ASSURANCE 2.10).

use crate::{
    peer::{Peer, Say, usual},
    world::{World, milliseconds},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use store::PgPool;
use testkit::{
    Sink,
    sink::{Behaviour, Moment, Reply},
};

/// What some server does at one step.
fn at(verb: &'static str, reply: &Reply) -> Behaviour {
    let reply = reply.clone();
    let behaviour = Behaviour::scripted(move |moment| if moment.verb == verb { reply.clone() } else { Reply::Usual });
    match verb {
        // Without CHUNKING no content is sent ahead of the answers.
        "MAIL" | "RCPT" | "DATA" => behaviour.offering(&["PIPELINING"]),
        _ => behaviour,
    }
}

fn line(text: &str) -> Reply {
    Reply::Line(text.to_owned())
}

#[sqlx::test(migrations = "../../migrations")]
async fn trouble_at_any_step_defers_and_after_the_final_dot_it_is_in_doubt(pool: PgPool) {
    // S01, S06, S09
    let troubles = [
        line("450 4.2.0 not now"),
        line("421 4.3.2 going down"),
        Reply::Close,
        Reply::Stall,
        line("999 what?"),
        line("550-no\r\n250 yes"),
        Reply::Raw(b"\x00\xff\r\n".to_vec()),
    ];
    let mut sinks = Vec::new();
    let first = Sink::start().await;
    let port = first.address.port();
    for verb in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT"] {
        for trouble in &troubles {
            let last = u8::try_from(sinks.len() + 10).unwrap();
            sinks.push((
                verb,
                trouble.clone(),
                Sink::on(SocketAddr::from(([127, 0, 5, last], port)), at(verb, trouble)).await,
            ));
        }
    }
    let world = World::new(pool, port, |config| {
        config.delivery.command_timeout = milliseconds(700);
        config.delivery.final_dot_timeout = milliseconds(700);
    })
    .await;
    let _worker = world.start();
    let mut messages = Vec::new();
    for (number, (_, _, sink)) in sinks.iter().enumerate() {
        let domain = format!("d{number}.test");
        world.serve(&domain, sink.address.ip());
        messages.push(world.send(&[&format!("a@{domain}")]).await);
    }
    for (message, (verb, trouble, sink)) in messages.iter().zip(&sinks) {
        testkit::eventually("a first attempt", || async {
            (!world.attempts(*message).await.is_empty()).then_some(())
        })
        .await;
        let found = world.deliveries(*message).await.remove(0);
        assert!(
            found.contains(" deferred 4.") && found.ends_with(" 1"),
            "{verb} {trouble:?}: {found}"
        );
        let doubtful = *verb == "DOT" && !matches!(trouble, Reply::Line(text) if text.starts_with('4'));
        let attempts = world.attempts(*message).await;
        assert_eq!(attempts[0].starts_with("in_doubt"), doubtful, "{verb} {trouble:?}: {attempts:?}");
        assert!(sink.messages().is_empty());
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_hang_up_before_the_first_answer_is_in_doubt_when_the_content_was_already_sent(pool: PgPool) {
    // S06: with CHUNKING everything goes in one round trip, and the answers to all of it are lost together
    let sink = Sink::behaving(Behaviour::scripted(|moment| match moment.verb {
        "MAIL" => Reply::Close,
        _ => Reply::Usual,
    }))
    .await;
    let world = World::new(pool, sink.address.port(), |_| {}).await;
    world.serve("d.test", sink.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    testkit::eventually("an attempt", || async { (!world.attempts(message).await.is_empty()).then_some(()) }).await;
    assert!(world.attempts(message).await[0].starts_with("in_doubt"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_permanent_answer_about_the_message_bounces_it(pool: PgPool) {
    // S02, S08: the code and words of the server are kept
    let refusal = line("550 5.7.1 not this");
    let first = Sink::behaving(at("MAIL", &refusal)).await;
    let port = first.address.port();
    let mut sinks = vec![first];
    for (number, verb) in ["RCPT", "DATA", "DOT"].into_iter().enumerate() {
        let address = SocketAddr::from(([127, 0, 6, u8::try_from(number).unwrap() + 1], port));
        sinks.push(Sink::on(address, at(verb, &refusal)).await);
    }
    let world = World::new(pool, port, |_| {}).await;
    let _worker = world.start();
    for (number, sink) in sinks.iter().enumerate() {
        let domain = format!("d{number}.test");
        world.serve(&domain, sink.address.ip());
        let recipient = format!("a@{domain}");
        let message = world.send(&[&recipient]).await;
        world.until(message, &[&format!("{recipient} bounced 5.7.1 1")]).await;
        assert_eq!(world.attempts(message).await, [format!("bounced 550 5.7.1 not this {recipient}")]);
        assert_eq!(
            world.number("select count(*) from suppression").await,
            0,
            "policy says nothing about the address"
        );
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_refusal_and_a_hang_up_in_one_breath_is_a_refusal(pool: PgPool) {
    // S08
    let peer = Peer::start(|_, line| match line {
        "DOT" => Say::Last("554 5.6.0 spam"),
        other => usual(other),
    })
    .await;
    let world = World::new(pool, peer.address.port(), |_| {}).await;
    world.serve("d.test", peer.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    world.until(message, &["a@d.test bounced 5.6.0 1"]).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_server_that_refuses_everybody_is_passed_over_for_the_next_and_without_one_mail_waits(pool: PgPool) {
    // S02: 5xx at the greeting, and at EHLO and HELO alike
    let banner = Sink::behaving(at("CONNECT", &line("554 no service"))).await;
    let port = banner.address.port();
    let hello = Sink::on(
        SocketAddr::from(([127, 0, 0, 2], port)),
        Behaviour::scripted(|moment| match moment.verb {
            "EHLO" | "HELO" => Reply::Line("550 5.7.1 not you".into()),
            _ => Reply::Usual,
        }),
    )
    .await;
    let willing = Sink::on(SocketAddr::from(([127, 0, 0, 3], port)), Behaviour::default()).await;
    let world = World::new(pool, port, |_| {}).await;
    for (name, ip) in [
        ("banner.mx.test", banner.address.ip()),
        ("hello.mx.test", hello.address.ip()),
        ("mx.test", willing.address.ip()),
    ] {
        world.dns.a(name, &[&ip.to_string()]);
    }
    world
        .dns
        .mx("three.test", &[(5, "banner.mx.test"), (10, "hello.mx.test"), (20, "mx.test")]);
    world.dns.mx("two.test", &[(5, "banner.mx.test"), (10, "hello.mx.test")]);
    let _worker = world.start();
    let (three, two) = (world.send(&["a@three.test"]).await, world.send(&["a@two.test"]).await);
    world.until(three, &["a@three.test delivered 2.0.0 1"]).await;
    world.until(two, &["a@two.test deferred 4.7.1 1"]).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_server_that_knows_only_helo_is_greeted_with_helo(pool: PgPool) {
    // S02
    let old = Sink::behaving(at("EHLO", &line("502 what?"))).await;
    let world = World::new(pool, old.address.port(), |_| {}).await;
    world.serve("d.test", old.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    world.until(message, &["a@d.test delivered 2.0.0 1"]).await;
    assert!(old.lines().contains(&format!("HELO {}", crate::world::HOSTNAME)));
}

#[sqlx::test(migrations = "../../migrations")]
async fn one_transaction_has_three_outcomes_and_the_delivered_one_is_never_sent_again(pool: PgPool) {
    // S03, S11
    let later = Arc::new(AtomicUsize::new(0));
    let sink = Sink::behaving(Behaviour::scripted(move |moment: &Moment<'_>| match moment.verb {
        "RCPT" if moment.line.contains("later@") && later.fetch_add(1, Ordering::SeqCst) == 0 => line("450 4.2.1 busy"),
        "RCPT" if moment.line.contains("never@") => line("550 5.1.1 unknown"),
        _ => Reply::Usual,
    }))
    .await;
    let world = World::new(pool, sink.address.port(), |config| {
        config.delivery.retry_schedule = vec![milliseconds(500)];
    })
    .await;
    world.serve("d.test", sink.address.ip());
    let _worker = world.start();
    let message = world.send(&["now@d.test", "later@d.test", "never@d.test"]).await;
    world
        .until(
            message,
            &[
                "now@d.test delivered 2.0.0 1",
                "later@d.test delivered 2.0.0 2",
                "never@d.test bounced 5.1.1 1",
            ],
        )
        .await;
    let mut first = world.attempts(message).await;
    let last = first.pop().unwrap();
    first.sort();
    assert_eq!(
        first,
        [
            "bounced 550 5.1.1 unknown never@d.test",
            "deferred 450 4.2.1 busy later@d.test",
            "delivered 250 2.0.0 queued as sink now@d.test"
        ]
    );
    assert_eq!(last, "delivered 250 2.0.0 queued as sink later@d.test");
    let to: Vec<Vec<String>> = sink.messages().into_iter().map(|message| message.to).collect();
    assert_eq!(to, [["now@d.test"], ["later@d.test"]]);
    let suppressed = world.texts("select address from suppression where message_id = $1", message).await;
    assert_eq!(suppressed, ["never@d.test"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_server_that_wants_content_although_it_took_nobody_delivers_to_nobody(pool: PgPool) {
    // S04
    let peer = Peer::start(|_, line| match line {
        "CONNECT" => Say::Line("220 peer"),
        line if line.starts_with("EHLO") => Say::Line("250-peer\r\n250 PIPELINING"),
        line if line.starts_with("RCPT") => Say::Line("450 4.2.1 later"),
        other => usual(other),
    })
    .await;
    let world = World::new(pool, peer.address.port(), |_| {}).await;
    world.serve("d.test", peer.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test", "b@d.test"]).await;
    world
        .until(message, &["a@d.test deferred 4.2.1 1", "b@d.test deferred 4.2.1 1"])
        .await;
    assert!(peer.messages().iter().all(|content| content == b".\r\n"), "content went to nobody");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_lost_answer_to_the_final_dot_is_tried_again_with_the_same_message_id_and_recorded(pool: PgPool) {
    // S06
    let peer = Peer::start(|connection, line| match line {
        "DOT" if connection == 1 => Say::Last(""),
        other => usual(other),
    })
    .await;
    let world = World::new(pool, peer.address.port(), |config| {
        config.delivery.retry_schedule = vec![milliseconds(200)];
    })
    .await;
    world.serve("d.test", peer.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    world.until(message, &["a@d.test delivered 2.0.0 2"]).await;
    let copies = peer.messages();
    assert_eq!(copies.len(), 2);
    assert!(copies.iter().all(|copy| copy.windows(15).any(|part| part == b"<1@sender.test>")));
    assert!(world.attempts(message).await[0].starts_with("in_doubt"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_accepted_message_is_delivered_whatever_happens_afterwards(pool: PgPool) {
    // S07: the connection is gone before QUIT
    let peer = Peer::start(|_, line| match line {
        "DOT" => Say::Last("250 2.0.0 mine"),
        other => usual(other),
    })
    .await;
    let world = World::new(pool, peer.address.port(), |_| {}).await;
    world.serve("d.test", peer.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    world.until(message, &["a@d.test delivered 2.0.0 1"]).await;
    assert_eq!(peer.messages().len(), 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn answers_that_come_octet_by_octet_or_in_a_hundred_lines_are_answers(pool: PgPool) {
    // S01
    let lines: &'static str = Box::leak(format!("{}250 2.0.0 done", "250-and\r\n".repeat(99)).into_boxed_str());
    let peer = Peer::start(move |_, line| match line {
        "CONNECT" => Say::Slowly("220-peer\r\n220 test"),
        "DOT" => Say::Slowly(lines),
        line if line.starts_with("RCPT") => Say::Slowly("250 2.1.5 ok"),
        line if line.starts_with("MAIL") => Say::Line(lines),
        other => usual(other),
    })
    .await;
    let world = World::new(pool, peer.address.port(), |_| {}).await;
    world.serve("d.test", peer.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    world.until(message, &["a@d.test delivered 2.0.0 1"]).await;
}
