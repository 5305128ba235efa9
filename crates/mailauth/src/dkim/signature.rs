//! What a `DKIM-Signature` field says (RFC 6376 §3.5, §6.1.1), and what a key record says (§3.6.1, §6.1.2).

use super::{Algorithm, tags};
use crate::verify::DkimResult;
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Base64 as it is published: padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A signature's longest value.
const MAX_OCTETS: usize = 16 * 1024;
/// The names that `h=` may list.
const MAX_NAMES: usize = 300;

/// Why a signature or key does not count, and under which word.
pub(super) type Refusal = (DkimResult, &'static str);

const fn neutral(reason: &'static str) -> Refusal {
    (DkimResult::Neutral, reason)
}

const fn permanent(reason: &'static str) -> Refusal {
    (DkimResult::PermError, reason)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Canonicalization {
    Simple,
    Relaxed,
}

/// A well-formed signature.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    pub(super) algorithm: Algorithm,
    pub(super) header: Canonicalization,
    pub(super) body: Canonicalization,
    pub(super) signature: Vec<u8>,
    pub(super) body_hash: Vec<u8>,
    /// The names of the signed fields.
    pub(super) names: Vec<String>,
    /// How much of the body is signed; all when absent.
    pub(super) length: Option<u64>,
    /// The domain of `i=` is the very `d=`.
    pub(super) identity_is_exact: bool,
}

/// Who signed and how, as far as it can be told from a signature that may be malformed: for the record.
#[derive(Debug, Clone, Default)]
pub(super) struct Label {
    pub(super) domain: String,
    pub(super) selector: String,
    pub(super) algorithm: String,
}

impl Label {
    pub(super) fn read(value: &[u8]) -> Self {
        let text = std::str::from_utf8(&value[..value.len().min(MAX_OCTETS)]).unwrap_or_default();
        let tags = tags::parse(text).unwrap_or_default();
        let plain = |name| {
            let text = tags::value(&tags, name).unwrap_or_default();
            let plain: String = text.chars().filter(|c| !c.is_control() && !c.is_whitespace()).take(255).collect();
            plain.to_lowercase()
        };
        let name = |text: String| dns::Name::parse(&text).map_or(text, |name| name.as_str().to_owned());
        Self {
            domain: name(plain("d")),
            selector: name(plain("s")),
            algorithm: plain("a"),
        }
    }
}

impl Signature {
    /// Reads the value of a field; `now` is in Unix seconds.
    pub(super) fn parse(value: &[u8], now: u64) -> Result<Self, Refusal> {
        if value.len() > MAX_OCTETS {
            return Err(neutral("the signature is too long"));
        }
        let text = std::str::from_utf8(value).map_err(|_| neutral("the signature is not text"))?;
        let tags = tags::parse(text).ok_or(neutral("the signature is malformed"))?;
        let tag = |name| tags::value(&tags, name);
        let required = |name| {
            tag(name)
                .filter(|value| !value.is_empty())
                .ok_or(neutral("a required tag is missing"))
        };
        if required("v")? != "1" {
            return Err(neutral("unknown version"));
        }
        let algorithm = match required("a")?.to_ascii_lowercase().as_str() {
            "rsa-sha256" => Algorithm::RsaSha256,
            "ed25519-sha256" => Algorithm::Ed25519Sha256,
            "rsa-sha1" => return Err((DkimResult::Policy, "rsa-sha1 proves nothing any more (RFC 8301)")),
            _ => return Err(neutral("unknown algorithm")),
        };
        let (header, body) = canonicalizations(tag("c").unwrap_or("simple/simple")).ok_or(neutral("unknown canonicalization"))?;
        let domain = required("d")?;
        required("s")?;
        let names: Vec<String> = required("h")?.split(':').map(|name| name.trim().to_ascii_lowercase()).collect();
        if names.len() > MAX_NAMES || names.iter().any(String::is_empty) {
            return Err(neutral("the list of signed fields is malformed"));
        }
        if !names.iter().any(|name| name == "from") {
            return Err(permanent("From is not signed"));
        }
        let identity_is_exact = identity(tag("i"), domain).ok_or(permanent("the identity is not in the domain"))?;
        if tag("q").is_some_and(|methods| !methods.split(':').any(|method| method.trim().eq_ignore_ascii_case("dns/txt"))) {
            return Err(neutral("unknown way to get the key"));
        }
        let number = |name| match tag(name) {
            None => Ok(None),
            Some(text) if !text.is_empty() && text.len() <= 76 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Some(text.parse().unwrap_or(u64::MAX)))
            }
            Some(_) => Err(neutral("a number is malformed")),
        };
        let (signed_at, expires_at) = (number("t")?, number("x")?);
        if let Some(expires_at) = expires_at {
            if signed_at.is_some_and(|signed_at| expires_at <= signed_at) {
                return Err(neutral("the signature expires before it was made"));
            }
            if expires_at < now {
                return Err((DkimResult::Fail, "the signature has expired"));
            }
        }
        Ok(Self {
            algorithm,
            header,
            body,
            signature: base64(required("b")?).ok_or(neutral("the signature is not base64"))?,
            body_hash: base64(required("bh")?).ok_or(neutral("the body hash is not base64"))?,
            names,
            length: number("l")?,
            identity_is_exact,
        })
    }
}

