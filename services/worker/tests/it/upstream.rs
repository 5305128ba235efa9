//! Relay mode: everything to one upstream server; and TLS towards servers (ASSURANCE N16, T02, T12).

use crate::world::{HOSTNAME, World, milliseconds};
use config::{Mode, Relay, RelayTls};
use dns::{Guard, ScriptedResolver};
use mail::{Address, Recipient, ReversePath};
use postroad_worker::dial::{Clients, Dialer};
use smtp::client::{Timeouts, Transaction};
use std::{sync::Arc, time::Duration};
use store::PgPool;
use testkit::{
    Sink,
    certificates::Certificate,
    sink::{Behaviour, Reply},
};

/// `\0user\0pass word`
const LOGIN: &str = "AHVzZXIAcGFzcyB3b3Jk";

fn submission_server(certificate: &Certificate) -> Behaviour {
    Behaviour::default()
        .offering(&["PIPELINING", "8BITMIME", "AUTH PLAIN LOGIN"])
        .with_tls(certificate.server())
}

fn relay(sink: &Sink, tls: RelayTls) -> Relay {
    Relay {
        host: "127.0.0.1".into(),
        port: sink.address.port(),
        implicit_tls: false,
        tls,
        login: Some(("user".into(), "pass word".to_owned().into())),
    }
}

async fn relaying(pool: PgPool, relay: Relay) -> World {
    World::new(pool, 1, |config| {
        config.delivery.mode = Mode::Relay;
        config.delivery.relay = Some(relay);
        config.delivery.retry_schedule = vec![milliseconds(300)];
    })
    .await
}

