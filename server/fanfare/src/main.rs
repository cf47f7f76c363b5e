//! The `fanfare` binary: configuration, wiring and life of the platform, and its command line.
//!
//! Read [`serve`] first: it puts the planes together. Then [`lifecycle`] (how everything starts and stops), [`feed`]
//! (how the data plane learns of apps, and goes on without Postgres), [`figures`] (how what it measures gets into
//! Postgres), [`postgres`] (the private Postgres of the embedded
//! defaults), [`config`], and [`cli`] for the commands beside `serve`.
//!
//! Rules of the platform live in the other crates. What this one must never do: decide who may do what, speak SQL, make
//! the data plane wait for Postgres, start a task that nobody stops, or print a secret that it was not asked for.

mod away;
mod banner;
mod cli;
mod config;
mod control_plane;
mod database;
mod decisions;
mod feed;
mod figures;
mod files;
mod jwks;
mod lifecycle;
mod limit_use;
mod master_key;
mod memory;
mod migrate;
mod out;
mod postgres;
mod private;
mod revocations;
mod rotate;
mod serve;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

/// Many small, long-lived connections: mimalloc keeps them in less memory than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::take_small_pages();
    let cli = cli::Cli::parse();
    let provider = rustls::crypto::ring::default_provider();
    provider.install_default().expect("nothing has installed a TLS provider before main");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(cli.run());
            // Work on threads for blocking work is not waited for: after a second signal nothing is.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(anyhow::Error::new(error).context("the runtime does not start")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out::note(format_args!("error: {}", out::causes(&error)));
            ExitCode::FAILURE
        }
    }
}
