//! The threads that serve clients.
//!
//! They are not those of the control plane: a page that is built, a list that is read from Postgres or figures that are
//! kept never stand between a message and its subscribers. Threads that wait for each other's work are woken for every
//! small piece of it, which costs more than the piece; so one core is left to everything else on the machine.

use std::num::NonZero;

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tracing::info;

/// The data plane's runtime. Ends when dropped, without waiting for what it still does.
#[derive(Debug)]
pub(super) struct Workers(Option<Runtime>);

impl Workers {
    /// Starts so many threads; 0 for one less than the machine has cores, and one at least.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn start(threads: usize) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = if threads == 0 { cores.saturating_sub(1).max(1) } else { threads };
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name("gateway").enable_all();
        let runtime =
            fanfare_engine::turn::on(&mut builder).build().context("the threads of the gateway do not start")?;
        info!(threads, cores, "serving clients");
        Ok(Self(Some(runtime)))
    }

    /// Where tasks of the data plane are spawned.
    pub(super) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("taken only when dropped").handle()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // A runtime may not be waited for by a thread of another one.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