fn canonicalizations(text: &str) -> Option<(Canonicalization, Canonicalization)> {
    let one = |text: &str| match text.trim().to_ascii_lowercase().as_str() {
        "simple" => Some(Canonicalization::Simple),
        "relaxed" => Some(Canonicalization::Relaxed),
        _ => None,
    };
    match text.split_once('/') {
        Some((header, body)) => Some((one(header)?, one(body)?)),
        None => Some((one(text)?, Canonicalization::Simple)),
    }
}

/// Whether the domain of `i=` is `d=` itself; `None` when it is not even below it.
fn identity(identity: Option<&str>, domain: &str) -> Option<bool> {
    let Some(identity) = identity else { return Some(true) };
    let (_, of) = identity.rsplit_once('@')?;
    let (of, domain) = (of.to_lowercase(), domain.to_lowercase());
    if of == domain {
        return Some(true);
    }
    of.strip_suffix(&domain).is_some_and(|below| below.ends_with('.')).then_some(false)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let packed: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(packed).ok()
}

/// The value of the field with that of its `b=` tag removed: what was signed (RFC 6376 §3.7).
pub(super) fn without_signature(value: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(value.len());
    for (at, spec) in value.split(|byte| *byte == b';').enumerate() {
        if at > 0 {
            kept.push(b';');
        }
        let equals = spec.iter().position(|byte| *byte == b'=');
        match equals {
            Some(equals) if spec[..equals].trim_ascii() == b"b" => kept.extend_from_slice(&spec[..=equals]),
            _ => kept.extend_from_slice(spec),
        }
    }
    kept
}

/// A key that may be used for mail.
#[derive(Debug, Clone)]
pub(super) struct PublicKey {
    pub(super) bytes: Vec<u8>,
}

