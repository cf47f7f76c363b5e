//! `fanfare rotate-master-key`: seals everything under a new master key.
//!
//! Where the key is configured, the operator brings the new one and names the old one as previous, first on every node,
//! then here. Where it is a file, the new key is written beside it before anything is sealed under it and takes its place
//! afterwards: whenever this is interrupted, both keys are there, every command opens with either, and running it again
//! goes on.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use fanfare_engine::SystemClock;
use fanfare_store::Store;

use crate::config::Options;
use crate::database::Database;
use crate::feed::snapshot::SnapshotFile;
use crate::master_key::{self, MasterKeys};
use crate::out;

pub(crate) async fn run(options: &Options) -> Result<()> {
    let data = options.data_dir()?;
    let database = Database::open(options, &data).await?;
    let rotated = if options.master_key.is_some() {
        configured(&database, options, &data).await
    } else {
        in_file(&database, options, &data).await
    };
    database.close().await;
    rotated
}

async fn configured(database: &Database, options: &Options, data: &Path) -> Result<()> {
    let keys = MasterKeys::load(options, data)?;
    if keys.previous.is_none() {
        bail!(
            "set FANFARE_MASTER_KEY to the new key and FANFARE_MASTER_KEY_PREVIOUS to the one before, on every node, \
             restart them, and run this with the same"
        );
    }
    let count = reseal(database, options, &keys, data).await?;
    out::line(format_args!("{count} secrets are sealed under FANFARE_MASTER_KEY; the previous key can be dropped."));
    Ok(())
}

async fn in_file(database: &Database, options: &Options, data: &Path) -> Result<()> {
    let path = master_key::path(data);
    ensure!(path.exists(), "there is no master key in {} yet", data.display());
    let _alone = master_key::hold_alone(data)?;
    let keys = MasterKeys::next(data)?;
    let count = reseal(database, options, &keys, data).await?;
    fs::rename(master_key::next_path(data), &path)
        .with_context(|| format!("cannot put the new key in place of {}", path.display()))?;
    out::line(format_args!("{count} secrets are sealed under a new master key in {}. Keep a copy.", path.display()));
    Ok(())
}

async fn reseal(database: &Database, options: &Options, keys: &MasterKeys, data: &Path) -> Result<u64> {
    let store = Store::connect(database.store_options(&options.store, keys, Arc::new(SystemClock::new()))).await?;
    let count = store.reseal_all().await.context("not everything could be sealed again; run this again");
    store.close().await;
    let file = SnapshotFile::new(data, keys);
    match file.read() {
        Ok(Some(snapshot)) => file.write(&snapshot)?,
        Ok(None) => {}
        // No reason to stop half way: the next start does not believe it either, and writes another.
        Err(damaged) => out::note(format_args!("the snapshot is left as it is: {damaged:#}")),
    }
    count
}
