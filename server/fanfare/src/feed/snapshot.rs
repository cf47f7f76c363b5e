//! What the data plane knows, sealed on the node's disk, so that it starts while Postgres is away.
//!
//! The file is a version byte, a nonce, and XChaCha20-Poly1305 over JSON, under a key derived from the master key: who
//! reads the disk learns nothing, and a cut or altered file does not open. It is written beside the old one, synced and
//! renamed, so that a crash or a full disk leaves the old one. The types in here are the file's own: `core::App` has no
//! serialised form on purpose, because it holds secrets.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use fanfare_broker_redis::PartitionKey;
use fanfare_core::app::{AppStatus, Key, KeyKind, KeyState};
use fanfare_core::id::{AppId, IssuerId, KeyId, TenantId};
use fanfare_core::issuer::JwksUrl;
use fanfare_core::position::PositionKey;
use fanfare_core::secret::SecretBytes;
use fanfare_core::{App, Capabilities, ChannelSettings, Issuer, Limits, PublicKey, Revocation, Revocations, Rule};
use fanfare_engine::{FetchedKeys, TicketKeys};
use hmac::{Hmac, Mac as _};
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::master_key::{KeyBytes, MasterKeys};

const VERSION: u8 = 1;
const NONCE_LEN: usize = 24;
/// A file larger than this is not ours.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The platform's keys that nodes work with, the same on all of them.
#[derive(Debug, Clone)]
pub(crate) struct NodeKeys {
    /// Tags positions.
    pub(crate) position: PositionKey,
    /// Seal resume tickets; `None` where an earlier version wrote the snapshot.
    pub(crate) tickets: Option<TicketKeys>,
    /// Says which partition of Redis a channel is in; `None` where an earlier version wrote the snapshot.
    pub(crate) partitions: Option<PartitionKey>,
}

/// What is kept.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Unix milliseconds when it was taken.
    pub(crate) taken_ms: u64,
    /// The platform's keys.
    pub(crate) keys: NodeKeys,
    /// Every app.
    pub(crate) apps: Vec<Arc<App>>,
    /// Keys of issuers that were fetched from their URLs.
    pub(crate) issuer_keys: Vec<(AppId, IssuerId, FetchedKeys)>,
}

/// Where the snapshot lies, and what opens it.
pub(crate) struct SnapshotFile {
    path: PathBuf,
    current: XChaCha20Poly1305,
    previous: Option<XChaCha20Poly1305>,
}

impl SnapshotFile {
    /// The snapshot of this data directory.
    pub(crate) fn new(data: &Path, keys: &MasterKeys) -> Self {
        let previous = keys.previous.as_ref().map(derive);
        Self { path: data.join("snapshot.sealed"), current: derive(&keys.current), previous }
    }

    /// Reads the snapshot; `None` when there is none yet. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read, was sealed under another master key, or was cut or altered.
    pub(crate) fn read(&self) -> Result<Option<Snapshot>> {
        let what = || format!("cannot read {}", self.path.display());
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(what),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => bail!("{} is no snapshot", self.path.display()),
            Ok(_) => {}
        }
        let sealed = fs::read(&self.path).with_context(what)?;
        self.open(&sealed).with_context(what).map(Some)
    }

    /// Replaces the snapshot. Blocks.
    ///
    /// # Errors
    /// When the disk does not take it; the old one is still there then.
    pub(crate) fn write(&self, snapshot: &Snapshot) -> Result<()> {
        let what = || format!("cannot write {}", self.path.display());
        let sealed = self.seal(snapshot)?;
        // Two nodes may share the directory: each writes its own file, and either is good.
        let new = self.path.with_extension(format!("new-{}", std::process::id()));
        let written = (|| {
            let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&sealed)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
        })();
        if written.is_err() {
            // What a full disk took of it must not stay in its way.
            let _ = fs::remove_file(&new);
        }
        written.with_context(what)
    }

    fn seal(&self, snapshot: &Snapshot) -> Result<Vec<u8>> {
        let stored = Stored::from(snapshot);
        let plain = Zeroizing::new(serde_json::to_vec(&stored).context("a snapshot does not serialise")?);
        let mut nonce = [0; NONCE_LEN];
        SysRng.try_fill_bytes(&mut nonce).context("the system gives no random bytes")?;
        let payload = Payload { msg: &plain, aad: &[VERSION] };
        let sealed = self.current.encrypt(&XNonce::from(nonce), payload).ok().context("a snapshot does not seal")?;
        Ok([&[VERSION], nonce.as_slice(), &sealed].concat())
    }

    fn open(&self, sealed: &[u8]) -> Result<Snapshot> {
        let Some((&[VERSION], rest)) = sealed.split_first_chunk::<1>() else { bail!("its version is not known") };
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().context("it is cut off")?;
        let nonce = XNonce::from(*nonce);
        let payload = || Payload { msg: body, aad: &[VERSION] };
        let plain = std::iter::once(&self.current)
            .chain(&self.previous)
            .find_map(|cipher| cipher.decrypt(&nonce, payload()).ok())
            .context("it was sealed under another master key, or is damaged")?;
        let plain = Zeroizing::new(plain);
        let stored: Stored = serde_json::from_slice(&plain).context("another version of Fanfare wrote it")?;
        stored.try_into()
    }
}

