//! Where several channels stand, as one text: for transports that give a client one word to come back with.
//!
//! Most channels of an app share a lineage, so each is written once. The tag binds the whole to the app and to the names,
//! in their order.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{Lineage, PLAIN_LEN, Position, PositionError, PositionKey, TAG_LEN};
use crate::channel::ChannelName;
use crate::id::AppId;

/// The most channels of a group.
pub const GROUP_MAX: usize = 64;

impl PositionKey {
    /// The positions of these channels, where they are known, as one text of base64url.
    ///
    /// # Panics
    /// When there are more than [`GROUP_MAX`].
    #[must_use]
    pub fn seal_group(&self, app: AppId, names: &[ChannelName], places: &[Option<Position>]) -> String {
        assert!(names.len() <= GROUP_MAX && names.len() == places.len(), "whoever asks has counted them");
        let mut lineages: Vec<Lineage> = Vec::new();
        let mut seqs = Vec::new();
        for place in places {
            let Some(Position { lineage, seq }) = *place else {
                seqs.push(0);
                continue;
            };
            let index = lineages.iter().position(|known| *known == lineage).unwrap_or_else(|| {
                lineages.push(lineage);
                lineages.len() - 1
            });
            seqs.push(u8::try_from(index + 1).expect("there are at most as many lineages as channels"));
            write_number(&mut seqs, seq);
        }
        let mut bytes = vec![u8::try_from(lineages.len()).expect("there are at most as many lineages as channels")];
        bytes.extend(lineages.iter().flat_map(|lineage| lineage.to_plain()));
        bytes.extend(seqs);
        let tag = self.group_tag(app, names, &bytes);
        bytes.extend(tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what was sealed for these channels of this app, in the same order.
    ///
    /// # Errors
    /// When it is none, or not one of exactly these channels.
    pub fn open_group(
        &self,
        app: AppId,
        names: &[ChannelName],
        text: &str,
    ) -> Result<Vec<Option<Position>>, PositionError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| PositionError::Malformed)?;
        let (bytes, tag) = bytes.split_last_chunk::<TAG_LEN>().ok_or(PositionError::Malformed)?;
        if !bool::from(self.group_tag(app, names, bytes).ct_eq(tag)) {
            return Err(PositionError::Foreign);
        }
        read(bytes, names.len()).ok_or(PositionError::Malformed)
    }

    fn group_tag(&self, app: AppId, names: &[ChannelName], bytes: &[u8]) -> [u8; TAG_LEN] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose()).expect("HMAC takes keys of any length");
        mac.update(&app.to_bytes());
        // Where the tag of a single position has the length of a name, which is never 0.
        mac.update(&[0, u8::try_from(names.len()).unwrap_or(u8::MAX)]);
        for name in names {
            mac.update(&[u8::try_from(name.as_str().len()).expect("names have at most 200 bytes")]);
            mac.update(name.as_str().as_bytes());
        }
        mac.update(bytes);
        let whole = mac.finalize().into_bytes();
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&whole[..TAG_LEN]);
        tag
    }
}

fn read(bytes: &[u8], count: usize) -> Option<Vec<Option<Position>>> {
    let (lineages, bytes) = bytes.split_first()?;
    let (plain, mut rest) = bytes.split_at_checked(usize::from(*lineages) * PLAIN_LEN)?;
    let lineages: Vec<Lineage> =
        plain.chunks_exact(PLAIN_LEN).filter_map(|plain| plain.try_into().ok()).map(Lineage::from_plain).collect();
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        let (index, after) = rest.split_first()?;
        rest = after;
        places.push(match usize::from(*index).checked_sub(1) {
            None => None,
            Some(index) => Some(Position { lineage: *lineages.get(index)?, seq: read_number(&mut rest)? }),
        });
    }
    rest.is_empty().then_some(places)
}

/// Seven bits a byte, the low ones first.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_holds_for_its_own_channels_alone() {
        let key = PositionKey::new([7; 32]);
        let name = |text: &str| ChannelName::parse(text).expect(text);
        let (names, app) = ([name("a"), name("b:c"), name("d")], AppId::new(1, 1));
        let one = Lineage { epoch: 9, term: 1_700_000_000_000, nonce: 3 };
        let two = Lineage { epoch: u64::MAX, ..one };
        for seq in [0, 1, 127, 128, 16_384, u64::MAX] {
            let places = [Some(Position { lineage: one, seq }), None, Some(Position { lineage: two, seq: 5 })];
            let text = key.seal_group(app, &names, &places);
            assert_eq!(key.open_group(app, &names, &text), Ok(places.to_vec()));
            let others = [name("a"), name("d"), name("b:c")];
            assert_eq!(key.open_group(app, &others, &text), Err(PositionError::Foreign));
            assert_eq!(key.open_group(app, &names[..2], &text), Err(PositionError::Foreign));
            assert_eq!(key.open_group(AppId::new(1, 2), &names, &text), Err(PositionError::Foreign));
            assert!(PositionKey::new([8; 32]).open_group(app, &names, &text).is_err());
            assert!(key.open_group(app, &names, &text[1..]).is_err());
        }
        let many: Vec<ChannelName> = (0..GROUP_MAX).map(|index| name(&format!("room:{index}"))).collect();
        let places = vec![Some(Position { lineage: one, seq: 1_000_000 }); GROUP_MAX];
        let text = key.seal_group(app, &many, &places);
        assert!(text.len() < 400, "{}", text.len());
        for text in ["", "x", "AAAA", "%"] {
            assert!(key.open_group(app, &many, text).is_err());
        }
    }
}
