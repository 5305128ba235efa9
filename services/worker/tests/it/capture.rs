//! What leaves, byte for byte: signatures and the built-in mailbox.

use crate::world::{CONTENT, World};
use auth::secrets::Purpose;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use config::Mode;
use mailauth::dkim::{Algorithm, generate, record_value};
use std::{
    io::Write,
    process::{Command, Stdio},
};
use store::{PgPool, dkim_keys, ids::DkimKeyId, models::DkimAlgorithm};
use testkit::Sink;

/// Gives the world's domain active keys of both kinds. The answer is what its DNS would say.
async fn keys(world: &World) -> String {
    let mut records = String::new();
    for (algorithm, stored, selector) in [
        (Algorithm::RsaSha256, DkimAlgorithm::RsaSha256, "r1"),
        (Algorithm::Ed25519Sha256, DkimAlgorithm::Ed25519Sha256, "e1"),
    ] {
        let made = generate(algorithm).unwrap();
        let id = DkimKeyId::generate();
        let sealed = world.assembly.secrets.seal(Purpose::Dkim, &made.pkcs8, id.0.as_bytes());
        let new = dkim_keys::NewDkimKey {
            id,
            selector,
            algorithm: stored,
            private_key: &sealed,
            public_key: &made.public_key,
        };
        dkim_keys::insert(&world.pool, world.organization, world.domain, new).await.unwrap();
        records.push_str(&format!(
            "{selector}._domainkey.sender.test\t{}\n",
            record_value(algorithm, &made.public_key)
        ));
    }
    sqlx::query("update dkim_key set state = 'active'")
        .execute(&world.pool)
        .await
        .unwrap();
    records
}

/// What an independent implementation says of a message's signatures, from the top.
fn dkimpy(records: &str, message: &[u8]) -> String {
    let debian = "/usr/bin/python3"; // has Debian's packages, whatever else stands in PATH
    let python = if std::path::Path::new(debian).exists() { debian } else { "python3" };
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/mailauth/tests/dkimpy.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 with python3-dkim is needed to check signatures: run scripts/bootstrap.sh");
    let input = format!("{records}\n{}\n", STANDARD.encode(message));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "dkimpy could not run: are python3-dkim and python3-nacl installed?"
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_leaves_carries_two_signatures_that_another_implementation_accepts(pool: PgPool) {
    let sink = Sink::start().await;
    let world = World::new(pool, sink.address.port(), |_| {}).await;
    world.serve("d.test", sink.address.ip());
    let records = keys(&world).await;
    let _worker = world.start();
    world.send(&["a@d.test"]).await;
    let mut long = world.letter(&["b@d.test"]);
    let body = ".one dot\r\n..two\r\n \r\n caf\u{e9}\r\n".repeat(20_000); // not in one round trip, stuffed if need be, trailing blanks
    long.raw = format!("From: app@sender.test\r\nSubject: long\r\n\r\n{body}").into_bytes().into();
    world.accept(long).await;
    for message in sink.wait(2).await {
        assert_eq!(dkimpy(&records, &message.data), "pass pass", "{}", message.to[0]);
        let mut changed = message.data.clone();
        let last = changed.len() - 3;
        changed[last] ^= 1;
        assert_eq!(dkimpy(&records, &changed), "fail fail");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn only_our_fields_stand_before_what_came_in(pool: PgPool) {
    // V5
    let sink = Sink::start().await;
    let world = World::new(pool, sink.address.port(), |_| {}).await;
    world.serve("d.test", sink.address.ip());
    let _worker = world.start();
    let mut letter = world.letter(&["a@d.test"]);
    let raw = [CONTENT, b".\r\n..\r\n...x\r\n \t\r\n"].concat();
    letter.raw = raw.clone().into();
    world.accept(letter).await;
    let data = sink.wait(1).await.remove(0).data;
    let ours = data.strip_suffix(&raw[..]).expect("what came in is unchanged");
    let ours = std::str::from_utf8(ours).unwrap();
    assert!(
        ours.starts_with("Received: from client.test by mx.postroad.test") || ours.starts_with("Received: "),
        "{ours}"
    );
    assert_eq!(mail::header::Headers::scan(ours.as_bytes()).iter().count(), 1, "{ours}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn captured_mail_is_kept_as_it_would_have_left_and_nobody_is_dialled(pool: PgPool) {
    let sink = Sink::start().await;
    let world = World::new(pool, sink.address.port(), |config| config.delivery.mode = Mode::Capture).await;
    world.serve("d.test", sink.address.ip());
    let records = keys(&world).await;
    let _worker = world.start();
    let signed = world.send(&["a@d.test", "b@nowhere.test"]).await;
    let mut anybodys = world.letter(&["c@d.test"]);
    anybodys.envelope.sender = mail::ReversePath::parse("me@unverified.test").unwrap();
    anybodys.raw = bytes::Bytes::from_static(b"From: me@unverified.test\r\nSubject: x\r\n\r\nx\r\n");
    let unsigned = world.accept(anybodys).await;
    world
        .until(signed, &["a@d.test delivered 2.0.0 1", "b@nowhere.test delivered 2.0.0 1"])
        .await;
    world.until(unsigned, &["c@d.test delivered 2.0.0 1"]).await;
    let content = store::messages::content(&world.pool, world.organization, signed).await.unwrap();
    assert!(content.ends_with(CONTENT));
    assert_eq!(dkimpy(&records, &content), "pass pass");
    let mut large = world.letter(&["a@d.test", "b@e.test"]);
    large.raw = [CONTENT, &b"0123456789\r\n".repeat(100_000)].concat().into(); // fetched for each destination on its own
    let large = world.accept(large).await;
    world
        .until(large, &["a@d.test delivered 2.0.0 1", "b@e.test delivered 2.0.0 1"])
        .await;
    let content = store::messages::content(&world.pool, world.organization, large).await.unwrap();
    assert_eq!(dkimpy(&records, &content), "pass pass");
    let other = store::messages::content(&world.pool, world.organization, unsigned).await.unwrap();
    assert!(!String::from_utf8(other).unwrap().contains("DKIM-Signature"));
    assert_eq!((sink.connections(), world.dns.asked().len()), (0, 0));
    assert!(world.transcript(signed).await.contains("nobody was dialled"));
}
