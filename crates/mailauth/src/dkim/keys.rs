//! DKIM keys: making them, reading them, and what to publish.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, str::FromStr};

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 6376 §3.3.1.
    RsaSha256,
    /// RFC 8463.
    Ed25519Sha256,
}

impl Algorithm {
    /// As in `a=`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text {
            "rsa-sha256" => Ok(Self::RsaSha256),
            "ed25519-sha256" => Ok(Self::Ed25519Sha256),
            _ => Err(KeyError::Malformed),
        }
    }
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PKCS#8 DER of this algorithm.
    #[error("not a private key of this algorithm in PKCS#8 form")]
    Malformed,
    /// RFC 8301: shorter keys are not to be used.
    #[error("RSA keys have at least 2048 bits")]
    TooShort,
    /// Its record would not fit, and verifiers refuse it.
    #[error("RSA keys have at most 4096 bits")]
    TooLong,
    /// The domain or selector could not stand in a DKIM-Signature field.
    #[error("not a valid domain or selector")]
    Name,
}

/// The key could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key could not be generated")]
pub struct GenerateError;

/// A new key.
#[derive(Clone)]
pub struct Generated {
    /// The private key, PKCS#8 DER.
    pub pkcs8: Vec<u8>,
    /// The public key as published in `p=`.
    pub public_key: String,
}

impl fmt::Debug for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generated")
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}

/// Makes a key: RSA with 2048 bits, or Ed25519. RSA takes a good part of a second of one core: keep it off an async thread.
///
/// # Errors
/// [`GenerateError`] when AWS-LC fails.
pub fn generate(algorithm: Algorithm) -> Result<Generated, GenerateError> {
    match algorithm {
        Algorithm::RsaSha256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| GenerateError)?;
            let private: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| GenerateError)?;
            let public_key = public_rsa(&pair).map_err(|_| GenerateError)?;
            Ok(Generated {
                pkcs8: private.as_ref().to_vec(),
                public_key,
            })
        }
        Algorithm::Ed25519Sha256 => {
            let pair = Ed25519KeyPair::generate().map_err(|_| GenerateError)?;
            let private: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| GenerateError)?;
            Ok(Generated {
                pkcs8: private.as_ref().to_vec(),
                public_key: public_ed25519(&pair),
            })
        }
    }
}

/// The TXT record to publish at `<selector>._domainkey.<domain>` (RFC 6376 §3.6.1).
#[must_use]
pub fn record_value(algorithm: Algorithm, public_key: &str) -> String {
    let kind = match algorithm {
        Algorithm::RsaSha256 => "rsa",
        Algorithm::Ed25519Sha256 => "ed25519",
    };
    format!("v=DKIM1; k={kind}; p={public_key}")
}

pub(super) fn parse_rsa(pkcs8: &[u8]) -> Result<RsaKeyPair, KeyError> {
    // AWS-LC refuses keys below 2048 bits itself and says so only in this text.
    let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|error| {
        if error.to_string() == "TooSmall" {
            KeyError::TooShort
        } else {
            KeyError::Malformed
        }
    })?;
    match pair.public_modulus_len() {
        0..256 => Err(KeyError::TooShort),
        256..=512 => Ok(pair),
        _ => Err(KeyError::TooLong),
    }
}

/// RFC 6376 §3.6.1: the DER of a SubjectPublicKeyInfo, as everybody publishes it.
pub(super) fn public_rsa(pair: &RsaKeyPair) -> Result<String, KeyError> {
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| KeyError::Malformed)?;
    Ok(STANDARD.encode(public.as_ref()))
}

/// RFC 8463 §4: the 32 octets themselves.
pub(super) fn public_ed25519(pair: &Ed25519KeyPair) -> String {
    STANDARD.encode(pair.public_key())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::Signer;

    #[test]
    fn a_generated_key_is_read_back_with_the_same_public_half() {
        for (algorithm, length) in [(Algorithm::RsaSha256, 294), (Algorithm::Ed25519Sha256, 32)] {
            let generated = generate(algorithm).unwrap();
            assert_eq!(STANDARD.decode(&generated.public_key).unwrap().len(), length);
            let signer = Signer::new(algorithm, &generated.pkcs8, "a.test", "s").unwrap();
            assert_eq!(signer.public_key().unwrap(), generated.public_key);
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
        assert_eq!(record_value(Algorithm::Ed25519Sha256, "AAAA"), "v=DKIM1; k=ed25519; p=AAAA");
        assert_eq!(
            Signer::new(Algorithm::RsaSha256, b"", "a.test", "s").err(),
            Some(KeyError::Malformed)
        );
    }
    #[test]
    fn an_rsa_key_of_1024_bits_is_refused_as_too_short() {
        let short = STANDARD.decode(SHORT).unwrap();
        assert_eq!(
            Signer::new(Algorithm::RsaSha256, &short, "a.test", "s").err(),
            Some(KeyError::TooShort)
        );
    }

    /// Made for this test, used nowhere.
    const SHORT: &str = "\
        MIICeAIBADANBgkqhkiG9w0BAQEFAASCAmIwggJeAgEAAoGBALnTXhOg7XvfvC8coqvxZbfUFA218PADjaNvMVSl2HZDVjpFki+X\
        4YCgAfsC+Uz2jwHXLxfX1AvVyOR4G+M0TbBRHWUQ7I8oXk+rENXiFgjP8YhixG+HlhX663dj5b5UGDCd51ZQGDPhYifyEAa/EBn2\
        7bMi2m3PQRBQyxIffSuxAgMBAAECgYEAuJqEcReEFXWU63CVIh90H4UuTtiafLXq9Zu29BK10fbfKJCIw4Ms4K0UiprPs2eVdgyh\
        mhwtaXx+UIoJmlMRgQ/FhBpoNguVdyI6C1SFl8Sdf89dCAuHzuxNyg5M6g/PQWDbJQFfU4DQkc+BpYme59I91mkCmzFOa5mTUakr\
        6ykCQQDivtpmoMyKc3hpBy2uElLM3/E9B5ej/9Ni7FJIySwxtYay7q+ib5DAZp8kJXD0zJmpg9SqHnrcnReT9bZy43ibAkEA0cz6\
        Sd146lOsoL2Mz2/ZXDwYHYAqj+PSa3ejIrZeGkO0uwWWjAvY5Sb3ISbwHrjsF1FYoRKwcQSiMXhaN6mzowJBAMC0V0U1j+By9ni8\
        gxQXuosoIAwwMa5Ns8e09NGrN4YfspTLyjURAEKkdMfxkiha4pVw1wKl2OE6GVnEUAUgUdUCQQCtotgDCiloxpe48Sf5Brj+fT34\
        LHsNW6BrETkTIZwAYMjTgGx4u9Vm0jj2VyOkSagcJFcV+EHPR+Z0ywbfyrPBAkAv5frWkxuBH9DHZP3K49juXXj9SsQMA4+ilz1m\
        WT2tfAnrn48D1td/UojtF3OEKFnHetgFyalDDntRDw5zyQbh\
        ";
}