/// One step of HKDF: the master key is uniform, so expanding it is enough.
fn derive(master: &KeyBytes) -> XChaCha20Poly1305 {
    let mut mac = Hmac::<Sha256>::new_from_slice(master.as_slice()).expect("HMAC takes keys of any length");
    mac.update(b"fanfare snapshot v1\x01");
    let key = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
    XChaCha20Poly1305::new_from_slice(key.as_slice()).expect("the derived key has 32 bytes")
}

#[derive(Serialize, Deserialize)]
struct Stored {
    taken_ms: u64,
    position_key: Bytes,
    #[serde(default)]
    ticket_keys: Option<Bytes>,
    #[serde(default)]
    partition_key: Option<Bytes>,
    apps: Vec<StoredApp>,
    #[serde(default)]
    issuer_keys: Vec<StoredIssuerKeys>,
}

#[derive(Serialize, Deserialize)]
struct StoredIssuerKeys {
    app: AppId,
    issuer: IssuerId,
    url: JwksUrl,
    fetched_ms: u64,
    keys: Vec<PublicKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredApp {
    id: AppId,
    tenant: TenantId,
    version: u64,
    status: AppStatus,
    keys: Vec<StoredKey>,
    #[serde(default)]
    issuers: Vec<Issuer>,
    rules: Vec<Rule>,
    settings: Vec<ChannelSettings>,
    limits: Limits,
    origins: Vec<Box<str>>,
    heartbeat_ms: u32,
    /// Absent in files of before it was a setting of its own.
    #[serde(default)]
    heartbeat_timeout_ms: Option<u32>,
    /// Absent in files of before there were any.
    #[serde(default)]
    revocations: Vec<Revocation>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    id: KeyId,
    /// Absent in files of before the platform's keys were told apart: its tokens are then refused until the store is back.
    #[serde(default)]
    kind: KeyKind,
    name: Box<str>,
    capabilities: Capabilities,
    expires_ms: Option<u64>,
    state: KeyState,
    secret_hash: Bytes,
    signing_secret: Option<Bytes>,
}

/// Bytes as base64, wiped when dropped.
struct Bytes(Zeroizing<Vec<u8>>);

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(STANDARD_NO_PAD.encode(self.0.as_slice())))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        STANDARD_NO_PAD.decode(text.as_str()).map(|bytes| Self(Zeroizing::new(bytes))).map_err(serde::de::Error::custom)
    }
}

impl Bytes {
    fn into_secret(self) -> SecretBytes {
        SecretBytes::new(self.0.to_vec())
    }
}

impl From<&Snapshot> for Stored {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            taken_ms: snapshot.taken_ms,
            position_key: snapshot.keys.position.secret().expose().into(),
            ticket_keys: snapshot.keys.tickets.as_ref().map(|keys| keys.secret().expose().into()),
            partition_key: snapshot.keys.partitions.as_ref().map(|key| key.secret().expose().into()),
            apps: snapshot.apps.iter().map(|app| StoredApp::from(app.as_ref())).collect(),
            issuer_keys: snapshot.issuer_keys.iter().map(StoredIssuerKeys::from).collect(),
        }
    }
}

impl TryFrom<Stored> for Snapshot {
    type Error = anyhow::Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let position_key = stored.position_key.0.as_slice().try_into().context("a position key has 32 bytes")?;
        Ok(Self {
            taken_ms: stored.taken_ms,
            keys: NodeKeys {
                position: PositionKey::new(position_key),
                tickets: stored.ticket_keys.and_then(|keys| TicketKeys::new(keys.into_secret())),
                partitions: stored.partition_key.and_then(|key| PartitionKey::of(key.into_secret())),
            },
            apps: stored.apps.into_iter().map(|app| Arc::new(app.into())).collect(),
            issuer_keys: stored.issuer_keys.into_iter().map(StoredIssuerKeys::into_fetched).collect(),
        })
    }
}

