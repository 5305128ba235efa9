//! Whatever a stranger sends or publishes, verifying it ends, and in verdicts.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use dns::ScriptedResolver;
use mail::ReversePath;
use mailauth::{
    authentication_results,
    dkim::{Algorithm, Signer, generate, record_value, sign},
    remove_forged,
    verify::{DmarcResult, Inbound, Verifier},
};
use std::sync::Arc;

/// xorshift: the same damage in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn damaged(&mut self, text: &[u8]) -> Vec<u8> {
        let pieces: [&[u8]; 16] = [
            b"",
            b"\r\n",
            b"\n",
            b" ",
            b";",
            b"=",
            b"%{",
            b"}",
            b"/",
            b":",
            b"\0",
            b"\xff",
            b"\"",
            b"(",
            b"@",
            b"\r\n\r\n",
        ];
        let mut text = text.to_vec();
        for _ in 0..=self.below(3) {
            let from = self.below(text.len() + 1);
            let to = (from + self.below(4)).min(text.len());
            text.splice(from..to, pieces[self.below(pieces.len())].iter().copied());
        }
        text
    }
}

#[tokio::test]
async fn damage_to_messages_and_records_ends_in_verdicts() {
    let key = generate(Algorithm::Ed25519Sha256).unwrap();
    let signer = Signer::new(Algorithm::Ed25519Sha256, &key.pkcs8, "a.test", "s1").unwrap();
    let plain =
        b"Authentication-Results: (x) mx.our.test; spf=pass\r\nFrom: \"A, b\" <a@a.test>, a@a.test\r\nTo: c@our.test\r\n\r\nhello\r\n";
    let fine = [sign(&[plain], &[&signer], 1).unwrap().as_slice(), plain].concat();
    let records = [
        (
            "a.test",
            "v=spf1 include:%{d1r-}.a.test a:%{i}.a.test/24//64 mx ptr exists:%{p}.a.test ip4:192.0.2.1/31 redirect=b.test",
        ),
        ("_dmarc.a.test", "v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; aspf=r; t=y"),
        ("s1._domainkey.a.test", &record_value(Algorithm::Ed25519Sha256, &key.public_key)),
    ];
    let mail_from = ReversePath::parse("x@a.test").unwrap();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut passed = 0;
    for round in 0..3000 {
        let resolver = ScriptedResolver::new();
        for (name, text) in records {
            let text = if round % 2 == 0 {
                text.as_bytes().to_vec()
            } else {
                random.damaged(text.as_bytes())
            };
            resolver.txt(name, &[&String::from_utf8_lossy(&text)]);
        }
        let raw = if round % 3 == 0 { fine.clone() } else { random.damaged(&fine) };
        let helo = String::from_utf8_lossy(&random.damaged(b"mail.a.test")).into_owned();
        let verdicts = Verifier::new(Arc::new(resolver))
            .verify(Inbound {
                client: "192.0.2.1".parse().unwrap(),
                helo: &helo,
                mail_from: if round % 5 == 0 { &ReversePath::Null } else { &mail_from },
                hostname: "mx.our.test",
                raw: &raw,
            })
            .await;
        passed += usize::from(verdicts.dmarc.result == DmarcResult::Pass);
        let field = authentication_results("mx.our.test", &verdicts, &mail_from, &helo);
        assert_eq!(field.matches("\r\n").count(), field.matches("\r\n\t").count() + 1);
        assert!(remove_forged(&raw, "mx.our.test").len() <= raw.len());
    }
    assert!((500..3000).contains(&passed), "{passed}");
}
