//! The house's commands: `cargo xtask run` gets a platform up, `cargo xtask test` does everything CI does.
//!
//! Each command is a file of its name. [`install`] finds or fetches what a fresh machine lacks, [`command`] runs other
//! programs with their output in a log, [`report`] is all that prints. Dependencies are few on purpose: building this
//! crate stands before the first sign of life of every other command.

mod bench;
mod chaos;
mod cluster;
mod command;
mod dash;
mod install;
mod openapi;
mod report;
mod run;
mod sdk;
mod server;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, run and test Fanfare.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build everything, then start the platform here in the foreground.
    Run(run::Options),
    /// Build everything, then start two gateways, a control plane and nginx before them here in the foreground.
    Cluster(cluster::Options),
    /// Do everything CI does.
    Test(test::Options),
    /// Build the dashboard into dashboard/dist.
    Dash(dash::Options),
    /// Build the TypeScript SDK into clients/typescript/dist.
    Sdk,
    /// Write openapi/*.json from the server's routes.
    Openapi,
    /// Measure the server against the floor program; everything after it goes to the load generator.
    Bench(bench::Options),
    /// Put faults under load, by their numbers; results are kept for each commit in target/chaos.
    Chaos(chaos::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Cluster(options) => cluster::run(&options),
        Command::Test(options) => return test::run(&options),
        Command::Dash(options) => dash::run(&options),
        Command::Sdk => sdk::run(),
        Command::Openapi => openapi::run(),
        Command::Bench(options) => bench::run(&options),
        Command::Chaos(options) => chaos::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(&error);
            ExitCode::FAILURE
        }
    }
}