impl PublicKey {
    /// Reads a key record for a signature.
    pub(super) fn parse(text: &str, signature: &Signature) -> Result<Self, Refusal> {
        let tags = tags::parse(text).ok_or(permanent("the key record is malformed"))?;
        let tag = |name| tags::value(&tags, name);
        if tags.iter().any(|(name, _)| *name == "v") && tags.first() != Some(&("v", "DKIM1")) {
            return Err(permanent("the record is not a DKIM key"));
        }
        let listed = |list: &str, word: &str| list.split(':').any(|item| item.trim().eq_ignore_ascii_case(word));
        let p = tag("p").ok_or(permanent("the key record has no key"))?;
        if p.is_empty() {
            return Err(permanent("the key has been revoked"));
        }
        let kind = match signature.algorithm {
            Algorithm::RsaSha256 => "rsa",
            Algorithm::Ed25519Sha256 => "ed25519",
        };
        if !tag("k").unwrap_or("rsa").eq_ignore_ascii_case(kind) {
            return Err(permanent("the key is of another kind than the signature"));
        }
        if tag("h").is_some_and(|hashes| !listed(hashes, "sha256")) {
            return Err(permanent("the key is not for SHA-256"));
        }
        if tag("s").is_some_and(|services| !listed(services, "*") && !listed(services, "email")) {
            return Err(permanent("the key is not for mail"));
        }
        if tag("t").is_some_and(|flags| listed(flags, "s")) && !signature.identity_is_exact {
            return Err(permanent("the key is not for subdomains"));
        }
        let bytes = base64(p).ok_or(permanent("the key is not base64"))?;
        Ok(Self { bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = "v=1; a=rsa-sha256; d=a.test; s=s1; h=From:To; bh=AAAA; b=AAAA";

    #[test]
    fn what_is_wrong_with_a_signature_is_said_in_the_right_word() {
        use DkimResult::{Fail, Neutral, PermError, Policy};
        for (from, to, word) in [
            ("v=1", "v=2", Neutral),
            ("v=1; ", "", Neutral),
            ("rsa-sha256", "rsa-sha1", Policy),
            ("rsa-sha256", "rsa-md5", Neutral),
            ("d=a.test; ", "", Neutral),
            ("s=s1; ", "", Neutral),
            ("From:To", "To", PermError),
            ("From:To", "From::To", Neutral),
            ("bh=AAAA", "bh=!", Neutral),
            ("b=AAAA", "b=", Neutral),
            ("v=1;", "v=1; c=odd;", Neutral),
            ("v=1;", "v=1; l=-1;", Neutral),
            ("v=1;", "v=1; x=999;", Fail),
            ("v=1;", "v=1; t=2000; x=2000;", Neutral),
            ("v=1;", "v=1; q=http;", Neutral),
            ("v=1;", "v=1; i=@b.test;", PermError),
            ("v=1;", "v=1; i=@ba.test;", PermError),
            ("v=1;", "v=1; d=c.test;", Neutral),
        ] {
            let text = FINE.replacen(from, to, 1);
            assert_eq!(Signature::parse(text.as_bytes(), 1000).unwrap_err().0, word, "{text}");
        }
        assert_eq!(Signature::parse(&[b'a'; MAX_OCTETS + 1], 0).unwrap_err().0, Neutral);
        let fine = FINE.replacen("v=1;", "v=1; c=Relaxed; i=x@sub.A.test; l=5; t=1; x=1000; q=dns/txt;", 1);
        let signature = Signature::parse(fine.as_bytes(), 1000).unwrap();
        assert_eq!(
            (signature.header, signature.body),
            (Canonicalization::Relaxed, Canonicalization::Simple)
        );
        assert_eq!((signature.length, signature.identity_is_exact), (Some(5), false));
        assert_eq!(signature.names, ["from", "to"]);
    }

    #[test]
    fn only_the_value_of_b_is_left_out() {
        for (value, signed) in [
            ("v=1; b=abc; bh=b", "v=1; b=; bh=b"),
            ("v=1; bh=x; b=ab\r\n\tc=", "v=1; bh=x; b="),
            ("b = a b c ;v=1", "b =;v=1"),
            ("bb=1;\r\n b\r\n =x; z=b=c", "bb=1;\r\n b\r\n =; z=b=c"),
        ] {
            assert_eq!(String::from_utf8(without_signature(value.as_bytes())).unwrap(), signed);
        }
    }

    #[test]
    fn a_key_serves_what_it_says_it_serves() {
        let signature = Signature::parse(FINE.as_bytes(), 0).unwrap();
        let below = Signature::parse(FINE.replacen("v=1;", "v=1; i=@b.a.test;", 1).as_bytes(), 0).unwrap();
        for record in [
            "p=AAAA",
            "v=DKIM1; k=rsa; h=sha1:sha256; s=email; t=y; n=x; p=AA AA",
            "k=RSA; s=*; p=AAAA;",
        ] {
            assert_eq!(PublicKey::parse(record, &signature).unwrap().bytes, [0; 3], "{record}");
        }
        for record in [
            "",
            "v=DKIM1",
            "v=DKIM1; p=",
            "p=AAAA; v=DKIM1",
            "v=DKIM2; p=AAAA",
            "k=ed25519; p=AAAA",
            "h=sha1; p=AAAA",
            "s=tlsrpt; p=AAAA",
            "p=!",
        ] {
            assert_eq!(
                PublicKey::parse(record, &signature).unwrap_err().0,
                DkimResult::PermError,
                "{record}"
            );
        }
        assert!(PublicKey::parse("t=s; p=AAAA", &signature).is_ok());
        assert!(PublicKey::parse("t=s; p=AAAA", &below).is_err());
        assert!(PublicKey::parse("t=y; p=AAAA", &below).is_ok());
    }
}
