//! Unpredictable texts for keys, passwords and tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// RFC 4648's base 32 in lower case: no digit that looks like a letter, five bits a character, no bias.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "AWS-LC's generator aborts the process rather than return an error once it is seeded"
    )]
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator works");
    bytes
}

/// `N` characters of base 32: 5 × `N` random bits.
pub(crate) fn base32<const N: usize>() -> String {
    bytes::<N>().iter().map(|byte| char::from(BASE32[usize::from(byte & 31)])).collect()
}

/// 256 random bits, URL-safe.
pub(crate) fn token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}
