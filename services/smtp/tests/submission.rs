//! Mail from applications: who may send what, and that 250 means it is in the database.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod support;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use sqlx::PgPool;
use store::smtp_credentials::SmtpCredentialType;
use support::{MESSAGE, base64, log_in, send, verified_domain, world};
use testkit::eventually;

#[sqlx::test(migrations = "../../migrations")]
async fn p1_what_is_acknowledged_is_in_the_database(pool: PgPool) {
    let world = world(pool, &[]).await;
    let mut client = world.logged_in().await;
    let answer = send(&mut client, "app@sender.test", &["ann@rcpt.test", "bob@rcpt.test"], MESSAGE).await;
    assert!(answer.starts_with("250 2.0.0 Queued as msg_"), "{answer}");
    let (envelope, deliveries): (String, i64) =
        sqlx::query_as("select m.envelope_sender, (select count(*) from delivery d where d.message_id = m.id) from message m")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!((envelope.as_str(), deliveries), ("app@sender.test", 2));
    let raw: Vec<u8> = sqlx::query_scalar("select raw from content").fetch_one(&world.pool).await.unwrap();
    let raw = String::from_utf8(raw).unwrap();
    assert!(raw.ends_with("\r\n\r\nbody\r\n") && raw.contains("ESMTPA"), "{raw}");
    assert!(
        !raw.contains("127.0.0.1"),
        "a submission does not tell where its author sits: {raw}"
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a13_nobody_sends_as_a_domain_that_is_not_theirs(pool: PgPool) {
    let world = world(pool, &[]).await;
    let mut client = world.logged_in().await;
    for sender in ["ceo@bank.test", "x@[127.0.0.1]", "x@sub.sender.test"] {
        let answer = client.say(&format!("MAIL FROM:<{sender}>")).await;
        assert!(answer.starts_with("550 5.7.1"), "{sender}: {answer}");
    }
    let forged = MESSAGE.replace("app@sender.test", "ceo@bank.test");
    let answer = send(&mut client, "app@sender.test", &["ann@rcpt.test"], &forged).await;
    assert!(answer.starts_with("550 5.7.1"), "{answer}");
    assert_eq!(world.messages().await, 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn o29_a_domain_of_another_organization_is_not_theirs_either(pool: PgPool) {
    let world = world(pool, &[]).await;
    let other = store::ids::OrganizationId::generate();
    store::organizations::insert(&world.pool, other, "Others").await.unwrap();
    verified_domain(&world.pool, other, "others.test").await;
    let mut client = world.logged_in().await;
    assert!(client.say("MAIL FROM:<x@others.test>").await.starts_with("550 5.7.1"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_credential_sends_only_as_its_allowed_addresses(pool: PgPool) {
    let world = world(pool, &[]).await;
    let (credential, password) = world.credential(SmtpCredentialType::Password, &[], &["noreply@sender.test"]).await;
    let mut client = world.client().await;
    let answer = log_in(
        &mut client,
        &credential.username,
        config::ExposeSecret::expose_secret(&password.unwrap()),
    )
    .await;
    assert!(answer.starts_with("235"));
    assert!(client.say("MAIL FROM:<app@sender.test>").await.starts_with("550 5.7.1"));
    assert!(client.say("MAIL FROM:<noreply@sender.test>").await.starts_with("250"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_network_credential_admits_its_peers_without_login(pool: PgPool) {
    let world = world(pool, &[]).await;
    world.credential(SmtpCredentialType::Network, &["127.0.0.0/8"], &[]).await;
    let mut client = world.client().await;
    let answer = send(&mut client, "app@sender.test", &["ann@rcpt.test"], MESSAGE).await;
    assert!(answer.starts_with("250 2.0.0"), "{answer}");
    assert!(client.say("MAIL FROM:<ceo@bank.test>").await.starts_with("550 5.7.1"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a12_a_withdrawn_credential_stops_working_on_open_sessions(pool: PgPool) {
    let world = world(pool, &[]).await;
    let mut client = world.logged_in().await;
    assert!(client.say("MAIL FROM:<app@sender.test>").await.starts_with("250"));
    assert!(client.say("RSET").await.starts_with("250"));
    sqlx::query("update smtp_credential set revoked_at = now()")
        .execute(&world.pool)
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    let answer = client.say("MAIL FROM:<app@sender.test>").await;
    assert!(answer.starts_with("530 5.7.0"), "{answer}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a08_a10_wrong_passwords_are_all_told_the_same_until_the_address_is_cut_off(pool: PgPool) {
    let world = world(pool, &[("POSTROAD_LIMITS__FAILED_LOGINS_PER_ADDRESS", "5")]).await;
    let (username, password) = world.password().await;
    let mut client = world.client().await;
    for (name, secret) in [
        (username.as_str(), "wrong"),
        ("nobody", "wrong"),
        ("no such name!", "wrong"),
        (&username, ""),
        (&username, "x"),
        ("", "x"),
    ] {
        let answer = log_in(&mut client, name, secret).await;
        let expected = if name.is_empty() || secret.is_empty() {
            "501 5.5.2"
        } else {
            "535 5.7.8 Authentication credentials invalid"
        };
        assert!(answer.starts_with(expected), "{name}: {answer}");
    }
    log_in(&mut client, "nobody", "wrong").await;
    let answer = log_in(&mut client, &username, &password).await;
    assert!(answer.starts_with("421 4.7.0"), "{answer}");
    assert_eq!(client.reply().await, "", "closed");
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_cannot_be_accepted_is_refused_with_its_cause(pool: PgPool) {
    let world = world(pool, &[]).await;
    let mut client = world.logged_in().await;
    let looping = format!(
        "{}{MESSAGE}",
        "Received: from a by b; Fri, 20 Nov 2026 10:00:00 +0000\r\n".repeat(60)
    );
    for (content, code) in [(looping.as_str(), "554 5.4.6"), ("From: nonsense\r\n\r\nx", "554 5.6.0")] {
        let answer = send(&mut client, "app@sender.test", &["ann@rcpt.test"], content).await;
        assert!(answer.starts_with(code), "{answer}");
    }
    assert_eq!(world.messages().await, 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn when_the_database_is_away_the_answer_is_temporary(pool: PgPool) {
    let world = world(pool, &[]).await;
    let mut client = world.logged_in().await;
    let mut stranger = world.client().await;
    world.pool.close().await;
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    let answer = client.say("MAIL FROM:<app@sender.test>").await;
    assert!(answer.starts_with("451 4.3.0"), "{answer}");
    let answer = stranger.say(&format!("AUTH PLAIN {}", base64(b"\0app\0secret"))).await;
    assert!(answer.starts_with("454 4.7.0"), "{answer}");
    let mut newcomer = world.client().await;
    let answer = newcomer.say("MAIL FROM:<app@sender.test>").await;
    assert!(answer.starts_with("451 4.3.0"), "{answer}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_ordinary_mail_library_gets_through_with_starttls_and_with_implicit_tls(pool: PgPool) {
    let world = world(pool, &[("POSTROAD_SMTP__REQUIRE_TLS_FOR_AUTH", "true")]).await;
    let (username, password) = world.password().await;
    let message = || {
        let builder = Message::builder()
            .from("App <app@sender.test>".parse().unwrap())
            .to("ann@rcpt.test".parse().unwrap());
        builder.subject("Grüße").body("plain\n..dots\n".to_owned()).unwrap()
    };
    let parameters = TlsParameters::builder("mx.postroad.test".into())
        .dangerous_accept_invalid_certs(true)
        .dangerous_accept_invalid_hostnames(true)
        .build()
        .unwrap();
    for (address, tls) in [
        (world.address, Tls::Required(parameters.clone())),
        (world.tls_address, Tls::Wrapper(parameters.clone())),
    ] {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
            .port(address.port())
            .tls(tls)
            .credentials(Credentials::new(username.clone(), password.clone()))
            .build();
        let answer = transport.send(message()).await.unwrap();
        assert!(answer.is_positive());
    }
    assert_eq!(world.messages().await, 2);
    let raw: Vec<u8> = sqlx::query_scalar("select raw from content limit 1")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&raw).contains("ESMTPSA"));
}

#[sqlx::test(migrations = "../../migrations")]
async fn p7_a_stop_tells_idle_sessions_and_ends(pool: PgPool) {
    let mut world = world(pool, &[]).await;
    let mut idle = world.client().await;
    let mut busy = world.logged_in().await;
    assert!(busy.say("MAIL FROM:<app@sender.test>").await.starts_with("250"));
    assert!(busy.say("RCPT TO:<ann@rcpt.test>").await.starts_with("250"));
    assert!(busy.say("DATA").await.starts_with("354"));
    world.stop.cancel();
    assert!(idle.reply().await.starts_with("421 4.3.2"));
    drop(idle);
    eventually("the listener to close", async || {
        tokio::net::TcpStream::connect(world.address).await.is_err().then_some(())
    })
    .await;
    let answer = busy.say(&format!("{MESSAGE}\r\n.")).await;
    assert!(answer.starts_with("250 2.0.0"), "{answer}");
    assert!(busy.reply().await.starts_with("421 4.3.2"));
    drop(busy);
    (&mut world.running).await.unwrap().unwrap();
    assert_eq!(
        sqlx::query_scalar::<_, i64>("select count(*) from message")
            .fetch_one(&world.pool)
            .await
            .unwrap(),
        1
    );
}
