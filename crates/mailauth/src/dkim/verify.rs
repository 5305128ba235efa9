//! Verifying what others signed (RFC 6376 §6).
//!
//! Promises: each canonical form of the body is made and hashed once, whatever the number of signatures; keys are asked for at the same
//! time; a server that does not answer is `temperror`. RSA keys of 1024 to 8192 bits count, shorter ones and SHA-1 do not (RFC 8301).

use super::{
    Algorithm, canonical,
    rsa_key::RsaKey,
    signature::{Canonicalization, Label, PublicKey, Refusal, Signature, without_signature},
};
use crate::verify::{DkimResult, DkimVerdict};
use aws_lc_rs::{
    digest::{Context, SHA256, digest},
    rsa::PublicKeyComponents as RsaPublicKeyComponents,
    signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey},
};
use dns::{LookupError, Resolver};
use futures_util::future::join_all;
use mail::header::{Field, Headers};
use std::collections::HashMap;
use tokio::time::{Instant, timeout_at};

/// Signatures of one message that are looked at.
pub const MAX_SIGNATURES: usize = 10;
/// The longest header section in which signatures are looked at.
pub const MAX_HEADER_OCTETS: usize = 512 * 1024;
/// Records of one selector that are tried.
const MAX_KEYS: usize = 4;

/// Verifies the signatures of a message, from the top; those of a domain that `matters` first where there are too many. `now` is in Unix
/// seconds; keys that have not come by `deadline` are temporary errors.
pub(crate) async fn verify(
    resolver: &dyn Resolver,
    raw: &[u8],
    matters: impl Fn(&str) -> bool,
    now: u64,
    deadline: Instant,
) -> Vec<DkimVerdict> {
    let headers = Headers::scan(raw);
    let mut found: Vec<(Field<'_>, Label)> = (headers.iter())
        .filter(|field| field.is("DKIM-Signature"))
        .take(MAX_SIGNATURES * 10)
        .map(|field| (field, Label::read(field.value)))
        .collect();
    if found.len() > MAX_SIGNATURES {
        found.sort_by_key(|(_, label)| !matters(&label.domain));
        found.truncate(MAX_SIGNATURES);
    }
    let too_much = headers.as_bytes().len() > MAX_HEADER_OCTETS;
    let asked = found.iter().map(|(field, label)| async move {
        if too_much {
            return Err((DkimResult::Policy, "the header is too large"));
        }
        let signature = Signature::parse(field.value, now)?;
        let keys = keys(resolver, label, &signature, deadline).await?;
        Ok((signature, keys))
    });
    let ready = join_all(asked).await;
    let message = Message::new(&headers, &raw[headers.body_offset()..], &ready);
    let mut verdicts = Vec::with_capacity(found.len());
    for ((field, label), ready) in found.into_iter().zip(ready) {
        let judged = ready.and_then(|(signature, keys)| message.judge(&field, &signature, &keys));
        let (result, reason) = match judged {
            Ok(()) => (DkimResult::Pass, None),
            Err((result, reason)) => (result, Some(reason.to_owned())),
        };
        verdicts.push(DkimVerdict {
            result,
            domain: label.domain,
            selector: label.selector,
            algorithm: label.algorithm,
            reason,
        });
        tokio::task::yield_now().await; // RSA takes its time
    }
    verdicts
}

async fn keys(resolver: &dyn Resolver, label: &Label, signature: &Signature, deadline: Instant) -> Result<Vec<PublicKey>, Refusal> {
    let name = format!("{}._domainkey.{}", label.selector, label.domain);
    let texts = match timeout_at(deadline, resolver.txt(&name)).await {
        Ok(Ok(answer)) => answer.records,
        Ok(Err(LookupError::Temporary(_))) | Err(_) => return Err((DkimResult::TempError, "the key could not be looked up")),
        Ok(Err(LookupError::NotFound { .. })) => return Err((DkimResult::PermError, "there is no key")),
        Ok(Err(LookupError::InvalidName(_))) => return Err((DkimResult::PermError, "the selector or domain is no name")),
    };
    let (mut keys, mut refusal) = (Vec::new(), (DkimResult::PermError, "there is no key"));
    for text in texts.iter().take(MAX_KEYS) {
        match PublicKey::parse(text, signature) {
            Ok(key) => keys.push(key),
            Err(reason) => refusal = reason,
        }
    }
    if keys.is_empty() { Err(refusal) } else { Ok(keys) }
}

type Ready = Result<(Signature, Vec<PublicKey>), Refusal>;

/// What of a message its signatures need, made once.
struct Message<'a> {
    /// By lower-case name, in order.
    fields: HashMap<Vec<u8>, Vec<Field<'a>>>,
    bodies: HashMap<Canonicalization, Body>,
}

/// A canonical body: its length, and the hashes of its beginnings.
struct Body {
    length: u64,
    hashes: HashMap<u64, Vec<u8>>,
}

