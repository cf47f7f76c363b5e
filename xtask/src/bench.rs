//! The figures: the release server against the floor program, by the same client.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::command::{cargo, logged, program, target};
use crate::install;
use crate::report::{Done, step};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What the load generator is told; `--help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    load: Vec<String>,
}

/// The command. Becomes the load generator.
pub(crate) fn run(options: &Options) -> Result<()> {
    step("Postgres", install::postgres)?;
    step("release build", || {
        logged("bench-build", cargo(&["build", "--release", "--package", "fanfare", "--package", "fanfare-load"]))?;
        Done::ok()
    })?;
    let release = target().join("release");
    // `cargo xtask bench drain …` stops a server under load, `… stall …` lets clients stop reading; everything else measures
    // what work costs.
    let (what, rest) = match options.load.split_first() {
        Some((first, rest)) if ["drain", "stall"].contains(&&**first) => (&**first, rest),
        _ => ("run", &options.load[..]),
    };
    let mut load = program(release.join("load"), &[what, "--fanfare"]);
    load.arg(release.join("fanfare")).args(rest);
    Err(load.exec()).context("start the load generator")
}
