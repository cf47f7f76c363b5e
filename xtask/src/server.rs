//! The server's binary, and a server of a stage's own: embedded defaults, free ports, an empty data directory.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fanfare_load::platform::{Options, Platform};

use crate::command::{cargo, log_path, logged, target};
use crate::install;
use crate::report::Done;

/// Builds the server and the load generator.
pub(crate) fn build() -> Result<Done> {
    logged("server-build", cargo(&["build", "--package", "fanfare", "--package", "fanfare-load"]))?;
    Done::ok()
}

/// Where the built server is.
pub(crate) fn binary() -> PathBuf {
    target().join("debug/fanfare")
}

/// Starts a server with a Postgres of its own; it stops when it is dropped.
pub(crate) fn start(log: &str) -> Result<Platform> {
    let place = install::find_postgres().context("no Postgres here: the stage \"postgres\" installs it")?;
    // Every file of tests signs somebody up, all from one address.
    let sign_ups = [("BURST", "200"), ("PERIOD_MS", "60000")];
    let sign_ups = sign_ups.map(|(name, value)| (format!("FANFARE_CONTROL__SIGN_UP__{name}"), value.to_owned()));
    // What nodes keep is looked at by tests that have just made it happen.
    let often = ("FANFARE_STATISTICS__EVERY_MS".to_owned(), "1000".to_owned());
    let mut variables = vec![("FANFARE_PG_BIN".to_owned(), place.display().to_string()), often];
    variables.extend(sign_ups);
    Platform::start(&Options { log: Some(log_path(log)?), variables, ..Options::new(binary(), log) })
}

/// The app and the key that the server made at its first start, as its clients expect them.
pub(crate) fn access(server: &Platform) -> Result<[(&'static str, String); 2]> {
    let url = server.app_url.clone().context("the server made no app")?;
    let key = server.key.clone().context("the server made no key")?;
    Ok([("FANFARE_URL", url), ("FANFARE_KEY", key)])
}
