//! Public RSA keys as they are published: `SubjectPublicKeyInfo` or bare `RSAPublicKey` (RFC 6376 §3.6.1 allows the second only, everybody
//! publishes the first), read with BER's tolerance: some tools write lengths longer than they need be, which DER, and with it AWS-LC's
//! own reader, refuses.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Modulus and exponent, big-endian, without leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RsaKey<'a> {
    pub(super) modulus: &'a [u8],
    pub(super) exponent: &'a [u8],
}

impl<'a> RsaKey<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (outer, _) = element(bytes, SEQUENCE)?;
        if let Some((_algorithm, rest)) = element(outer, SEQUENCE) {
            let (wrapped, _) = element(rest, BIT_STRING)?;
            let (inner, _) = element(wrapped.strip_prefix(&[0])?, SEQUENCE)?;
            return Self::numbers(inner);
        }
        Self::numbers(outer)
    }

    fn numbers(inner: &'a [u8]) -> Option<Self> {
        let (modulus, rest) = element(inner, INTEGER)?;
        let (exponent, _) = element(rest, INTEGER)?;
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        (!modulus.is_empty() && !exponent.is_empty()).then_some(Self { modulus, exponent })
    }

    /// The size of the modulus.
    pub(super) fn bits(&self) -> usize {
        self.modulus.len() * 8 - self.modulus.first().map_or(0, |byte| byte.leading_zeros() as usize)
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().position(|byte| *byte != 0).unwrap_or(number.len())..]
}

/// The content of the element that begins here, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if found == tag { rest.split_at_checked(length) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_wrappings_and_long_lengths_are_read() {
        let bare = [0x30, 7, 2, 2, 0, 0xab, 2, 1, 3];
        let wanted = Some(RsaKey {
            modulus: &[0xab],
            exponent: &[3],
        });
        assert_eq!(RsaKey::parse(&bare), wanted);
        let long = [0x30, 0x82, 0, 9, 2, 0x82, 0, 2, 0, 0xab, 2, 1, 3];
        assert_eq!(RsaKey::parse(&long).map(|key| key.bits()), Some(8));
        let wrapped = [&[0x30, 16, 0x30, 2, 5, 0, 3, 10, 0][..], &bare].concat();
        assert_eq!(RsaKey::parse(&wrapped), wanted);
        for end in 0..bare.len() {
            assert_eq!(RsaKey::parse(&bare[..end]), None);
        }
        for garbage in [&[][..], &[0x30, 0x80], &[0x30, 0x84, 255, 255, 255, 255], &[0x30, 4, 2, 1, 0, 2]] {
            assert_eq!(RsaKey::parse(garbage), None);
        }
    }
}
