//! Independent implementations check our signatures: dkimpy (Python) and mail-auth (Rust).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use mailauth::dkim::{Algorithm, Signer, generate, record_value, sign};
use std::{
    io::Write,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

struct World {
    signers: Vec<Signer>,
    records: Vec<(String, String)>,
}

impl World {
    fn new() -> Self {
        let (mut signers, mut records) = (Vec::new(), Vec::new());
        for (algorithm, selector) in [(Algorithm::RsaSha256, "r1"), (Algorithm::Ed25519Sha256, "e1")] {
            let key = generate(algorithm).unwrap();
            signers.push(Signer::new(algorithm, &key.pkcs8, "a.test", selector).unwrap());
            records.push((format!("{selector}._domainkey.a.test"), record_value(algorithm, &key.public_key)));
        }
        Self { signers, records }
    }

    fn signed(&self, raw: &[u8]) -> Vec<u8> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let signers: Vec<&Signer> = self.signers.iter().collect();
        let mut sent = [sign(&[raw], &signers, now).unwrap().as_slice(), raw].concat();
        // SMTP ends every message with a line end; the signature was made before that.
        if !sent.ends_with(b"\r\n") {
            sent.extend_from_slice(b"\r\n");
        }
        sent
    }

    /// What dkimpy says of each message, one line each.
    fn dkimpy(&self, messages: &[Vec<u8>]) -> Vec<String> {
        let mut input: String = self.records.iter().map(|(name, record)| format!("{name}\t{record}\n")).collect();
        input.push('\n');
        for message in messages {
            input.push_str(&STANDARD.encode(message));
            input.push('\n');
        }
        // Debian's own interpreter has Debian's packages, whatever else stands in PATH.
        let debian = "/usr/bin/python3";
        let python = if std::path::Path::new(debian).exists() { debian } else { "python3" };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dkimpy.py");
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 with python3-dkim is needed to check signatures: run scripts/bootstrap.sh");
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let written = writer.join().unwrap();
        assert!(
            output.status.success() && written.is_ok(),
            "dkimpy could not run: are python3-dkim and python3-nacl installed?"
        );
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

const HEADERS: &str = "Received: from somewhere\r\nFrom: =?utf-8?q?B=C3=BCro?= <a@a.test>\r\nTo: b@b.test,\r\n\t\"C  D\" <c@c.test>\r\n\
     Cc:\r\nSubject:  a \t folded\r\n  subject  \r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@a.test>\r\n\
     MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nList-Id: <l.a.test>\r\nX-Other: x\r\n";

fn message(body: &str) -> Vec<u8> {
    format!("{HEADERS}\r\n{body}").into_bytes()
}

/// xorshift: the same bodies in every run.
fn random_bodies(count: usize) -> Vec<String> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 40).unwrap()
    };
    let pieces = [
        " ", "\t", "\r\n", "\r\n\r\n", "a", "word", ".", "é", "  ", "\r\n ", "=20", "From: x",
    ];
    (0..count)
        .map(|_| (0..next() % 40).map(|_| pieces[next() % pieces.len()]).collect())
        .collect()
}

#[test]
fn dkimpy_accepts_both_signatures_whatever_the_body() {
    let world = World::new();
    let mut bodies = random_bodies(400);
    bodies.extend(
        [
            "",
            "\r\n",
            "hello\r\n \r\n",
            " \r\n",
            "hello\r\n ",
            "\t\r\n\r\n",
            "no line end",
            &"x ".repeat(40_000),
        ]
        .map(str::to_owned),
    );
    let mut messages: Vec<Vec<u8>> = bodies.iter().map(|body| world.signed(&message(body))).collect();
    messages.push(world.signed(b"From: a@a.test\r\n")); // no body, not even the empty line
    messages.push(world.signed(b"from:a@a.test\r\nTO: x@b.test\r\nTo: y@b.test\r\n\r\nx\r\n"));
    let results = world.dkimpy(&messages);
    assert_eq!(results.len(), messages.len());
    for (message, result) in messages.iter().zip(results) {
        assert_eq!(result, "pass pass", "{}", String::from_utf8_lossy(message));
    }
}

#[test]
fn dkimpy_refuses_what_was_changed() {
    let world = World::new();
    let signed = String::from_utf8(world.signed(&message("hello\r\n"))).unwrap();
    let changed = [
        signed.replace("hello", "hullo"),
        signed.replace("folded", "unfolded"),
        signed.replace("To: b@b.test", "To: x@b.test"),
        signed.replace("d=a.test", "d=b.test"),
        format!("From: other@evil.test\r\n{signed}"), // oversigned
        signed.replace("X-Other: x\r\n", "From: other@evil.test\r\n"),
    ];
    for (message, result) in changed
        .iter()
        .zip(world.dkimpy(&changed.iter().map(|m| m.clone().into_bytes()).collect::<Vec<_>>()))
    {
        assert_eq!(result, "fail fail", "{message}");
    }
    let harmless = signed
        .replace("X-Other: x", "X-Other: y")
        .replace("Received: from somewhere\r\n", "Received: by us\r\nReceived: x\r\n");
    assert_eq!(world.dkimpy(&[harmless.into_bytes()]), ["pass pass"]);
}

#[tokio::test]
async fn mail_auth_accepts_both_signatures() {
    let world = World::new();
    let server = testkit::dns::Server::start().await;
    for (name, record) in &world.records {
        server.set(name, "TXT", &[record]);
    }
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.address.port();
        connection
    });
    let config = ResolverConfig::from_parts(
        None,
        Vec::new(),
        vec![NameServerConfig::new(server.address.ip(), true, connections.into())],
    );
    let verifier = MessageAuthenticator::new(config, ResolverOpts::default()).unwrap();
    // Not bodies that end in lines of blanks: this version of mail-auth hashes them wrongly.
    for body in ["", "hello\r\n", "a  b\t c \r\n\r\n\r\nd\r\n\r\n", "é\r\n.\r\n"] {
        let signed = world.signed(&message(body));
        let parsed = AuthenticatedMessage::parse(&signed).unwrap();
        let results = verifier.verify_dkim(&parsed).await;
        assert_eq!(results.len(), 2);
        for result in results {
            assert_eq!(result.result(), &DkimResult::Pass, "{body:?}");
        }
    }
}