impl From<&(AppId, IssuerId, FetchedKeys)> for StoredIssuerKeys {
    fn from((app, issuer, fetched): &(AppId, IssuerId, FetchedKeys)) -> Self {
        let FetchedKeys { url, fetched_ms, keys } = fetched;
        Self { app: *app, issuer: *issuer, url: url.clone(), fetched_ms: *fetched_ms, keys: keys.to_vec() }
    }
}

impl StoredIssuerKeys {
    fn into_fetched(self) -> (AppId, IssuerId, FetchedKeys) {
        let fetched = FetchedKeys { url: self.url, fetched_ms: self.fetched_ms, keys: self.keys.into() };
        (self.app, self.issuer, fetched)
    }
}

impl From<&App> for StoredApp {
    fn from(app: &App) -> Self {
        Self {
            id: app.id,
            tenant: app.tenant,
            version: app.version,
            status: app.status,
            keys: app.keys.iter().map(StoredKey::from).collect(),
            issuers: app.issuers.clone(),
            rules: app.rules.clone(),
            settings: app.settings.clone(),
            limits: app.limits.clone(),
            origins: app.origins.clone(),
            heartbeat_ms: app.heartbeat_ms,
            heartbeat_timeout_ms: Some(app.heartbeat_timeout_ms),
            revocations: app.revocations.iter().cloned().collect(),
        }
    }
}

impl From<StoredApp> for App {
    fn from(app: StoredApp) -> Self {
        Self {
            id: app.id,
            tenant: app.tenant,
            version: app.version,
            status: app.status,
            keys: app.keys.into_iter().map(Key::from).collect(),
            issuers: app.issuers,
            rules: app.rules,
            settings: app.settings,
            limits: app.limits,
            origins: app.origins,
            heartbeat_ms: app.heartbeat_ms,
            heartbeat_timeout_ms: app.heartbeat_timeout_ms.unwrap_or(app.heartbeat_ms),
            revocations: Revocations::new(app.revocations),
        }
    }
}

impl From<&Key> for StoredKey {
    fn from(key: &Key) -> Self {
        Self {
            id: key.id,
            kind: key.kind,
            name: key.name.clone(),
            capabilities: key.capabilities.clone(),
            expires_ms: key.expires_ms,
            state: key.state,
            secret_hash: key.secret_hash.as_slice().into(),
            signing_secret: key.signing_secret.as_ref().map(|secret| secret.expose().into()),
        }
    }
}

