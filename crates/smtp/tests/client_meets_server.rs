//! Our client against our server: what one says, the other understands.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod support;

use mail::{Address, Notify, Recipient, ReversePath};
use smtp::client::{Connection, Fault, ONE_ROUND_TRIP_OCTETS, Stage, Timeouts, Transaction, Unfit};
use smtp::server::Settings;
use support::{House, Served, serve_in_memory, settings, tls};
use tokio::io::DuplexStream;

fn to(addresses: &[&str]) -> Vec<Recipient> {
    addresses
        .iter()
        .map(|address| Recipient::new(Address::parse(address).unwrap()))
        .collect()
}

fn from(address: &str) -> ReversePath {
    ReversePath::parse(address).unwrap()
}

fn mail<'a>(sender: &'a ReversePath, recipients: &'a [Recipient], parts: &'a [&'a [u8]]) -> Transaction<'a> {
    Transaction {
        sender,
        recipients,
        envelope_id: None,
        headers_only: false,
        smtputf8: false,
        parts,
    }
}

async fn connected(house: House, settings: Settings) -> (Connection<DuplexStream>, Served) {
    let mut served = serve_in_memory(house, settings);
    let (replacement, _) = tokio::io::duplex(1);
    let stream = std::mem::replace(&mut served.client, replacement);
    let mut connection = Connection::new(stream, Timeouts::default());
    assert_eq!(connection.greeting().await.unwrap().code, 220);
    connection.hello("client.test").await.unwrap();
    (connection, served)
}

#[tokio::test]
async fn a_transaction_is_one_round_trip_with_chunking_and_two_without() {
    for (chunking, round_trips) in [(true, 1), (false, 2)] {
        let (mut connection, served) = connected(
            House {
                admit_everyone: true,
                ..House::default()
            },
            Settings { chunking, ..settings() },
        )
        .await;
        for number in 1..=3 {
            let (sender, recipients) = (from("ann@other.test"), to(&["bob@here.test", "carl@far.test"]));
            let report = connection
                .transaction(&mail(
                    &sender,
                    &recipients,
                    &[b"Received: x\r\n", b"Subject: y\r\n\r\n.dot\r\n", b".\r\n..\r\n"],
                ))
                .await;
            assert_eq!(report.round_trips, round_trips);
            assert!(
                !report.stale
                    && report
                        .fates
                        .iter()
                        .all(|fate| fate.as_ref().unwrap().text == format!("Accepted as {number}"))
            );
            let accepted = served.house.accepted.lock().unwrap();
            assert_eq!(
                &accepted.last().unwrap().1[..],
                b"Received: x\r\nSubject: y\r\n\r\n.dot\r\n.\r\n..\r\n"
            );
        }
        let transcript = connection.take_transcript();
        assert!(
            transcript.contains("> MAIL FROM:<ann@other.test> SIZE=40") && transcript.contains("[40 octets]"),
            "{transcript}"
        );
        assert!(!transcript.contains("RSET") && !transcript.contains("Subject"), "{transcript}");
        connection.quit().await;
    }
}

#[tokio::test]
async fn s03_each_recipient_has_a_fate_of_its_own() {
    for pipelining in [true, false] {
        let (mut connection, served) = connected(House::default(), settings()).await;
        if !pipelining {
            connection.hello_without_extensions().await;
        }
        let (sender, recipients) = (
            from("ann@other.test"),
            to(&["bob@here.test", "later@here.test", "unknown@here.test", "carl@here.test"]),
        );
        let report = connection.transaction(&mail(&sender, &recipients, &[b"x\r\n"])).await;
        let codes: Vec<u16> = report
            .fates
            .iter()
            .map(|fate| {
                fate.as_ref()
                    .map_or_else(|failure| failure.reply().unwrap().code, |reply| reply.code)
            })
            .collect();
        assert_eq!(codes, [250, 450, 550, 250]);
        assert!(!report.fates[1].as_ref().unwrap_err().is_permanent() && report.fates[2].as_ref().unwrap_err().is_permanent());
        assert_eq!(report.fates[2].as_ref().unwrap_err().enhanced().to_string(), "5.1.1");
        assert_eq!(served.house.accepted.lock().unwrap()[0].0.recipients.len(), 2);
    }
}

/// HELO on the same connection: what the client then may use is nothing.
trait WithoutExtensions {
    async fn hello_without_extensions(&mut self);
}

impl WithoutExtensions for Connection<DuplexStream> {
    async fn hello_without_extensions(&mut self) {
        // A name that EHLO refuses as malformed makes the client fall back, and HELO refuses it, too.
        assert!(self.hello("not a name").await.is_err());
        assert!(!self.extensions().esmtp);
    }
}

#[tokio::test]
async fn after_a_failed_transaction_the_connection_is_reset_and_used_again() {
    for chunking in [true, false] {
        let (mut connection, served) = connected(House::default(), Settings { chunking, ..settings() }).await;
        let sender = from("ann@other.test");
        let report = connection
            .transaction(&mail(&sender, &to(&["unknown@here.test"]), &[b"x\r\n"]))
            .await;
        assert!(report.fates[0].as_ref().is_err_and(|failure| failure.stage == Stage::Recipient));
        let report = connection
            .transaction(&mail(&from("denied@other.test"), &to(&["bob@here.test"]), &[b"x\r\n"]))
            .await;
        assert!(
            report.fates[0]
                .as_ref()
                .is_err_and(|failure| failure.stage == Stage::Mail && failure.is_permanent())
        );
        let report = connection
            .transaction(&mail(&sender, &to(&["bob@here.test"]), &[b"reject-me\r\n"]))
            .await;
        assert!(
            report.fates[0]
                .as_ref()
                .is_err_and(|failure| failure.stage == Stage::FinalDot && failure.is_permanent() && !failure.is_in_doubt())
        );
        let report = connection
            .transaction(&mail(&sender, &to(&["bob@here.test"]), &[b"fine\r\n"]))
            .await;
        assert!(report.fates[0].is_ok(), "{report:?}");
        assert!(connection.is_usable() && connection.take_transcript().contains("> RSET"));
        assert_eq!(served.house.accepted.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_large_message_waits_for_a_recipient_and_arrives_whole() {
    let mut settings = settings();
    settings.limits.max_message_bytes = 8_000_000;
    for chunking in [true, false] {
        let settings = Settings {
            chunking,
            limits: settings.limits,
            ..support::settings()
        };
        let (mut connection, served) = connected(House::default(), settings).await;
        let body = ".line with a dot\r\nline\r\n".repeat(200_000);
        assert!(body.len() > ONE_ROUND_TRIP_OCTETS);
        let sender = from("ann@other.test");
        let report = connection
            .transaction(&mail(&sender, &to(&["bob@here.test"]), &[b"Subject: big\r\n\r\n", body.as_bytes()]))
            .await;
        assert!(report.fates[0].is_ok(), "{report:?}");
        assert_eq!(report.round_trips, 2);
        let accepted = served.house.accepted.lock().unwrap();
        assert!(accepted[0].1.ends_with(body.as_bytes()) && accepted[0].1.len() == body.len() + 16);
    }
}

#[tokio::test]
async fn what_the_server_cannot_take_is_told_before_a_byte_is_sent() {
    let (mut connection, served) = connected(House::default(), settings()).await;
    let sender = from("ann@other.test");
    let unfit = |report: smtp::client::Report| match &report.fates[0].as_ref().unwrap_err().fault {
        Fault::Unfit(unfit) => *unfit,
        other => panic!("{other:?}"),
    };
    let big = vec![b'x'; 30_000];
    let report = connection.transaction(&mail(&sender, &to(&["bob@here.test"]), &[&big])).await;
    assert_eq!(unfit(report), Unfit::TooLarge { limit: 20_000 });
    let report = connection
        .transaction(&mail(&sender, &to(&["bob@here.test"]), &[b"a\n.\nb\r\n"]))
        .await;
    assert_eq!(unfit(report), Unfit::BareLineEnding);
    connection.hello_without_extensions().await;
    let report = connection
        .transaction(&mail(&sender, &to(&["bob@here.test"]), &["grüße\r\n".as_bytes()]))
        .await;
    assert_eq!(unfit(report), Unfit::EightBit);
    let report = connection
        .transaction(&mail(&sender, &to(&["ü@here.test", "bob@here.test"]), &[b"x\r\n"]))
        .await;
    assert_eq!(report.fates[0].as_ref().unwrap_err().enhanced().to_string(), "5.6.7");
    assert!(report.fates[1].is_ok());
    assert_eq!(served.house.accepted.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn dsn_wishes_8bit_and_utf8_are_passed_on() {
    let (mut connection, served) = connected(House::default(), settings()).await;
    let sender = from("ü@other.test");
    let mut recipients = to(&["bob@here.test"]);
    recipients[0].notify = Some(Notify::parse("SUCCESS,DELAY").unwrap());
    recipients[0].original_recipient = Some("rfc822;b+o b@here.test".to_owned());
    let parts: &[&[u8]] = &["grüße\r\n".as_bytes()];
    let transaction = Transaction {
        sender: &sender,
        recipients: &recipients,
        envelope_id: Some("id 1+"),
        headers_only: true,
        smtputf8: false,
        parts,
    };
    let report = connection.transaction(&transaction).await;
    assert!(report.fates[0].is_ok(), "{report:?}");
    let accepted = served.house.accepted.lock().unwrap();
    let envelope = &accepted[0].0;
    assert!(envelope.smtputf8 && envelope.eight_bit_declared && envelope.headers_only);
    assert_eq!(envelope.envelope_id.as_deref(), Some("id 1+"));
    assert_eq!(envelope.recipients, recipients);
}

#[tokio::test]
async fn starttls_and_auth_work_and_leave_no_secret_in_the_transcript() {
    let (server, client) = tls();
    let settings = Settings {
        tls: Some(server),
        require_tls_for_auth: true,
        ..settings()
    };
    let (mut connection, served) = connected(House::default(), settings).await;
    assert!(connection.extensions().starttls && !connection.extensions().auth_plain);
    connection
        .starttls(client, "mx.here.test".try_into().unwrap(), "client.test")
        .await
        .unwrap();
    assert!(!connection.extensions().starttls && connection.extensions().auth_plain && connection.tls().is_some());
    assert!(connection.peer_certificates().is_some_and(|chain| chain.len() == 1));
    assert_eq!(
        connection.authenticate("alice", "wrong").await.unwrap_err().reply().unwrap().code,
        535
    );
    connection.authenticate("alice", "secret").await.unwrap();
    let sender = from("ann@other.test");
    let report = connection.transaction(&mail(&sender, &to(&["carl@far.test"]), &[b"x\r\n"])).await;
    assert!(report.fates[0].is_ok());
    let transcript = connection.take_transcript();
    assert!(
        transcript.contains("> AUTH PLAIN [secret]") && !transcript.contains("AGFsaWNl"),
        "{transcript}"
    );
    connection.quit().await;
    assert_eq!(served.house.accepted.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn implicit_tls_comes_before_the_greeting() {
    let (server, client) = tls();
    let settings = Settings {
        tls: Some(server),
        implicit_tls: true,
        ..settings()
    };
    let served = serve_in_memory(House::default(), settings);
    let mut connection = Connection::new(served.client, Timeouts::default());
    connection.secure(client, "mx.here.test".try_into().unwrap()).await.unwrap();
    connection.greeting().await.unwrap();
    connection.hello("client.test").await.unwrap();
    assert!(!connection.extensions().starttls && connection.extensions().auth_plain);
    connection.quit().await;
}

#[tokio::test]
async fn a_certificate_that_is_not_accepted_is_a_tls_failure() {
    let (server, _) = tls();
    let (_, stranger) = tls();
    let settings = Settings {
        tls: Some(server),
        ..settings()
    };
    let (mut connection, _served) = connected(House::default(), settings).await;
    let failure = connection
        .starttls(stranger, "mx.here.test".try_into().unwrap(), "client.test")
        .await
        .unwrap_err();
    assert!(failure.stage == Stage::Tls && matches!(failure.fault, Fault::Tls(_)) && !failure.is_permanent());
    assert!(!connection.is_usable());
}