#[sqlx::test(migrations = "../../migrations")]
async fn everything_goes_to_the_upstream_server_logged_in_and_encrypted(pool: PgPool) {
    let sink = Sink::behaving(submission_server(&Certificate::for_names(&["elsewhere.test"]))).await;
    let world = relaying(pool, relay(&sink, RelayTls::Opportunistic)).await;
    let _worker = world.start();
    // No DNS is asked: none of these domains exists.
    let messages = [
        world.send(&["a@one.test"]).await,
        world.send(&["b@two.test", "c@[192.0.2.1]"]).await,
    ];
    world.until(messages[0], &["a@one.test delivered 2.0.0 1"]).await;
    world
        .until(messages[1], &["b@two.test delivered 2.0.0 1", "c@[192.0.2.1] delivered 2.0.0 1"])
        .await;
    for message in sink.messages() {
        assert_eq!(
            (message.tls, message.auth.as_deref(), message.helo.as_str()),
            (true, Some(LOGIN), HOSTNAME)
        );
    }
    assert!(
        world
            .dns
            .asked()
            .iter()
            .all(|(name, _)| !name.ends_with("one.test") && !name.ends_with("two.test"))
    );
    let tls = world
        .texts("select coalesce(tls, 'clear') from attempt where message_id = $1", messages[0])
        .await;
    assert!(tls[0].starts_with("TLS"), "{tls:?}");
    assert!(
        !world.transcript(messages[0]).await.contains(LOGIN),
        "the password is in the transcript"
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_certificate_that_does_not_hold_keeps_the_mail_and_the_password_here(pool: PgPool) {
    // T12: required TLS never falls back
    let sink = Sink::behaving(submission_server(&Certificate::for_names(&["127.0.0.1"]))).await;
    let world = relaying(pool, relay(&sink, RelayTls::Required)).await;
    let _worker = world.start();
    let message = world.send(&["a@one.test"]).await;
    testkit::eventually("two tries", || async { (world.attempts(message).await.len() >= 2).then_some(()) }).await;
    assert!(world.deliveries(message).await[0].starts_with("a@one.test deferred 4.7.5"));
    assert!(sink.messages().is_empty());
    assert!(
        sink.lines()
            .iter()
            .all(|line| !line.starts_with("AUTH") && !line.starts_with("MAIL")),
        "{:?}",
        sink.lines()
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_upstream_server_without_starttls_or_with_words_put_before_the_handshake_gets_nothing(pool: PgPool) {
    // T02, T12
    let bare = Sink::behaving(Behaviour::default().offering(&["AUTH PLAIN"])).await;
    let certificate = Certificate::for_names(&["127.0.0.1"]);
    let injected = Sink::behaving(
        Behaviour::scripted(|moment| match moment.verb {
            "STARTTLS" => Reply::Raw(b"220 2.0.0 go on\r\n250-evil.test\r\n250 AUTH PLAIN\r\n".to_vec()),
            _ => Reply::Usual,
        })
        .with_tls(certificate.server()),
    )
    .await;
    for sink in [&bare, &injected] {
        let dialer = dialer(relay(sink, RelayTls::Required), &certificate);
        let unreachable = dialer.dial("one.test", 1).await.unwrap_err();
        assert_eq!(unreachable.fate.outcome, store::models::AttemptOutcome::Deferred);
        assert!(
            sink.lines()
                .iter()
                .all(|line| !line.starts_with("AUTH") && !line.starts_with("MAIL"))
        );
    }
    let transcript = dialer(relay(&injected, RelayTls::Required), &certificate)
        .dial("one.test", 1)
        .await
        .unwrap_err()
        .transcript;
    assert!(transcript.contains("plaintext after the reply to STARTTLS"), "{transcript}");
    pool.close().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_upstream_server_that_refuses_the_login_keeps_the_mail_waiting(pool: PgPool) {
    let sink = Sink::behaving(
        Behaviour::scripted(|moment| match moment.verb {
            "AUTH" => Reply::Line("535 5.7.8 wrong".into()),
            _ => Reply::Usual,
        })
        .offering(&["AUTH PLAIN"])
        .with_tls(Certificate::for_names(&["x.test"]).server()),
    )
    .await;
    let world = relaying(pool, relay(&sink, RelayTls::Opportunistic)).await;
    let _worker = world.start();
    let message = world.send(&["a@one.test"]).await;
    testkit::eventually("a try", || async { (!world.attempts(message).await.is_empty()).then_some(()) }).await;
    let found = world.deliveries(message).await.remove(0);
    assert!(
        found.starts_with("a@one.test deferred 4.7.8"),
        "the operator's mistake bounces nobody's mail: {found}"
    );
}

fn dialer(relay: Relay, trusted: &Certificate) -> Dialer {
    Dialer {
        resolver: Arc::new(ScriptedResolver::new()),
        guard: Guard::default(),
        mode: Mode::Relay,
        relay: Some(relay),
        port: 25,
        hello: HOSTNAME.into(),
        own_name: None,
        own_addresses: Vec::new(),
        connect_timeout: Duration::from_secs(5),
        timeouts: Timeouts::default(),
        tls: Clients::verifying_with(trusted.client()).unwrap(),
    }
}

#[tokio::test]
async fn a_certificate_that_holds_is_enough_for_starttls_and_for_tls_from_the_first_octet() {
    let certificate = Certificate::for_names(&["127.0.0.1"]);
    let starttls = Sink::behaving(submission_server(&certificate)).await;
    let implicit = Sink::behaving(
        Behaviour::default()
            .offering(&["AUTH LOGIN PLAIN"])
            .with_implicit_tls(certificate.server()),
    )
    .await;
    for (sink, from_the_first) in [(&starttls, false), (&implicit, true)] {
        let relay = Relay {
            implicit_tls: from_the_first,
            ..relay(sink, RelayTls::Required)
        };
        let mut dialled = dialer(relay, &certificate).dial("one.test", 1).await.unwrap();
        let report = dialled
            .connection
            .transaction(&Transaction {
                sender: &ReversePath::Null,
                recipients: &[Recipient::new(Address::parse("a@one.test").unwrap())],
                envelope_id: None,
                headers_only: false,
                smtputf8: false,
                parts: &[b"Subject: x\r\n\r\ny\r\n"],
            })
            .await;
        assert!(report.fates[0].is_ok(), "{report:?}");
        let message = sink.wait(1).await.remove(0);
        assert_eq!((message.tls, message.auth.as_deref()), (true, Some(LOGIN)));
    }
    let elsewhere = Relay {
        host: "localhost".into(), // the certificate is for the address only
        ..relay(&starttls, RelayTls::Required)
    };
    let refused = dialer(elsewhere, &certificate).dial("one.test", 1).await.unwrap_err();
    assert_eq!(refused.fate.enhanced, Some(mail::EnhancedCode(4, 7, 5)));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_stranger_with_any_certificate_gets_encrypted_mail_and_one_with_broken_tls_gets_it_in_clear(pool: PgPool) {
    // N16, T12
    let any = Sink::behaving(Behaviour::default().with_tls(Certificate::for_names(&["wrong.test"]).server())).await;
    let broken = Sink::on(
        ([127, 0, 0, 2], any.address.port()).into(),
        Behaviour::scripted(|moment| match (moment.verb, moment.message.connection) {
            ("STARTTLS", 1) => Reply::Raw(b"220 go on\r\nthis is no TLS\r\n".to_vec()),
            _ => Reply::Usual,
        })
        .with_tls(Certificate::for_names(&["x.test"]).server()),
    )
    .await;
    let refusing = Sink::on(
        ([127, 0, 0, 3], any.address.port()).into(),
        Behaviour::scripted(|moment| match moment.verb {
            "STARTTLS" => Reply::Line("454 4.7.0 not now".into()),
            _ => Reply::Usual,
        })
        .with_tls(Certificate::for_names(&["x.test"]).server()),
    )
    .await;
    let world = World::new(pool, any.address.port(), |_| {}).await;
    let _worker = world.start();
    for (domain, sink, encrypted) in [
        ("any.test", &any, true),
        ("broken.test", &broken, false),
        ("refusing.test", &refusing, false),
    ] {
        world.serve(domain, sink.address.ip());
        let recipient = format!("a@{domain}");
        let message = world.send(&[&recipient]).await;
        world.until(message, &[&format!("{recipient} delivered 2.0.0 1")]).await;
        assert_eq!(sink.messages()[0].tls, encrypted, "{domain}");
        let tls = world
            .texts("select coalesce(tls, 'clear') from attempt where message_id = $1", message)
            .await;
        assert_eq!(tls[0].starts_with("TLS"), encrypted, "{domain}: {tls:?}");
    }
}