impl From<StoredKey> for Key {
    fn from(key: StoredKey) -> Self {
        // A hash of the wrong length matches no secret: such a key opens nothing.
        let secret_hash = key.secret_hash.0.as_slice().try_into().unwrap_or_default();
        Self {
            id: key.id,
            kind: key.kind,
            name: key.name,
            capabilities: key.capabilities,
            expires_ms: key.expires_ms,
            state: key.state,
            secret_hash,
            signing_secret: key.signing_secret.map(Bytes::into_secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::id::RevocationId;
    use fanfare_core::{Limit, LimitValue, Revoked};

    fn keys(current: u8, previous: Option<u8>) -> MasterKeys {
        let key = |byte| Zeroizing::new([byte; 32]);
        MasterKeys { current: key(current), previous: previous.map(key) }
    }

    fn file(directory: &Path, current: u8, previous: Option<u8>) -> SnapshotFile {
        SnapshotFile::new(directory, &keys(current, previous))
    }

    fn snapshot() -> Snapshot {
        let mut app = App::for_tests();
        app.status = AppStatus::Suspended(fanfare_core::Block::Publish);
        app.limits.set(Limit::Connections, LimitValue::count(7));
        app.origins = vec!["https://example.com".into()];
        app.rules = serde_json::from_str(
            r#"[{"id":"rul_00000000000000000000000001","pattern":"demo:**","who":"role:staff","operations":["subscribe"],"effect":"allow"}]"#,
        )
        .expect("valid rules");
        app.settings = vec![ChannelSettings::defaults().clone()];
        let (id, revoked) = (RevocationId::new(1, 3), Revoked::User("ann".into()));
        app.revocations = Revocations::new(vec![Revocation { id, revoked, issued_until_ms: 7 }]);
        app.keys = vec![Key {
            id: KeyId::new(1, 2),
            kind: KeyKind::Platform,
            name: "backend".into(),
            capabilities: Capabilities::everything(),
            expires_ms: Some(9),
            state: KeyState::Overlap { until_ms: 5 },
            secret_hash: [3; 32],
            signing_secret: Some(SecretBytes::new(b"ffs_canary".to_vec())),
        }];
        let pem = include_str!("../../../core/src/public_key/fixtures/ec.pem");
        let url = "https://id.example/keys";
        app.issuers = vec![
            serde_json::from_value(serde_json::json!({
                "id": IssuerId::new(1, 3), "name": "id", "iss": "https://id.example", "aud": null, "enabled": true,
                "source": {"jwks": {"url": url, "algorithms": ["ES256"]}}, "ceiling": {"**": ["subscribe"]},
                "claims": {"roles": ["/roles"]},
            }))
            .expect("a valid issuer"),
        ];
        let fetched = [PublicKey { kid: Some("a".into()), ..PublicKey::parse(pem).expect("a key") }];
        let url = JwksUrl::parse(url).expect("a valid URL");
        let fetched = FetchedKeys { url, fetched_ms: 40, keys: fetched.into() };
        let issuer_keys = vec![(app.id, IssuerId::new(1, 3), fetched)];
        let tickets = TicketKeys::new(SecretBytes::new(vec![8; 33]));
        let partitions = Some(PartitionKey::new([8; 32]));
        let keys = NodeKeys { position: PositionKey::new([9; 32]), tickets, partitions };
        Snapshot { taken_ms: 42, keys, apps: vec![Arc::new(app)], issuer_keys }
    }

    #[test]
    fn everything_of_an_app_survives_the_disk() {
        let directory = tempdir("survives");
        let file = file(&directory, 1, None);
        assert!(file.read().expect("no file is no error").is_none());
        file.write(&snapshot()).expect("written");
        let read = file.read().expect("read").expect("there");
        assert_eq!(format!("{read:?}"), format!("{:?}", snapshot()));
        let (app, secret) = (&read.apps[0], SecretBytes::new(b"ffs_canary".to_vec()));
        assert_eq!(app.keys[0].signing_secret, Some(secret));
        assert_eq!(read.keys.position.secret(), snapshot().keys.position.secret());
        let tickets = |snapshot: &Snapshot| snapshot.keys.tickets.as_ref().map(|keys| keys.secret().clone());
        assert!(tickets(&read).is_some() && tickets(&read) == tickets(&snapshot()));
        let partitions = |snapshot: &Snapshot| snapshot.keys.partitions.as_ref().map(|key| key.secret().clone());
        assert!(partitions(&read).is_some() && partitions(&read) == partitions(&snapshot()));
        let left: Vec<_> = fs::read_dir(&directory).expect("listed").collect();
        assert_eq!(left.len(), 1, "no half-written file stays behind: {left:?}");
        fs::remove_dir_all(&directory).expect("cleaned up");
    }

    #[test]
    fn a_snapshot_of_an_earlier_version_is_read() {
        let mut written = serde_json::to_value(Stored::from(&snapshot())).expect("JSON");
        for later in ["ticket_keys", "partition_key"] {
            written.as_object_mut().expect("an object").remove(later);
        }
        let stored: Stored = serde_json::from_value(written).expect("read");
        let read = Snapshot::try_from(stored).expect("read");
        assert!(read.keys.tickets.is_none() && read.keys.partitions.is_none() && read.apps.len() == 1);
    }

    #[test]
    fn a_cut_or_altered_snapshot_does_not_open_and_shows_no_secret() {
        let file = file(Path::new("/nowhere"), 1, None);
        let sealed = file.seal(&snapshot()).expect("sealed");
        assert!(!sealed.windows(10).any(|bytes| bytes == b"ffs_canary"));
        for length in [0, 1, NONCE_LEN, NONCE_LEN + 1, sealed.len() - 1] {
            assert!(file.open(&sealed[..length]).is_err(), "{length} bytes");
        }
        for at in [0, 1, NONCE_LEN + 1, sealed.len() - 1] {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(file.open(&altered).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_rotated_master_key_opens_the_old_snapshot_while_it_is_named() {
        let place = Path::new("/nowhere");
        let sealed = file(place, 1, None).seal(&snapshot()).expect("sealed");
        assert!(file(place, 2, Some(1)).open(&sealed).is_ok());
        assert!(file(place, 2, None).open(&sealed).is_err());
    }

    fn tempdir(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("fanfare-snapshot-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        directory
    }
}
