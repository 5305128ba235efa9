//! Shared by the tests of verification.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dns::{Configuration, HickoryResolver, ScriptedResolver};
use mail::ReversePath;
use mailauth::verify::{Inbound, Verdicts, Verifier};
use serde_json::Value;
use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
    process::{Command, Stdio},
    sync::Arc,
};

/// What dkimpy made.
pub(crate) struct Signed {
    /// Selector and TXT record.
    pub(crate) records: Vec<(String, String)>,
    /// The messages, in the order of the jobs.
    pub(crate) signed: Vec<Vec<u8>>,
}

/// Signs the `text` of each job with dkimpy (see `dkimpy_sign.py`).
pub(crate) fn dkimpy(task: &Value) -> Signed {
    let mut task = task.clone();
    for job in task["jobs"].as_array_mut().unwrap() {
        job["message"] = STANDARD.encode(job["text"].as_str().unwrap()).into();
    }
    // Debian's own interpreter has Debian's packages, whatever else stands in PATH.
    let debian = "/usr/bin/python3";
    let python = if std::path::Path::new(debian).exists() { debian } else { "python3" };
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dkimpy_sign.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 with python3-dkim is needed to make signatures: run scripts/bootstrap.sh");
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(task.to_string().as_bytes()));
    let output = child.wait_with_output().unwrap();
    let written = writer.join().unwrap();
    assert!(
        output.status.success() && written.is_ok(),
        "dkimpy could not run: are python3-dkim and python3-nacl installed?"
    );
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Signed {
        records: answer["records"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, record)| (name.clone(), text(record)))
            .collect(),
        signed: answer["signed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|raw| STANDARD.decode(text(raw)).unwrap())
            .collect(),
    }
}

pub(crate) fn pem(pkcs8: &[u8]) -> String {
    format!(
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n",
        STANDARD.encode(pkcs8)
    )
}

pub(crate) fn verifier(resolver: ScriptedResolver) -> Verifier {
    Verifier::new(Arc::new(resolver))
}

/// Over a name server on a socket.
pub(crate) fn over(server: &testkit::dns::Server) -> Verifier {
    let configuration = Configuration {
        servers: vec![server.address],
        ..Configuration::default()
    };
    Verifier::new(Arc::new(HickoryResolver::new(&configuration).unwrap()))
}

pub(crate) fn inbound(raw: &[u8]) -> Inbound<'_> {
    Inbound {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        helo: "mail.a.test",
        mail_from: &ReversePath::Null,
        hostname: "mx.our.test",
        raw,
    }
}

pub(crate) async fn verify(verifier: &Verifier, raw: &[u8]) -> Verdicts {
    verifier.verify(inbound(raw)).await
}
