//! Where a message stands in its channel.
//!
//! Inside, a position is a lineage (epoch, term, nonce) and a sequence number; the lineage changes whenever the log
//! behind a channel may have been lost, rewound or replaced, so that a number of one log is never taken for a number
//! of another. Outside, it is one opaque text, `<lineage>.<seq>`; the lineage's text ends in a keyed tag that binds it
//! to its app and channel, so that a position of one channel is refused on another.

mod group;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::channel::ChannelKey;
use crate::secret::SecretBytes;

pub use group::GROUP_MAX;

/// A message's number in its channel's log: 1 for the first, without holes.
pub type Seq = u64;

const TAG_LEN: usize = 8;
const PLAIN_LEN: usize = 18;

/// Which log a sequence number counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lineage {
    /// Random; new when nothing was known of the channel.
    pub epoch: u64,
    /// Grows whenever the log may have been rewound; about Unix milliseconds, below 2⁴⁸.
    pub term: u64,
    /// Tells two logs with the same term apart.
    pub nonce: u32,
}

impl Lineage {
    fn to_plain(self) -> [u8; PLAIN_LEN] {
        let mut out = [0; PLAIN_LEN];
        out[..8].copy_from_slice(&self.epoch.to_be_bytes());
        out[8..14].copy_from_slice(&self.term.to_be_bytes()[2..]);
        out[14..].copy_from_slice(&self.nonce.to_be_bytes());
        out
    }

    fn from_plain(plain: [u8; PLAIN_LEN]) -> Self {
        let number =
            |range: std::ops::Range<usize>| plain[range].iter().fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
        #[expect(clippy::cast_possible_truncation, reason = "four bytes are a u32")]
        let nonce = number(14..18) as u32;
        Self { epoch: number(0..8), term: number(8..14), nonce }
    }
}

/// A lineage and the number of the last message seen in it; `seq` 0 stands before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The log.
    pub lineage: Lineage,
    /// The number in it.
    pub seq: Seq,
}

/// Why a text is no position on this channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// Not `<lineage>.<seq>`.
    #[error("a position reads <lineage>.<seq>, exactly as Fanfare gave it out")]
    Malformed,
    /// Made for another channel or app, or altered.
    #[error("this position was not given out for this channel")]
    Foreign,
}

/// The key that tags positions: made once, sealed in Postgres, the same on every node.
#[derive(Debug, Clone)]
pub struct PositionKey(SecretBytes);

impl PositionKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBytes::new(bytes.to_vec()))
    }

    /// The bytes, for a node's sealed snapshot.
    #[must_use]
    pub const fn secret(&self) -> &SecretBytes {
        &self.0
    }

    /// The lineage's text on this channel: 35 characters of base64url.
    #[must_use]
    pub fn seal(&self, channel: &ChannelKey, lineage: Lineage) -> String {
        let plain = lineage.to_plain();
        let mut bytes = [0; PLAIN_LEN + TAG_LEN];
        bytes[..PLAIN_LEN].copy_from_slice(&plain);
        bytes[PLAIN_LEN..].copy_from_slice(&self.tag(channel, &plain));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a position that a client sends back for this channel.
    ///
    /// # Errors
    /// When it is none, or not one of this channel.
    pub fn open(&self, channel: &ChannelKey, text: &str) -> Result<Position, PositionError> {
        let (lineage, seq) = text.split_once('.').ok_or(PositionError::Malformed)?;
        let digits = seq.bytes().all(|byte| byte.is_ascii_digit()) && (seq == "0" || !seq.starts_with('0'));
        let seq = seq.parse().ok().filter(|_| digits).ok_or(PositionError::Malformed)?;
        let bytes = URL_SAFE_NO_PAD.decode(lineage).map_err(|_| PositionError::Malformed)?;
        let bytes: [u8; PLAIN_LEN + TAG_LEN] = bytes.try_into().map_err(|_| PositionError::Malformed)?;
        let (plain, tag) = bytes.split_at(PLAIN_LEN);
        if !bool::from(self.tag(channel, plain).ct_eq(tag)) {
            return Err(PositionError::Foreign);
        }
        let plain = plain.try_into().expect("it was parted there");
        Ok(Position { lineage: Lineage::from_plain(plain), seq })
    }

    fn tag(&self, channel: &ChannelKey, plain: &[u8]) -> [u8; TAG_LEN] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose()).expect("HMAC takes keys of any length");
        mac.update(&channel.app().to_bytes());
        mac.update(&[u8::try_from(channel.channel().as_str().len()).expect("names have at most 200 bytes")]);
        mac.update(channel.channel().as_str().as_bytes());
        mac.update(plain);
        let whole = mac.finalize().into_bytes();
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&whole[..TAG_LEN]);
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelName;
    use crate::id::AppId;

    fn channel(app: u64, name: &str) -> ChannelKey {
        ChannelKey::new(AppId::new(app, 0), ChannelName::parse(name).expect(name))
    }

    #[test]
    fn a_position_holds_on_its_own_channel_only() {
        let key = PositionKey::new([7; 32]);
        let lineage = Lineage { epoch: u64::MAX - 3, term: 1_700_000_000_000, nonce: 99 };
        let text = format!("{}.{}", key.seal(&channel(1, "a"), lineage), 12);
        assert_eq!(key.open(&channel(1, "a"), &text), Ok(Position { lineage, seq: 12 }));
        for other in [channel(1, "b"), channel(2, "a"), channel(1, "a:a")] {
            assert_eq!(key.open(&other, &text), Err(PositionError::Foreign));
        }
        assert_eq!(PositionKey::new([8; 32]).open(&channel(1, "a"), &text), Err(PositionError::Foreign));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let key = PositionKey::new([7; 32]);
        let here = channel(1, "a");
        let lineage = key.seal(&here, Lineage { epoch: 1, term: 2, nonce: 3 });
        for seq in ["", "-1", "+1", "01", "1.0", "1e3", " 1", "18446744073709551616", "x"] {
            assert_eq!(key.open(&here, &format!("{lineage}.{seq}")), Err(PositionError::Malformed), "{seq}");
        }
        for text in ["", ".", "a.1", &lineage, &format!("{lineage}A.1")] {
            assert_eq!(key.open(&here, text), Err(PositionError::Malformed), "{text}");
        }
    }
}
