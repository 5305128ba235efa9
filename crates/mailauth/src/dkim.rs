//! DKIM signatures (RFC 6376, RFC 8463): ours, relaxed/relaxed, and verifying those of others.
//!
//! Written on AWS-LC rather than taken from the `mail-auth` library, because that one reads the clock itself, hashes the body again for
//! each key, and in the newest version our compiler takes computes a wrong hash for bodies that end in blank lines. Two independent
//! verifiers (dkimpy and mail-auth) hold this code to the standard in its tests. The cost of a signature is RSA's; for 10 KB everything
//! else is a few per cent of it.

mod canonical;
mod keys;
mod rsa_key;
mod signature;
pub(crate) mod tags;
pub(crate) mod verify;

pub use verify::{MAX_HEADER_OCTETS, MAX_SIGNATURES};

pub use keys::{Algorithm, GenerateError, Generated, KeyError, generate, record_value};

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail::header::{Field, Headers};
use std::{borrow::Cow, fmt, fmt::Write as _};

/// What is signed, in the order of `h=`; every field of the name that the message has. Trace fields, which others add, are not.
const SIGNED: [&str; 20] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Help",
    "List-Post",
    "List-Subscribe",
    "List-Archive",
];

/// Why there is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// RFC 6376 §5.4: From must be signed.
    #[error("the message has no From field")]
    NoFrom,
    /// AWS-LC refused: out of memory, or a key that is none.
    #[error("the signature could not be made")]
    Failed,
}

enum Key {
    Rsa(aws_lc_rs::rsa::KeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A parsed key with the name it signs under. Make it once and keep it: parsing costs more than an Ed25519 signature.
pub struct Signer {
    domain: String,
    selector: String,
    key: Key,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}._domainkey.{}, {})", self.selector, self.domain, self.algorithm())
    }
}

impl Signer {
    /// A key in PKCS#8 DER for `selector._domainkey.domain` (A-labels).
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn new(algorithm: Algorithm, pkcs8: &[u8], domain: &str, selector: &str) -> Result<Self, KeyError> {
        let is_name =
            |text: &str| !text.is_empty() && text.len() <= 253 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !is_name(domain) || !is_name(selector) {
            return Err(KeyError::Name);
        }
        let key = match algorithm {
            Algorithm::RsaSha256 => Key::Rsa(keys::parse_rsa(pkcs8)?),
            Algorithm::Ed25519Sha256 => Key::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Malformed)?),
        };
        Ok(Self {
            domain: domain.to_owned(),
            selector: selector.to_owned(),
            key,
        })
    }

    /// Which algorithm its signatures name.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.key {
            Key::Rsa(_) => Algorithm::RsaSha256,
            Key::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// The public key as published in `p=`.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when AWS-LC cannot write it.
    pub fn public_key(&self) -> Result<String, KeyError> {
        match &self.key {
            Key::Rsa(pair) => keys::public_rsa(pair),
            Key::Ed25519(pair) => Ok(keys::public_ed25519(pair)),
        }
    }

    fn sign(&self, canonical: &[u8]) -> Result<String, SignError> {
        match &self.key {
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), canonical, &mut signature)
                    .map_err(|_| SignError::Failed)?;
                Ok(STANDARD.encode(signature))
            }
            // RFC 8463 §3: what is signed is the hash.
            Key::Ed25519(pair) => Ok(STANDARD.encode(pair.sign(digest::digest(&digest::SHA256, canonical).as_ref()))),
        }
    }
}

/// Signs a message with each of the signers; the answer is one `DKIM-Signature` field per signer, folded, each ending in CRLF, to be put
/// before everything else.
///
/// The message is the concatenation of `parts`, with CRLF line ends; a part boundary in the header section falls between two fields.
/// `now` is in Unix seconds. The body is hashed once, whatever the number of signers.
///
/// # Errors
/// See [`SignError`].
pub fn sign(parts: &[&[u8]], signers: &[&Signer], now: u64) -> Result<Vec<u8>, SignError> {
    let (fields, body) = split(parts);
    if !fields.iter().any(|field| field.is("From")) {
        return Err(SignError::NoFrom);
    }
    let body_hash = {
        let mut hash = digest::Context::new(&digest::SHA256);
        canonical::body(&body, |bytes| hash.update(bytes));
        STANDARD.encode(hash.finish())
    };
    let mut names = Vec::new();
    let mut canonical = Vec::with_capacity(2048);
    for name in SIGNED {
        // RFC 6376 §5.4.2: of several the lowest is meant first.
        for field in fields.iter().rev().filter(|field| field.is(name)) {
            names.push(name);
            canonical::field(field, &mut canonical);
        }
        if name == "From" {
            // Named once more than it occurs: a From added on the way breaks the signature (RFC 6376 §8.15).
            names.push(name);
        }
    }
    let signed_length = canonical.len();
    let mut signatures = Vec::with_capacity(800 * signers.len());
    for signer in signers {
        canonical.truncate(signed_length);
        let mut field = unsigned(signer, &names, &body_hash, now);
        let headers = Headers::scan(field.as_bytes());
        for own in headers.iter() {
            canonical::field(&own, &mut canonical);
        }
        canonical.truncate(canonical.len() - 2); // RFC 6376 §3.7: without its final CRLF
        let signature = signer.sign(&canonical)?;
        field.truncate(field.len() - 2);
        fold(&signature, &mut field);
        signatures.extend_from_slice(field.as_bytes());
    }
    Ok(signatures)
}

