//! A platform on this machine, from nothing.

use std::os::unix::process::CommandExt;
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::command::cargo;
use crate::report::{line, step};
use crate::{dash, install, sdk};

/// What to start.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Build for speed; takes much longer.
    #[arg(long)]
    release: bool,
    /// What `fanfare serve` is told.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    serve: Vec<String>,
}

/// The command. Becomes the server, so that signals and the exit code are the server's own.
pub(crate) fn run(options: &Options) -> Result<()> {
    line("Fanfare: building what is not up to date (the first time takes some minutes)");
    step("wasm target", install::wasm_target)?;
    step("node", install::node)?;
    if std::env::var_os("DATABASE_URL").is_none() {
        step("Postgres", install::postgres)?;
    }
    step("SDK", sdk::build)?;
    step("dashboard", || dash::build(options.release))?;
    line("  server");
    let mut server = cargo(&["run", "--package", "fanfare"]);
    if options.release {
        server.arg("--release");
    }
    // From here on it is a person's terminal.
    server.args(["--", "serve"]).args(&options.serve).stdin(Stdio::inherit()).env_remove("CARGO_TERM_COLOR");
    Err(server.exec()).context("start cargo")
}
