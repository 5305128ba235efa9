//! The client against peers that misbehave at every stage (ASSURANCE §2.10).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::time::Duration;

use mail::{Address, Recipient, ReversePath};
use smtp::client::{Connection, Failure, Fault, Report, Stage, Timeouts, Transaction};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

/// A peer that answers by prefix of what it hears: `CONNECT`, each command line, `DOT` after content. The first entry that fits is used up,
/// unless it is the last of its kind. `close` hangs up, `stall` says nothing for ever.
fn peer(script: &'static [(&'static str, &'static str)]) -> DuplexStream {
    let (client, server) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let mut script: Vec<_> = script.to_vec();
        let mut server = BufReader::new(server);
        let mut heard = "CONNECT".to_owned();
        loop {
            let found = script.iter().position(|(prefix, _)| heard.starts_with(prefix));
            let answer = found.map_or("250 ok\r\n", |at| {
                let (prefix, answer) = script[at];
                if script.iter().filter(|(other, _)| *other == prefix).count() > 1 {
                    script.remove(at);
                }
                answer
            });
            match answer {
                "close" => return,
                "stall" => std::future::pending().await,
                answer => {
                    for octet in answer.as_bytes() {
                        if server.get_mut().write_all(&[*octet]).await.is_err() {
                            return;
                        }
                    }
                    if answer.starts_with("421") {
                        return;
                    }
                    if !answer.ends_with('\n') {
                        std::future::pending::<()>().await;
                    }
                }
            }
            if heard.starts_with("DATA") && answer.starts_with("354") {
                let mut line = String::new();
                while line != ".\r\n" {
                    line.clear();
                    if server.read_line(&mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                heard = "DOT".to_owned();
                continue;
            }
            heard.clear();
            if server.read_line(&mut heard).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(rest) = heard.strip_prefix("BDAT ") {
                let size: usize = rest.split(' ').next().unwrap().trim().parse().unwrap();
                let mut content = vec![0; size];
                if server.read_exact(&mut content).await.is_err() {
                    return;
                }
            }
        }
    });
    client
}

const PLAIN: &str = "250 sink\r\n";
const PIPELINING: &str = "250-sink\r\n250 PIPELINING\r\n";
const CHUNKING: &str = "250-sink\r\n250-PIPELINING\r\n250 CHUNKING\r\n";

fn timeouts() -> Timeouts {
    Timeouts {
        quit: Duration::from_millis(50),
        ..Timeouts::default()
    }
}

async fn connected(script: &'static [(&'static str, &'static str)]) -> Connection<DuplexStream> {
    let mut connection = Connection::new(peer(script), timeouts());
    connection.greeting().await.unwrap();
    connection.hello("client.test").await.unwrap();
    connection
}

async fn send(connection: &mut Connection<DuplexStream>, to: &[&str]) -> Report {
    let sender = ReversePath::parse("ann@other.test").unwrap();
    let recipients: Vec<Recipient> = to.iter().map(|address| Recipient::new(Address::parse(address).unwrap())).collect();
    let parts: &[&[u8]] = &[b"Subject: x\r\n\r\nbody\r\n"];
    let transaction = Transaction {
        sender: &sender,
        recipients: &recipients,
        envelope_id: None,
        headers_only: false,
        smtputf8: false,
        parts,
    };
    connection.transaction(&transaction).await
}

