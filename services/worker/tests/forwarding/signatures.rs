//! The author's DKIM signature after forwarding, judged by an implementation that is not ours: dkimpy signs and dkimpy verifies.

use crate::{
    shapes,
    world::{STRANGE, World},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mailauth::dkim::{Algorithm, generate, record_value};
use std::{
    collections::HashSet,
    io::Write,
    process::{Command, Stdio},
};
use store::PgPool;

const CANONICALIZATIONS: [&str; 3] = ["relaxed/relaxed", "relaxed/simple", "simple/simple"];

/// Runs dkimpy over all lines at once.
fn dkimpy(arguments: &[&str], lines: &[String]) -> Vec<String> {
    let debian = "/usr/bin/python3"; // has Debian's packages, whatever else stands in PATH
    let python = if std::path::Path::new(debian).exists() { debian } else { "python3" };
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/forwarding/dkimpy_batch.py"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 with python3-dkim is needed to check signatures: run scripts/bootstrap.sh");
    // It reads everything before it says anything; one that cannot start closes its end.
    let written = child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && written.is_ok(),
        "dkimpy failed, and says above why; without python3-dkim nothing can be checked: run scripts/bootstrap.sh"
    );
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A key file for dkimpy, gone with the test, and the record that belongs to it.
fn key() -> (tempfile::NamedTempFile, String) {
    let made = generate(Algorithm::RsaSha256).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let encoded = STANDARD.encode(&made.pkcs8[..]);
    writeln!(file, "-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----").unwrap();
    (file, record_value(Algorithm::RsaSha256, &made.public_key))
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_authors_signature_survives_forwarding_whatever_the_message_looks_like(pool: PgPool) {
    let shapes = shapes::all();
    assert!(shapes.len() >= 50, "{}", shapes.len());
    let (file, record) = key();
    let world = World::new(pool).await;
    world.dns.txt("sel._domainkey.author.test", &[&record]);
    // Were the signature not found right on arrival, the message would be refused.
    world.dns.txt("_dmarc.author.test", &["v=DMARC1; p=reject"]);
    world.alias("shop", &["me@home.test"]).await;
    world.start();

    let mut cases = Vec::new();
    for canonicalization in CANONICALIZATIONS {
        cases.extend(shapes.iter().map(|shape| (canonicalization, shape)));
    }
    let lines: Vec<String> = cases
        .iter()
        .map(|(canonicalization, shape)| format!("{canonicalization}\t{}", STANDARD.encode(&shape.raw)))
        .collect();
    let signed: Vec<Vec<u8>> = dkimpy(&["sign", file.path().to_str().unwrap()], &lines)
        .iter()
        .map(|line| STANDARD.decode(line).unwrap())
        .collect();
    assert_eq!(signed.len(), cases.len());

    for ((canonicalization, shape), raw) in cases.iter().zip(&signed) {
        let mut arrival = world.arrival(STRANGE, "anna@author.test", &["shop@mine.test"], raw);
        arrival.envelope.smtputf8 = shape.utf8;
        let taken = world.assembly.intake.receive(arrival).await;
        assert!(taken.is_ok(), "{} {canonicalization}: {taken:?}", shape.name);
    }
    world.settled().await;
    let arrived = world.sink.messages();
    assert_eq!(arrived.len(), cases.len(), "{:?}", failures(&world).await);

    let mut found = Vec::new();
    let mut used = HashSet::new();
    for ((canonicalization, shape), raw) in cases.iter().zip(&signed) {
        // SMTP cannot end a message without ending its last line.
        let ended = if raw.ends_with(b"\r\n") {
            raw.clone()
        } else {
            [raw, &b"\r\n"[..]].concat()
        };
        let at = arrived
            .iter()
            .position(|message| message.data.ends_with(&ended) || message.data.ends_with(raw));
        let at = at.unwrap_or_else(|| panic!("{} {canonicalization}: not byte for byte", shape.name));
        assert!(used.insert(at), "{} {canonicalization}: found twice", shape.name);
        found.push(&arrived[at].data);
    }
    let mut lines = vec![record];
    lines.extend(found.iter().map(|data| STANDARD.encode(data)));
    // The judge must be able to say no: the last message once more, changed.
    let changed = String::from_utf8_lossy(found[0]).replace("nothing special", "nothing  much");
    lines.push(STANDARD.encode(changed));
    let mut verdicts = dkimpy(&["verify"], &lines);
    assert_eq!(verdicts.pop().as_deref(), Some("fail"));
    let broken: Vec<String> = cases
        .iter()
        .zip(&verdicts)
        .filter(|(_, verdict)| *verdict != "pass")
        .map(|((canonicalization, shape), verdict)| format!("{} {canonicalization}: {verdict}", shape.name))
        .collect();
    assert_eq!((verdicts.len(), broken), (cases.len(), Vec::new()));
}

async fn failures(world: &World) -> Vec<String> {
    world
        .texts("select m.subject || ': ' || d.status || ' ' || coalesce(d.reason, '') from delivery d join message m on m.id = d.message_id where d.status <> 'delivered'")
        .await
}
