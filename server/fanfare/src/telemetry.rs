//! Where logs go: stderr, a message and its fields.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Installs the subscriber, once per process.
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn install(log: &Log) -> Result<()> {
    let filter =
        EnvFilter::try_new(&log.filter).with_context(|| format!("log.filter `{}` cannot be read", log.filter))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}
