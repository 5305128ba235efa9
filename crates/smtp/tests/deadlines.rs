//! What takes too long, on a clock that the tests move (ASSURANCE R01, R02, T06, P7), and STARTTLS's clean cut (T01–T05).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use smtp::server::{End, Memory, Settings};
use support::{House, Served, serve_in_memory, settings, tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};

async fn heard(served: &mut Served) -> String {
    let mut buffer = vec![0; 4096];
    let count = served.client.read(&mut buffer).await.unwrap();
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

async fn say(served: &mut Served, line: &str) -> String {
    served.client.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    heard(served).await
}

async fn in_data(house: House, settings: Settings) -> Served {
    let mut served = serve_in_memory(house, settings);
    assert!(heard(&mut served).await.starts_with("220"));
    for (line, code) in [
        ("EHLO client.test", "250"),
        ("MAIL FROM:<a@other.test>", "250"),
        ("RCPT TO:<bob@here.test>", "250"),
        ("DATA", "354"),
    ] {
        assert!(say(&mut served, line).await.starts_with(code));
    }
    served
}

#[tokio::test(start_paused = true)]
async fn r01_a_command_has_one_deadline_however_many_octets_trickle() {
    let mut served = serve_in_memory(House::default(), settings());
    heard(&mut served).await;
    let before = Instant::now();
    let trickle = async {
        loop {
            sleep(Duration::from_secs(10)).await;
            if served.client.write_all(b"N").await.is_err() {
                break;
            }
            let mut buffer = [0; 200];
            if let Ok(Ok(count)) = timeout(Duration::from_millis(1), served.client.read(&mut buffer)).await {
                assert!(buffer[..count].starts_with(b"421 4.4.2"));
                break;
            }
        }
    };
    trickle.await;
    assert!((300..330).contains(&before.elapsed().as_secs()));
    assert_eq!(served.session.await.unwrap(), End::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn r01_content_must_keep_the_minimum_rate() {
    let mut served = in_data(House::default(), settings()).await;
    let before = Instant::now();
    // 100 octets every 10 seconds: a tenth of the rate. The grant of 180 s is used up, plus what the octets earned.
    while before.elapsed() < Duration::from_secs(3600) {
        sleep(Duration::from_secs(10)).await;
        if served.client.write_all(&[b'x'; 100]).await.is_err() || served.session.is_finished() {
            break;
        }
    }
    assert!((180..260).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
    assert_eq!(served.session.await.unwrap(), End::TimedOut);
    assert!(served.house.accepted.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn content_that_keeps_the_rate_may_take_long() {
    let mut settings = settings();
    settings.limits.max_message_bytes = 10_000_000;
    let mut served = in_data(House::default(), settings).await;
    for _ in 0..100 {
        sleep(Duration::from_secs(10)).await;
        served.client.write_all(&[b'x'; 6000]).await.unwrap();
    }
    assert!(say(&mut served, "\r\n.").await.starts_with("250"));
}

#[tokio::test(start_paused = true)]
async fn r02_a_client_that_reads_nothing_is_dropped() {
    let (client, server) = tokio::io::duplex(64);
    let house = Arc::new(House::default());
    let stop = tokio_util::sync::CancellationToken::new();
    let session = tokio::spawn(smtp::server::serve(server, support::peer(), house, Arc::new(settings()), stop));
    let (mut read, mut write) = tokio::io::split(client);
    let _ = read.read(&mut [0; 64]).await.unwrap();
    let before = Instant::now();
    while write.write_all(b"HELP\r\n").await.is_ok() && !session.is_finished() {}
    assert_eq!(session.await.unwrap(), End::TimedOut);
    assert!(before.elapsed() < Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn t06_a_stalled_handshake_is_dropped() {
    let settings = Settings {
        tls: Some(tls().0),
        ..settings()
    };
    let mut served = serve_in_memory(House::default(), settings);
    heard(&mut served).await;
    assert!(say(&mut served, "STARTTLS").await.starts_with("220 2.0.0"));
    let before = Instant::now();
    assert_eq!(served.session.await.unwrap(), End::TimedOut);
    assert!(before.elapsed() <= Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn t06_garbage_for_a_handshake_is_dropped_at_once() {
    for garbage in [
        &b"EHLO x\r\n\r\n\r\n"[..],
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02",
    ] {
        let settings = Settings {
            tls: Some(tls().0),
            implicit_tls: true,
            ..settings()
        };
        let mut served = serve_in_memory(House::default(), settings);
        served.client.write_all(garbage).await.unwrap();
        let _ = served.client.shutdown().await;
        assert_eq!(served.session.await.unwrap(), End::Tls);
    }
}

#[tokio::test]
async fn t01_t03_plaintext_behind_starttls_is_never_answered_and_all_is_forgotten() {
    let (server, client) = tls();
    let mut served = serve_in_memory(
        House::default(),
        Settings {
            tls: Some(server),
            ..settings()
        },
    );
    heard(&mut served).await;
    assert!(say(&mut served, "EHLO client.test").await.contains("STARTTLS"));
    assert!(say(&mut served, "AUTH PLAIN AGFsaWNlAHNlY3JldA==").await.starts_with("235"));
    assert!(say(&mut served, "MAIL FROM:<a@other.test>").await.starts_with("250"));
    let answer = say(&mut served, "STARTTLS\r\nNOOP\r\nEHLO injected.test").await;
    assert_eq!(answer, "220 2.0.0 Ready to start TLS\r\n");
    let connector = tokio_rustls::TlsConnector::from(client);
    let mut stream = connector.connect("mx.here.test".try_into().unwrap(), served.client).await.unwrap();
    stream.write_all(b"MAIL FROM:<a@other.test>\r\n").await.unwrap();
    let mut buffer = [0; 512];
    let count = stream.read(&mut buffer).await.unwrap();
    assert!(
        buffer[..count].starts_with(b"503 5.5.1 Say EHLO first"),
        "{}",
        String::from_utf8_lossy(&buffer[..count])
    );
    stream.write_all(b"EHLO client.test\r\n").await.unwrap();
    let count = stream.read(&mut buffer).await.unwrap();
    let offer = String::from_utf8_lossy(&buffer[..count]).into_owned();
    assert!(!offer.contains("STARTTLS") && offer.contains("AUTH PLAIN LOGIN"));
    for (line, answer) in [
        ("STARTTLS", "503 5.5.1"),
        ("MAIL FROM:<a@other.test>", "250"),
        ("RCPT TO:<carl@far.test>", "550 5.7.1"),
    ] {
        stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(
            buffer[..count].starts_with(answer.as_bytes()),
            "the login was forgotten: {line} {}",
            String::from_utf8_lossy(&buffer[..count])
        );
    }
}

#[tokio::test]
async fn t10_a_connection_cut_in_the_middle_of_content_stores_nothing() {
    let mut served = in_data(House::default(), settings()).await;
    served.client.write_all(b"Subject: half\r\n\r\nbody\r\n").await.unwrap();
    drop(served.client);
    assert_eq!(served.session.await.unwrap(), End::Gone);
    assert!(served.house.accepted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn p7_an_idle_session_is_told_421_on_stop() {
    let mut served = serve_in_memory(House::default(), settings());
    heard(&mut served).await;
    say(&mut served, "EHLO client.test").await;
    served.stop.cancel();
    assert!(heard(&mut served).await.starts_with("421 4.3.2"));
    drop(served.client);
    assert_eq!(served.session.await.unwrap(), End::Stopped);
}

#[tokio::test]
async fn p7_content_on_its_way_is_finished_and_answered_before_the_421() {
    let hold = Arc::new(tokio::sync::Notify::new());
    let mut served = in_data(
        House {
            hold_message: Some(Arc::clone(&hold)),
            ..House::default()
        },
        settings(),
    )
    .await;
    served.stop.cancel();
    served.client.write_all(b"x\r\n").await.unwrap();
    tokio::task::yield_now().await;
    served.client.write_all(b".\r\n").await.unwrap();
    hold.notify_one();
    let mut answer = heard(&mut served).await;
    if !answer.contains("421") {
        answer.push_str(&heard(&mut served).await);
    }
    assert!(answer.starts_with("250 2.0.0 Accepted as 1\r\n421 4.3.2"), "{answer}");
    assert_eq!(served.house.accepted.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn r07_when_memory_is_used_up_the_message_is_452_and_the_session_lives() {
    let memory = Arc::new(Memory::new(10_000));
    let mut served = in_data(
        House::default(),
        Settings {
            memory: Arc::clone(&memory),
            ..settings()
        },
    )
    .await;
    served.client.write_all("x".repeat(15_000).as_bytes()).await.unwrap();
    assert!(say(&mut served, "\r\n.").await.starts_with("452 4.3.1"));
    assert_eq!(memory.used(), 0);
    assert!(
        say(&mut served, "MAIL FROM:<a@other.test> SIZE=15000")
            .await
            .starts_with("452 4.3.1")
    );
    assert!(say(&mut served, "MAIL FROM:<a@other.test> SIZE=5000").await.starts_with("250"));
}

#[tokio::test]
async fn the_greeting_pause_catches_those_who_do_not_wait() {
    let mut patient = settings();
    patient.limits.greeting_pause = Duration::from_millis(200);
    let mut served = serve_in_memory(House::default(), patient);
    tokio::time::sleep(Duration::from_millis(20)).await;
    served.client.write_all(b"EHLO eager.test\r\n").await.unwrap();
    assert!(heard(&mut served).await.starts_with("554 5.5.0"));
    let mut patient = settings();
    patient.limits.greeting_pause = Duration::from_millis(20);
    let mut served = serve_in_memory(House::default(), patient);
    assert!(heard(&mut served).await.starts_with("220"));
}

#[test]
fn an_idle_session_is_small() {
    let (_, server) = tokio::io::duplex(1);
    let future = smtp::server::serve(
        server,
        support::peer(),
        Arc::new(House::default()),
        Arc::new(settings()),
        tokio_util::sync::CancellationToken::new(),
    );
    let octets = std::mem::size_of_val(&future);
    assert!(octets < 3 * 1024, "a session's future has {octets} octets");
}
