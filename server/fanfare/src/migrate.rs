//! `fanfare migrate`: brings the database to what this version needs.

use anyhow::{Context as _, Result};
use fanfare_store::Store;

use crate::config::Options;
use crate::database::Database;
use crate::{master_key, out};

pub(crate) async fn run(options: &Options) -> Result<()> {
    let data = options.data_dir()?;
    master_key::make_data_dir(&data)?;
    let database = Database::open(options, &data).await?;
    let migrated = Store::migrate(&database.url).await.context("the database was not migrated");
    database.close().await;
    migrated?;
    out::line("The database is at what this version needs.");
    Ok(())
}