impl<'a> Message<'a> {
    fn new(headers: &Headers<'a>, body: &[u8], ready: &[Ready]) -> Self {
        let signatures = || ready.iter().flatten().map(|(signature, _)| signature);
        let mut fields: HashMap<Vec<u8>, Vec<Field<'a>>> = HashMap::new();
        if signatures().next().is_some() {
            for field in headers.iter() {
                fields.entry(field.name.to_ascii_lowercase()).or_default().push(field);
            }
        }
        let mut bodies = HashMap::new();
        for canonicalization in [Canonicalization::Simple, Canonicalization::Relaxed] {
            let mut lengths: Vec<u64> = signatures()
                .filter(|signature| signature.body == canonicalization)
                .map(|signature| signature.length.unwrap_or(u64::MAX))
                .collect();
            if !lengths.is_empty() {
                lengths.sort_unstable();
                lengths.dedup();
                bodies.insert(canonicalization, Body::hash(body, canonicalization, &lengths));
            }
        }
        Self { fields, bodies }
    }

    fn judge(&self, field: &Field<'_>, signature: &Signature, keys: &[PublicKey]) -> Result<(), Refusal> {
        let body = self.bodies.get(&signature.body).ok_or((DkimResult::Neutral, "not looked at"))?;
        let length = signature.length.unwrap_or(u64::MAX);
        if body.hashes.get(&length.min(body.length)).map(Vec::as_slice) != Some(signature.body_hash.as_slice()) {
            return Err((DkimResult::Fail, "the body hash did not verify"));
        }
        if signature.length.is_some_and(|length| length > body.length) {
            return Err((DkimResult::Fail, "more is signed than there is"));
        }
        let signed = self.signed(field, signature);
        let mut verified = Err((DkimResult::PermError, "there is no key"));
        for key in keys {
            verified = verifies(signature, key, &signed);
            if verified.is_ok() {
                break;
            }
        }
        verified?;
        if length < body.length {
            // RFC 6376 §8.2: whoever passed this on may have added whatever is read first.
            return Err((DkimResult::Policy, "only a part of the body is signed"));
        }
        Ok(())
    }

    /// The octets that were signed (§3.7, §5.4.2): of several fields of a name the lowest first, of absent ones nothing.
    fn signed(&self, own: &Field<'_>, signature: &Signature) -> Vec<u8> {
        let append = |field: &Field<'_>, to: &mut Vec<u8>| match signature.header {
            Canonicalization::Relaxed => canonical::field(field, to),
            Canonicalization::Simple => {
                to.extend_from_slice(field.raw);
                if !field.raw.ends_with(b"\n") {
                    to.extend_from_slice(b"\r\n");
                }
            }
        };
        let mut signed = Vec::with_capacity(4096);
        let mut taken: HashMap<&str, usize> = HashMap::new();
        for name in &signature.names {
            let count = taken.entry(name).or_default();
            *count += 1;
            let field = self
                .fields
                .get(name.as_bytes())
                .and_then(|fields| fields.iter().rev().nth(*count - 1));
            if let Some(field) = field {
                append(field, &mut signed);
            }
        }
        let value = without_signature(own.value);
        let name_and_colon = own.raw.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1);
        let raw = [&own.raw[..name_and_colon], &value].concat();
        append(
            &Field {
                name: own.name,
                raw: &raw,
                value: &value,
            },
            &mut signed,
        );
        signed.truncate(signed.len() - 2); // its CRLF is not signed
        signed
    }
}

impl Body {
    /// Hashes the beginnings of these lengths (sorted), the whole where it is shorter.
    fn hash(body: &[u8], canonicalization: Canonicalization, lengths: &[u64]) -> Self {
        let mut context = Context::new(&SHA256);
        let mut hashes = HashMap::new();
        let mut length = 0;
        let mut wanted = lengths.iter().copied().peekable();
        let mut sink = |piece: &[u8]| {
            let mut piece = piece;
            while let Some(&end) = wanted.peek() {
                let room = usize::try_from(end - length).unwrap_or(usize::MAX);
                if room > piece.len() {
                    break;
                }
                let (before, after) = piece.split_at(room);
                context.update(before);
                length = end;
                hashes.insert(end, context.clone().finish().as_ref().to_vec());
                wanted.next();
                piece = after;
            }
            context.update(piece);
            length += piece.len() as u64;
        };
        match canonicalization {
            Canonicalization::Simple => canonical::simple_body(body, &mut sink),
            Canonicalization::Relaxed => canonical::body(body, &mut sink),
        }
        hashes.insert(length, context.finish().as_ref().to_vec());
        Self { length, hashes }
    }
}

fn verifies(signature: &Signature, key: &PublicKey, signed: &[u8]) -> Result<(), Refusal> {
    let verified = match signature.algorithm {
        Algorithm::RsaSha256 => {
            let key = RsaKey::parse(&key.bytes).ok_or((DkimResult::PermError, "the key is not an RSA key"))?;
            if key.bits() < 1024 {
                return Err((DkimResult::Policy, "the key is shorter than 1024 bits (RFC 8301)"));
            }
            let key = RsaPublicKeyComponents {
                n: key.modulus,
                e: key.exponent,
            };
            key.verify(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, signed, &signature.signature)
        }
        // RFC 8463 §3: what is signed is the hash.
        Algorithm::Ed25519Sha256 => {
            let key = UnparsedPublicKey::new(&ED25519, &key.bytes);
            key.verify(digest(&SHA256, signed).as_ref(), &signature.signature)
        }
    };
    verified.map_err(|_| (DkimResult::Fail, "the signature did not verify"))
}