/// The header fields of all parts, and the body.
fn split<'a>(parts: &[&'a [u8]]) -> (Vec<Field<'a>>, Cow<'a, [u8]>) {
    let mut fields = Vec::with_capacity(32);
    for (at, part) in parts.iter().enumerate() {
        let headers = Headers::scan(part);
        fields.extend(headers.iter());
        if headers.as_bytes().len() < part.len() {
            let start = &part[headers.body_offset()..];
            let rest = &parts[at + 1..];
            let body = if rest.is_empty() {
                Cow::Borrowed(start)
            } else {
                Cow::Owned([start, &rest.concat()].concat())
            };
            return (fields, body);
        }
    }
    (fields, Cow::Borrowed(&[]))
}

/// The field with an empty `b=`, ending in CRLF.
fn unsigned(signer: &Signer, names: &[&str], body_hash: &str, now: u64) -> String {
    let mut field = String::with_capacity(900);
    let Signer { domain, selector, .. } = signer;
    // Writing to a String does not fail.
    let _ = write!(
        field,
        "DKIM-Signature: v=1; a={}; c=relaxed/relaxed;\r\n\td={domain}; s={selector}; t={now};\r\n\th=",
        signer.algorithm()
    );
    let mut width = 10;
    for (at, name) in names.iter().enumerate() {
        let last = at + 1 == names.len();
        if width + name.len() + 1 > 76 {
            field.push_str("\r\n\t ");
            width = 9;
        }
        field.push_str(name);
        field.push(if last { ';' } else { ':' });
        width += name.len() + 1;
    }
    let _ = write!(field, "\r\n\tbh={body_hash};\r\n\tb=\r\n");
    field
}

/// The signature in lines of 72 characters, the last one ended.
fn fold(signature: &str, field: &mut String) {
    let mut rest = signature;
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(72)); // base64: every index is a character's
        field.push_str("\r\n\t");
        field.push_str(line);
        rest = more;
    }
    field.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        let generated = generate(Algorithm::Ed25519Sha256).unwrap();
        Signer::new(Algorithm::Ed25519Sha256, &generated.pkcs8, "a.test", "s1").unwrap()
    }

    #[test]
    fn the_field_is_folded_and_names_what_it_signs() {
        let raw = b"Received: x\r\nTo: b@b.test\r\nFrom: a@a.test\r\nsubject: x\r\n\r\nhello\r\n";
        let field = String::from_utf8(sign(&[raw], &[&signer()], 1_700_000_000).unwrap()).unwrap();
        assert!(
            field.starts_with("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n\td=a.test; s=s1; t=1700000000;\r\n"),
            "{field}"
        );
        assert!(field.contains("\th=From:From:To:Subject;\r\n"), "{field}");
        assert!(field.ends_with("\r\n") && field.lines().all(|line| line.len() <= 78), "{field}");
        assert!(
            field
                .split("\r\n")
                .skip(1)
                .filter(|line| !line.is_empty())
                .all(|line| line.starts_with('\t'))
        );
    }

    #[test]
    fn parts_give_the_signature_of_the_whole() {
        let parts: [&[u8]; 3] = [
            b"Message-ID: <1@a.test>\r\n",
            b"From: a@a.test\r\nTo: b@b.test\r\n\r\nhel",
            b"lo\r\n",
        ];
        let signer = signer();
        assert_eq!(sign(&parts, &[&signer], 1), sign(&[&parts.concat()], &[&signer], 1));
        let bare: [&[u8]; 2] = [b"From: a@a.test\r\n\r\n", b""];
        assert_eq!(sign(&bare, &[&signer], 1), sign(&[b"From: a@a.test\r\n"], &[&signer], 1));
    }

    #[test]
    fn a_message_without_from_is_not_signed() {
        assert_eq!(
            sign(&[b"To: b@b.test\r\n\r\nFrom: a@a.test\r\n"], &[&signer()], 1),
            Err(SignError::NoFrom)
        );
        assert_eq!(sign(&[], &[&signer()], 1), Err(SignError::NoFrom));
    }

    #[test]
    fn names_that_would_break_the_field_are_refused() {
        let generated = generate(Algorithm::Ed25519Sha256).unwrap();
        for (domain, selector) in [("", "s"), ("a.test", ""), ("a.test;", "s"), ("a.test", "s\r\n"), ("ä.test", "s")] {
            let refused = Signer::new(Algorithm::Ed25519Sha256, &generated.pkcs8, domain, selector);
            assert_eq!(refused.err(), Some(KeyError::Name), "{domain:?} {selector:?}");
        }
        assert_eq!(
            Signer::new(Algorithm::RsaSha256, &generated.pkcs8, "a.test", "s").err(),
            Some(KeyError::Malformed)
        );
        assert!(!format!("{:?}", signer()).contains("MC4"));
    }
}
