//! Names in Redis: all of a channel's are in one slot, and no two channels' ever meet.
//!
//! ```text
//! {p17}k:app_01…:room:9     what is known of the channel     {p17}c:app_01…:room:9   where its messages are told
//! {p17}s:app_01…:room:9     its messages                     {p17}x:app_01…:room:9   tombs of deleted messages
//! {p17}i:app_01…:room:9:<32 hex digits>                      an id that may come again
//! {p17}w:app_01…:room:9     who is present                   {p17}d:app_01…:room:9   where its changes are told
//! {p17}o:app_01…:room:9     their order                      {p17}v:app_01…:room:9   the version of that
//!
//! {p4}f:app_01…             bytes of the app's channels      {p4}t:app_01…           until when they are in use
//! {p0}q:app_01…             bytes of the app's members
//!
//! {p0}a:app_01…:<limit>     what nodes share of it, and     {p0}a:app_01…:<limit>:key_01…   of each signer's own
//!
//! {p0}y    whose platform all of this is                      {p0}m    what replicas are asked for comes before it
//! {p0}n    nodes             {p0}l    leases of nodes         {p0}g    leases that ended
//! {p0}e    who leaves by itself, and when                     {p0}r:<lease>   who holds it
//! ```
//!
//! The app's printed id has one length, so that what follows it is the channel's name and nothing else; a name holds no
//! brace. Which partition a channel is in, and so which slot, is keyed: nobody can choose names that meet in one.

use std::fmt::Write as _;

use fanfare_core::ChannelKey;
use fanfare_core::id::AppId;
use fanfare_core::secret::SecretBytes;
use sha2::{Digest as _, Sha256};

/// How many partitions there are: many times the masters of a large cluster. Changing it moves every channel.
pub(crate) const PARTITIONS: u16 = 4_096;

/// Where it stands whose Redis this is.
pub(crate) const OWNER: &str = "{p0}y";

/// What is written before replicas are waited for.
pub(crate) const MARK: &str = "{p0}m";

/// What belongs to the platform alone and says which partition a channel is in: 32 bytes, the same on every node.
#[derive(Debug, Clone)]
pub struct PartitionKey(SecretBytes);

impl PartitionKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBytes::new(bytes.to_vec()))
    }

    /// Takes the bytes as they were stored; `None` where they are not 32.
    #[must_use]
    pub fn of(bytes: SecretBytes) -> Option<Self> {
        (bytes.expose().len() == 32).then_some(Self(bytes))
    }

    /// The bytes, for a node's sealed snapshot.
    #[must_use]
    pub const fn secret(&self) -> &SecretBytes {
        &self.0
    }

    /// Tells this platform from others. Nothing of the key can be told from it.
    pub(crate) fn platform(&self) -> String {
        let hash = Sha256::new().chain_update("platform").chain_update(self.0.expose()).finalize();
        hash[..16].iter().fold(String::new(), |mut text, byte| {
            // Writing into a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The names of a channel.
    pub(crate) fn names(&self, channel: &ChannelKey) -> Names {
        let (app, name) = (channel.app(), channel.channel().as_str());
        Names { tag: self.tag(app, name), rest: format!(":{app}:{name}") }
    }

    /// What an app holds, and until when.
    pub(crate) fn account(&self, app: AppId) -> [String; 2] {
        // No channel's name is empty.
        let tag = self.tag(app, "");
        [format!("{tag}f:{app}"), format!("{tag}t:{app}")]
    }

    fn tag(&self, app: AppId, name: &str) -> String {
        let hash = Sha256::new().chain_update(self.0.expose()).chain_update(app.to_bytes()).chain_update(name);
        let hash = hash.finalize();
        let partition = u16::from_be_bytes([hash[0], hash[1]]) % PARTITIONS;
        format!("{{p{partition}}}")
    }
}

/// Whether this is where changes of a channel's presence are told.
pub(crate) fn is_seen(told: &[u8]) -> bool {
    told.iter().position(|byte| *byte == b'}').is_some_and(|end| told[end + 1..].starts_with(b"d:"))
}

/// What the members of an app weigh.
pub(crate) fn members(app: AppId) -> String {
    format!("{{p0}}q:{app}")
}

/// The names of one channel.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    tag: String,
    rest: String,
}

impl Names {
    fn of(&self, kind: char) -> String {
        format!("{}{kind}{}", self.tag, self.rest)
    }

    /// What is known of the channel, its messages, and the tombs of those that were deleted.
    pub(crate) fn log(&self) -> [String; 3] {
        [self.of('k'), self.of('s'), self.of('x')]
    }

    /// Where its messages are told.
    pub(crate) fn told(&self) -> String {
        self.of('c')
    }

    /// Who is present on the channel.
    pub(crate) fn room(&self) -> String {
        self.of('w')
    }

    /// Where changes of its presence are told.
    pub(crate) fn seen(&self) -> String {
        self.of('d')
    }

    /// Stands for an id and whose it is.
    pub(crate) fn id(&self, hash: &[u8; 16]) -> String {
        let mut name = self.of('i');
        name.push(':');
        for byte in hash {
            // Writing into a string does not fail.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use fanfare_core::ChannelName;

    use super::*;

    fn channel(app: u64, name: &str) -> ChannelKey {
        ChannelKey::from_broker(AppId::new(app, 0), ChannelName::parse(name).expect("valid"))
    }

    #[test]
    fn a_channels_names_share_a_slot_and_no_other_channels_names() {
        let key = PartitionKey::new([7; 32]);
        let mut seen = HashMap::new();
        for app in 1..=3 {
            let account = key.account(AppId::new(app, 0));
            let [bytes, until] = account.each_ref().map(|one| one.split_once('}').expect("a tag"));
            assert!(bytes.0 == until.0 && bytes != until, "{account:?}");
            for one in account {
                assert!(one.contains(&AppId::new(app, 0).to_string()) && seen.insert(one, (app, "")).is_none());
            }
            for name in ["a", "a:b", "b", "s:a", "x"] {
                let names = key.names(&channel(app, name));
                let [meta, stream, tombs] = names.log();
                assert!(is_seen(names.seen().as_bytes()) && !is_seen(names.told().as_bytes()));
                for one in [meta, stream, tombs, names.told(), names.id(&[1; 16]), names.room(), names.seen()] {
                    assert!(one.starts_with(&names.tag) && one.matches('{').count() == 1, "{one}");
                    assert!(seen.insert(one.clone(), (app, name)).is_none(), "{one}");
                }
            }
        }
    }

    #[test]
    fn partitions_are_balanced_and_another_key_gives_others() {
        let (key, other) = (PartitionKey::new([7; 32]), PartitionKey::new([8; 32]));
        let mut counts = HashMap::<String, u32>::new();
        let mut same = 0;
        for number in 0..40_960 {
            let channel = channel(1, &format!("room:{number}"));
            let tag = key.names(&channel).tag;
            same += u32::from(tag == other.names(&channel).tag);
            *counts.entry(tag).or_default() += 1;
        }
        assert!(counts.len() > 4_090 && counts.values().all(|count| *count < 40), "ten each, more or less");
        assert!(same < 100, "{same}");
    }
}
