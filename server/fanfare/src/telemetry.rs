//! Where logs go: stderr, a message and its fields.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicU64, Ordering};

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
        .with_writer(|| Lossy(io::stderr()))
        .with_ansi(io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Lines of the log that nobody took.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines of the log were lost, because the disk was full or whoever read them is gone.
pub(crate) fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Writes whole lines, and counts those that cannot be written: whatever becomes of the log, the work goes on. An error
/// given back would be printed to the same place, which panics when that fails.
struct Lossy<W>(W);

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.write_all(line).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What is lost was counted when it was written.
        let _ = self.0.flush();
        Ok(())
    }
}
