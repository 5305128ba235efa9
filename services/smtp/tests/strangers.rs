//! Mail from those who have not logged in: nothing is relayed, bounces come home, floods are capped.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod support;

use sqlx::PgPool;
use support::{MESSAGE, send, world};
use testkit::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[sqlx::test(migrations = "../../migrations")]
async fn o01_to_o25_nobody_relays(pool: PgPool) {
    let world = world(pool, &[]).await;
    for from in ["", "x@other.test", "app@sender.test", "x@[127.0.0.1]", "x@localhost"] {
        for to in [
            "v@other.test",
            "v%other.test@sender.test",
            "v%other.test@[127.0.0.1]",
            "\"v@other.test\"",
            "\"v@other.test\"@sender.test",
            "v@other.test@sender.test",
            "@sender.test:v@other.test",
            "@sender.test,@x.test:v@other.test",
            "other.test!v",
            "other.test!v@sender.test",
            "v@OTHER.test.",
            "v@evilsender.test",
            "v@sender.test.evil.test",
            "v@[127.0.0.1]",
            "v@other.test(c)",
            "Postmaster",
        ] {
            let mut client = world.client().await;
            assert!(client.say(&format!("MAIL FROM:<{from}>")).await.starts_with("250"));
            let answer = client.say(&format!("RCPT TO:<{to}>")).await;
            assert!(answer.starts_with('5') || answer.starts_with("421"), "{from} -> {to}: {answer}");
            if answer.starts_with('5') {
                assert!(client.say("DATA").await.starts_with("503"));
            }
        }
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn l04_an_unknown_recipient_is_told_from_relaying(pool: PgPool) {
    let world = world(pool, &[]).await;
    let mut client = world.client().await;
    assert!(client.say("MAIL FROM:<x@other.test>").await.starts_with("250"));
    assert!(client.say("RCPT TO:<nobody@sender.test>").await.starts_with("550 5.1.1"));
    assert!(client.say("RCPT TO:<v@other.test>").await.starts_with("550 5.7.1"));
    assert!(client.say("RCPT TO:<Postmaster>").await.starts_with("550 5.1.1"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn g12_whoever_runs_this_host_is_its_postmaster(pool: PgPool) {
    let world = world(pool, &[]).await;
    let owner = store::users::NewUser {
        email: "owner@home.test",
        name: "Owner",
        password_hash: "none",
        instance_admin: true,
    };
    let owner = store::users::insert(&world.pool, owner).await.unwrap();
    store::users::add_member(&world.pool, world.organization, owner.id, store::users::MemberRole::Owner)
        .await
        .unwrap();
    let (mut stranger, mut known) = (world.client().await, world.logged_in().await);
    assert!(stranger.say("MAIL FROM:<x@other.test>").await.starts_with("250"));
    for to in ["Postmaster", "postmaster@MX.postroad.test"] {
        assert!(stranger.say(&format!("RCPT TO:<{to}>")).await.starts_with("250"), "{to}");
    }
    assert!(stranger.say("RCPT TO:<abuse@mx.postroad.test>").await.starts_with("550 5.7.1"));
    assert_eq!(&send(&mut known, "app@sender.test", &["Postmaster"], MESSAGE).await[..3], "250");
    let recipients: Vec<String> = sqlx::query_scalar("select recipient from delivery")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(recipients, ["postmaster@sender.test"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn unknown_recipients_end_in_a_throttle(pool: PgPool) {
    let world = world(pool, &[("POSTROAD_LIMITS__UNKNOWN_RECIPIENTS_PER_ADDRESS", "3")]).await;
    let mut client = world.client().await;
    client.say("MAIL FROM:<x@other.test>").await;
    for number in 0..3 {
        assert!(
            client
                .say(&format!("RCPT TO:<u{number}@sender.test>"))
                .await
                .starts_with("550 5.1.1")
        );
    }
    assert!(client.say("RCPT TO:<u4@sender.test>").await.starts_with("421 4.7.0"));
    assert_eq!(client.reply().await, "");
}

#[sqlx::test(migrations = "../../migrations")]
async fn o27_only_a_genuine_return_path_takes_a_bounce_and_only_from_the_null_sender(pool: PgPool) {
    let world = world(pool, &[]).await;
    let mut author = world.logged_in().await;
    assert!(
        send(&mut author, "app@sender.test", &["gone@rcpt.test"], MESSAGE)
            .await
            .starts_with("250")
    );
    let message: sqlx::types::Uuid = sqlx::query_scalar("select id from message").fetch_one(&world.pool).await.unwrap();
    // As the worker leaves it.
    sqlx::query("update delivery set status = 'delivered', finished_at = now()")
        .execute(&world.pool)
        .await
        .unwrap();
    let address = format!("{}@sender.test", world.return_paths.encode(*message.as_bytes(), 0));
    let mut client = world.client().await;
    assert!(client.say("MAIL FROM:<x@other.test>").await.starts_with("250"));
    let answer = client.say(&format!("RCPT TO:<{address}>")).await;
    assert!(answer.starts_with("550 5.7.1"), "{answer}");
    client.say("RSET").await;
    assert!(client.say("MAIL FROM:<>").await.starts_with("250"));
    let forged = address
        .replacen("b+a", "b+b", 1)
        .replacen("b+2", "b+3", 1)
        .replacen("b+0", "b+1", 1);
    let mut letters: Vec<char> = forged.chars().collect();
    letters[10] = if letters[10] == 'a' { 'b' } else { 'a' };
    let forged: String = letters.into_iter().collect();
    let answer = client.say(&format!("RCPT TO:<{forged}>")).await;
    assert!(answer.starts_with("550 5.7.1"), "{forged}: {answer}");
    let answer = client.say(&format!("RCPT TO:<{address}>")).await;
    assert!(answer.starts_with("250"), "{address}: {answer}");
    assert!(client.say("DATA").await.starts_with("354"));
    let report = "From: mailer@rcpt.test\r\nSubject: failed\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain\r\n\r\nsorry\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.rcpt.test\r\n\r\n\
        Final-Recipient: rfc822; gone@rcpt.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--";
    let answer = client.say(&format!("{report}\r\n.")).await;
    assert!(answer.starts_with("250 2.0.0"), "{answer}");
    let status: String = sqlx::query_scalar("select status::text from delivery")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(status, "bounced");
}

#[sqlx::test(migrations = "../../migrations")]
async fn r03_r04_too_many_connections_are_told_so(pool: PgPool) {
    let world = world(
        pool,
        &[
            ("POSTROAD_SMTP__MAX_CONNECTIONS_PER_ADDRESS", "2"),
            ("POSTROAD_SMTP__MAX_CONNECTIONS", "3"),
        ],
    )
    .await;
    let first = world.client().await;
    let _second = world.client().await;
    let mut third = Client::new(TcpStream::connect(world.address).await.unwrap());
    assert!(third.reply().await.starts_with("421 4.7.0"));
    drop(first);
    testkit::eventually("a place to be free again", async || {
        let mut client = Client::new(TcpStream::connect(world.address).await.unwrap());
        client.reply().await.starts_with("220").then_some(())
    })
    .await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn o30_a_proxy_header_counts_from_trusted_networks_only(pool: PgPool) {
    let header = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
        &[192, 0, 2, 9, 192, 0, 2, 1, 0x10, 0, 0, 25],
    ]
    .concat();
    let trusting = world(pool.clone(), &[("POSTROAD_SMTP__PROXY_NETWORKS", "127.0.0.0/8")]).await;
    trusting
        .credential(store::smtp_credentials::SmtpCredentialType::Network, &["192.0.2.9/32"], &[])
        .await;
    let mut stream = TcpStream::connect(trusting.address).await.unwrap();
    stream.write_all(&header).await.unwrap();
    let mut client = Client::new(stream);
    assert!(client.reply().await.starts_with("220"));
    client.say("EHLO client.test").await;
    assert!(
        send(&mut client, "app@sender.test", &["ann@rcpt.test"], MESSAGE)
            .await
            .starts_with("250"),
        "admitted as the client behind the balancer"
    );
    let mut bare = TcpStream::connect(trusting.address).await.unwrap();
    bare.write_all(b"EHLO client.test, no header\r\n").await.unwrap();
    assert_eq!(bare.read(&mut [0; 100]).await.unwrap_or(0), 0, "dropped");
}

#[sqlx::test(migrations = "../../migrations")]
async fn o30_from_others_a_proxy_header_is_a_protocol_error(pool: PgPool) {
    let world = world(pool, &[]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream
        .write_all(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\xc0\0\x02\x01\x10\0\0\x19")
        .await
        .unwrap();
    let mut client = Client::new(stream);
    assert!(client.reply().await.starts_with("554 5.5.0"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn g01_who_speaks_before_the_greeting_is_not_listened_to(pool: PgPool) {
    let world = world(pool, &[]).await;
    for _ in 0..5 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(b"EHLO eager.test\r\nMAIL FROM:<x@other.test>\r\n").await.unwrap();
        let mut client = Client::new(stream);
        assert!(client.reply().await.starts_with("554 5.5.0"));
        assert_eq!(client.reply().await, "");
    }
}
