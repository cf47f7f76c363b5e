//! As much of DER (X.690) as a `SubjectPublicKeyInfo` of the three kinds needs (RFC 5480, RFC 8410, RFC 8017).

use super::KeyMaterial;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// `id-ecPublicKey` and `prime256v1`.
const EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x2B, 0x65, 0x70];
const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];

/// The key in a `SubjectPublicKeyInfo`; `None` for whatever is not exactly one of a kind that is known.
pub(super) fn public_key(der: &[u8]) -> Option<KeyMaterial> {
    let mut document = Walk(der);
    let mut info = Walk(document.take(SEQUENCE)?);
    let mut algorithm = Walk(info.take(SEQUENCE)?);
    let kind = algorithm.take(OBJECT)?;
    // The first byte of a bit string says how many bits of the last byte are unused.
    let (0, bits) = info.take(BIT_STRING)?.split_first()? else { return None };
    let material = match kind {
        EC if algorithm.take(OBJECT)? == P256 => {
            let point: [u8; 65] = bits.try_into().ok()?;
            (point[0] == 4).then_some(KeyMaterial::P256(Box::new(point)))?
        }
        ED25519 => KeyMaterial::Ed25519(Box::new(bits.try_into().ok()?)),
        RSA if algorithm.take(NULL)?.is_empty() => {
            let mut outer = Walk(bits);
            let mut numbers = Walk(outer.take(SEQUENCE)?);
            let (n, e) = (numbers.take(INTEGER)?.into(), numbers.take(INTEGER)?.into());
            (outer.is_done() && numbers.is_done()).then_some(KeyMaterial::Rsa { n, e })?
        }
        _ => return None,
    };
    (document.is_done() && info.is_done() && algorithm.is_done()).then_some(material)
}

struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    /// The content of the next value, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (length, rest) = match length {
            0..=0x7F => (usize::from(*length), rest),
            0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
            0x82 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (*first == tag).then_some(content)
    }

    const fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}