fn only(report: Report) -> Failure {
    report.fates.into_iter().next().unwrap().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn s02_a_refusing_greeting_and_a_server_without_ehlo() {
    let mut connection = Connection::new(peer(&[("CONNECT", "554 5.7.1 not you\r\n")]), timeouts());
    let failure = connection.greeting().await.unwrap_err();
    assert!(failure.stage == Stage::Banner && failure.is_permanent());
    let mut connection = Connection::new(
        peer(&[("CONNECT", "220 x\r\n"), ("EHLO", "500 what\r\n"), ("HELO", "250 x\r\n")]),
        timeouts(),
    );
    connection.greeting().await.unwrap();
    connection.hello("client.test").await.unwrap();
    assert!(!connection.extensions().esmtp && connection.is_usable());
}

#[tokio::test(start_paused = true)]
async fn every_stage_fails_as_what_it_is() {
    // (reply at the stage, is it a refusal, is it permanent)
    let answers = [
        ("450 4.2.1 later\r\n", true, false),
        ("550 5.1.1 never\r\n", true, true),
        ("421 4.3.2 bye\r\n", true, false),
        ("close", false, false),
        ("stall", false, false),
        ("blah\r\n", false, false),
        ("250-a\r\n550 b\r\n", false, false),
        ("650 x\r\n", false, false),
        ("250 ", false, false),
    ];
    for hello in [PLAIN, PIPELINING] {
        for (verb, stage) in [
            ("MAIL", Stage::Mail),
            ("RCPT", Stage::Recipient),
            ("DATA", Stage::Data),
            ("DOT", Stage::FinalDot),
        ] {
            for (answer, refusal, permanent) in answers {
                let script: Vec<(&'static str, &'static str)> =
                    vec![("CONNECT", "220 sink\r\n"), ("EHLO", hello), (verb, answer), ("DATA", "354 go\r\n")];
                let mut connection = connected(script.leak()).await;
                let failure = only(send(&mut connection, &["bob@far.test"]).await);
                let case = format!("{verb} answered {answer:?} after {hello:?}: {failure:?}");
                assert_eq!(failure.stage, stage, "{case}");
                assert_eq!(failure.reply().is_some(), refusal, "{case}");
                assert_eq!(failure.is_permanent(), permanent, "{case}");
                assert_eq!(failure.is_in_doubt(), stage == Stage::FinalDot && !refusal, "{case}");
                assert_eq!(connection.is_usable(), refusal && !answer.starts_with("421"), "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s06_with_everything_in_one_write_a_lost_answer_is_in_doubt() {
    for verb in ["MAIL", "RCPT", "BDAT"] {
        let script: Vec<(&'static str, &'static str)> = vec![("CONNECT", "220 sink\r\n"), ("EHLO", CHUNKING), (verb, "close")];
        let mut connection = connected(script.leak()).await;
        let failure = only(send(&mut connection, &["bob@far.test"]).await);
        assert!(failure.is_in_doubt(), "the whole message was sent, who knows: {verb} {failure:?}");
    }
    let mut connection = connected(&[
        ("CONNECT", "220 sink\r\n"),
        ("EHLO", CHUNKING),
        ("RCPT", "550 5.1.1 no\r\n"),
        ("BDAT", "503 5.5.1 no\r\n"),
    ])
    .await;
    let failure = only(send(&mut connection, &["bob@far.test"]).await);
    assert!(failure.stage == Stage::Recipient && failure.is_permanent() && connection.is_usable());
}

#[tokio::test(start_paused = true)]
async fn s04_a_354_after_all_recipients_failed_gets_a_lone_dot_and_delivers_to_nobody() {
    let mut connection = connected(&[
        ("CONNECT", "220 sink\r\n"),
        ("EHLO", PIPELINING),
        ("RCPT", "550 5.1.1 no\r\n"),
        ("DATA", "354 go\r\n"),
        ("DOT", "250 ok\r\n"),
    ])
    .await;
    let report = send(&mut connection, &["bob@far.test", "carl@far.test"]).await;
    assert!(report.fates.iter().all(|fate| {
        fate.as_ref()
            .is_err_and(|failure| failure.stage == Stage::Recipient && failure.is_permanent())
    }));
    assert!(connection.is_usable());
    assert!(connection.take_transcript().ends_with("> .\n< 250 ok\n"));
}

#[tokio::test(start_paused = true)]
async fn s03_a_mix_is_kept_apart_and_a_421_midway_takes_the_rest_along() {
    let script: &[(&str, &str)] = &[
        ("CONNECT", "220 sink\r\n"),
        ("EHLO", PIPELINING),
        ("RCPT TO:<a@", "550 5.1.1 no\r\n"),
        ("RCPT TO:<b@", "421 4.3.2 bye\r\n"),
    ];
    let mut connection = connected(Box::leak(script.to_vec().into_boxed_slice())).await;
    let report = send(&mut connection, &["a@far.test", "b@far.test", "c@far.test"]).await;
    let codes: Vec<_> = report
        .fates
        .iter()
        .map(|fate| fate.as_ref().unwrap_err().reply().unwrap().code)
        .collect();
    assert_eq!(codes, [550, 421, 421]);
    assert!(!report.stale && !connection.is_usable());
}

#[tokio::test(start_paused = true)]
async fn s05_s13_an_idle_connection_that_ended_is_stale_and_costs_nothing() {
    for goodbye in ["421 4.4.2 idle\r\n", "close"] {
        let script: Vec<(&'static str, &'static str)> = vec![
            ("CONNECT", "220 sink\r\n"),
            ("EHLO", CHUNKING),
            ("NOOP", "250"),
            (
                "BDAT",
                if goodbye == "close" {
                    "250 ok\r\n"
                } else {
                    "250 ok\r\n421 4.4.2 idle\r\n"
                },
            ),
        ];
        let mut connection = connected(script.leak()).await;
        let report = send(&mut connection, &["bob@far.test"]).await;
        assert!(report.fates[0].is_ok() && !report.stale);
        if goodbye == "close" {
            continue;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let report = send(&mut connection, &["bob@far.test"]).await;
        assert!(report.stale, "{report:?}");
        assert_eq!(report.round_trips, 0);
        assert!(!connection.is_usable() && !report.fates[0].as_ref().unwrap_err().is_in_doubt());
    }
}

#[tokio::test(start_paused = true)]
async fn s08_a_refusal_in_the_middle_of_the_content_is_heard_although_writing_fails() {
    let (client, server) = tokio::io::duplex(2048);
    tokio::spawn(async move {
        let mut server = BufReader::new(server);
        server.get_mut().write_all(b"220 x\r\n").await.unwrap();
        for answer in ["250 x\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            let mut line = String::new();
            server.read_line(&mut line).await.unwrap();
            server.get_mut().write_all(answer.as_bytes()).await.unwrap();
        }
        let mut some = [0; 1000];
        server.read_exact(&mut some).await.unwrap();
        server.get_mut().write_all(b"552 5.3.4 enough\r\n").await.unwrap();
    });
    let mut connection = Connection::new(client, timeouts());
    connection.greeting().await.unwrap();
    connection.hello("client.test").await.unwrap();
    let sender = ReversePath::Null;
    let recipients = [Recipient::new(Address::parse("bob@far.test").unwrap())];
    let body = "x\r\n".repeat(100_000);
    let parts: &[&[u8]] = &[body.as_bytes()];
    let report = connection
        .transaction(&Transaction {
            sender: &sender,
            recipients: &recipients,
            envelope_id: None,
            headers_only: false,
            smtputf8: false,
            parts,
        })
        .await;
    let failure = only(report);
    assert!(
        failure.stage == Stage::Body && failure.is_permanent() && !failure.is_in_doubt(),
        "{failure:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn t02_plaintext_behind_the_reply_to_starttls_aborts() {
    let (_, config) = {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        (
            (),
            std::sync::Arc::new(
                rustls::ClientConfig::builder()
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth(),
            ),
        )
    };
    let (client, mut server) = tokio::io::duplex(4096);
    tokio::spawn(async move {
        let mut heard = [0; 512];
        server.write_all(b"220 x\r\n").await.unwrap();
        assert!(server.read(&mut heard).await.unwrap() > 0);
        server.write_all(b"250-x\r\n250 STARTTLS\r\n").await.unwrap();
        assert!(server.read(&mut heard).await.unwrap() > 0);
        server.write_all(b"220 go\r\n250 injected\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let mut connection = Connection::new(client, timeouts());
    connection.greeting().await.unwrap();
    connection.hello("client.test").await.unwrap();
    let failure = connection
        .starttls(config, "x.test".try_into().unwrap(), "client.test")
        .await
        .unwrap_err();
    assert!(failure.stage == Stage::StartTls && matches!(failure.fault, Fault::Garbage(_)) && !connection.is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_fills_both_buffers_does_not_deadlock() {
    // It answers each RCPT with a long reply, and reads on only when its own words are taken.
    let (client, server) = tokio::io::duplex(1024);
    tokio::spawn(async move {
        let mut server = BufReader::new(server);
        server.get_mut().write_all(b"220 x\r\n").await.unwrap();
        loop {
            let mut line = String::new();
            if server.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let answer = match &line[..4] {
                "EHLO" => PIPELINING.to_owned(),
                "DATA" => "554 5.5.1 no\r\n".to_owned(),
                _ => format!("250 {}\r\n", "y".repeat(400)),
            };
            if server.get_mut().write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let mut connection = Connection::new(client, timeouts());
    connection.greeting().await.unwrap();
    connection.hello("client.test").await.unwrap();
    let to: Vec<String> = (0..500).map(|number| format!("r{number}@far.test")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let report = tokio::time::timeout(Duration::from_secs(60), send(&mut connection, &to))
        .await
        .unwrap();
    assert!(
        report
            .fates
            .iter()
            .all(|fate| fate.as_ref().is_err_and(|failure| failure.stage == Stage::Data))
    );
}

#[tokio::test(start_paused = true)]
async fn s10_the_final_answer_is_waited_for_ten_minutes() {
    let mut connection = connected(&[("CONNECT", "220 sink\r\n"), ("EHLO", CHUNKING), ("BDAT", "stall")]).await;
    let before = tokio::time::Instant::now();
    let failure = only(send(&mut connection, &["bob@far.test"]).await);
    assert!(failure.is_in_doubt() && failure.fault == Fault::Timeout);
    assert_eq!(before.elapsed().as_secs(), 600);
}
