//! The master key: 32 bytes kept outside Postgres, under which secrets in Postgres and the snapshot on disk are sealed.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::TryRng as _;
use rand::rngs::SysRng;
use tracing::info;
use zeroize::Zeroizing;

use crate::config::{Options, Secret};
use crate::postgres::own_uid;

/// 32 bytes, wiped when dropped.
pub(crate) type KeyBytes = Zeroizing<[u8; 32]>;

/// The key in use, and the one before while a rotation is under way.
pub(crate) struct MasterKeys {
    pub(crate) current: KeyBytes,
    pub(crate) previous: Option<KeyBytes>,
}

impl MasterKeys {
    /// Takes the keys from the configuration, else from the file in the data directory, which is made when it is missing.
    ///
    /// # Errors
    /// When a key is not 32 bytes of base64, or the file cannot be used or is open to others.
    pub(crate) fn load(options: &Options, data: &Path) -> Result<Self> {
        let previous = options.master_key_previous.as_ref().map(Secret::expose);
        let previous = previous.map(decode).transpose().context("FANFARE_MASTER_KEY_PREVIOUS is not valid")?;
        if let Some(text) = &options.master_key {
            let current = decode(text.expose()).context("FANFARE_MASTER_KEY is not valid")?;
            return Ok(Self { current, previous });
        }
        let current = from_file(&path(data))?;
        // An interrupted rotation has sealed some things under the next key already.
        let next = next_path(data);
        let next = if next.exists() { Some(from_file(&next)?) } else { None };
        Ok(Self { current, previous: previous.or(next) })
    }

    /// The key that takes the place of the one in the file, made or, after an interruption, found; the one in the file
    /// is the previous one.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(crate) fn next(data: &Path) -> Result<Self> {
        let previous = from_file(&path(data))?;
        Ok(Self { current: from_file(&next_path(data))?, previous: Some(previous) })
    }
}

/// Held by every server that works with the key of a data directory, so that nobody replaces it under them.
///
/// # Errors
/// When a rotation is under way, or the directory cannot be written to.
pub(crate) fn hold(data: &Path) -> Result<File> {
    let lock = lock_file(data)?;
    match lock.try_lock_shared() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("the master key in {} is being rotated: wait for it", data.display()),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the master key"),
    }
}

/// Held by whoever replaces the key.
///
/// # Errors
/// When a server works with it, or the directory cannot be written to.
pub(crate) fn hold_alone(data: &Path) -> Result<File> {
    let lock = lock_file(data)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!("a server is running with the key in {}: stop it, run this, and start it again", path(data).display())
        }
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the master key"),
    }
}

/// A file of its own: the key's is replaced when it is rotated, and a lock on it with it.
fn lock_file(data: &Path) -> Result<File> {
    let path = data.join("master.key.lock");
    let opened = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    opened.with_context(|| format!("cannot open {}", path.display()))
}

/// Where the next key is kept while a rotation is under way.
pub(crate) fn next_path(data: &Path) -> PathBuf {
    data.join("master.key.next")
}

/// Where the key is kept when it is not configured.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("master.key")
}

/// Makes the data directory; only root's may be passed through by others, for Postgres's account.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make_data_dir(data: &Path) -> Result<()> {
    let mode = if own_uid()? == 0 { 0o711 } else { 0o700 };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(data)
        .with_context(|| format!("cannot make the data directory {}", data.display()))
}

/// Reads 32 bytes of base64, with or without padding, either alphabet.
fn decode(text: &str) -> Result<KeyBytes> {
    let text = text.trim();
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')));
    let bytes = Zeroizing::new(bytes.context("the key is not base64")?);
    let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice()) else {
        bail!("the key has {} bytes; it needs 32 (`openssl rand -base64 32` makes one)", bytes.len());
    };
    Ok(Zeroizing::new(key))
}

/// Draws a new key.
fn draw() -> Result<KeyBytes> {
    let mut key = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(key.as_mut_slice()).context("the system gives no random bytes")?;
    Ok(key)
}

fn from_file(path: &Path) -> Result<KeyBytes> {
    match fs::metadata(path) {
        Ok(metadata) => {
            ensure!(
                metadata.mode() & 0o077 == 0,
                "{} can be read by others (mode {:o}): chmod 600 it, and consider the key known",
                path.display(),
                metadata.mode() & 0o777
            );
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            decode(&text).with_context(|| format!("{} is damaged", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = draw()?;
            write(path, &key)?;
            info!(path = %path.display(), "made a master key: keep a copy, sealed secrets cannot be read without it");
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// Writes the key so that a crash leaves the old file or the new one.
fn write(path: &Path, key: &KeyBytes) -> Result<()> {
    let what = || format!("cannot write {}", path.display());
    let new = path.with_extension("new");
    let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&new).with_context(what)?;
    let text = Zeroizing::new(format!("{}\n", STANDARD.encode(key.as_slice())));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(what)?;
    fs::rename(&new, path).with_context(what)?;
    let directory = path.parent().expect("the key lies in a directory");
    File::open(directory).and_then(|directory| directory.sync_all()).with_context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_of_either_base64() {
        let key = [0xFB_u8; 32];
        for text in [STANDARD.encode(key), URL_SAFE_NO_PAD.encode(key), format!(" {}\n", STANDARD.encode(key))] {
            assert_eq!(*decode(&text).expect("valid"), key, "{text}");
        }
        for text in ["", "abc", "not base64!", &STANDARD.encode([1; 31]), &STANDARD.encode([1; 33])] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_made_key_is_read_again_and_others_must_not_read_it() {
        let directory = std::env::temp_dir().join(format!("fanfare-key-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        let file = path(&directory);
        let made = from_file(&file).expect("made");
        assert_eq!(made, from_file(&file).expect("read"));
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(&file, open).expect("chmod");
        assert!(from_file(&file).expect_err("open to others").to_string().contains("644"));
        fs::remove_dir_all(&directory).expect("cleaned up");
    }
}
