//! `load`: what Fanfare costs, as a ratio to a program that does nothing but write.
//!
//! - `load floor` is that program: one thread, epoll, one ready-made frame for each socket, no protocol, no rights.
//! - `load drain` stops a server with many connections on it: see [`drain`].
//! - `load stall` has a quarter of the clients stop reading: see [`stall`].
//! - `load run` starts the floor and Fanfare in turn and drives both by the same client code: see [`scenario`].
//!
//! Costs are user + system CPU of the server's process per unit of work, from `/proc`. Times of day and machines differ,
//! so only ratios within one run say something. Everything is bounded in count and time, and stays on 127.0.0.1.

mod clock;
mod drain;
mod fleet;
mod floor;
mod measure;
mod report;
mod scenario;
mod stall;
mod target;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures Fanfare against the floor program.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be the floor program on a free port of 127.0.0.1, which is printed, until killed.
    Floor,
    /// Measure.
    Run(Options),
    /// Stop a server with many connections on it, and judge how they end.
    Drain(drain::Options),
    /// Have a quarter of the clients stop reading, and see what that costs the others.
    Stall(stall::Options),
    /// Be a process of clients for a drain, by the plan on stdin.
    #[command(hide = true)]
    DrainClients,
}

/// What to measure.
#[derive(Debug, clap::Args)]
struct Options {
    /// The server's binary; without it only the floor is measured.
    #[arg(long)]
    fanfare: Option<PathBuf>,
    /// Which work; all of it when nothing is named.
    #[arg(long = "scenario", value_enum)]
    scenarios: Vec<scenario::Name>,
    /// How long each steady measurement takes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// How many connections the idle measurement opens.
    #[arg(long, default_value_t = 19_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    idle_connections: u32,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Floor => floor::serve(),
        Command::Run(options) => run(&options),
        Command::Drain(options) => drain::run(&options),
        Command::Stall(options) => stall::run(&options),
        Command::DrainClients => drain::run_clients(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let mut report = report::Report::default();
    for name in scenario::Name::chosen(&options.scenarios) {
        let bounds = scenario::Bounds { seconds: options.seconds, idle_connections: options.idle_connections };
        let floor = scenario::run(name, &target::Target::floor()?, bounds)?;
        let fanfare = match &options.fanfare {
            Some(binary) => {
                let target = target::Target::fanfare(binary)?;
                Some(scenario::run(name, &target, bounds)?)
            }
            None => None,
        };
        report.add(name, &floor, fanfare.as_ref());
    }
    report.finish(options.json.as_deref())
}
