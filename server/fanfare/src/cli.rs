//! The command line: a table of contents. Each command is a file in `cli/`.

mod bench;
mod check;
mod jwt;
mod link;
mod openapi;
mod problem;
mod publish;
mod subscribe;
mod target;
mod token;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::config::{self, Options, Role};
use crate::{migrate, out, rotate, serve, telemetry};

/// Fanfare: multi-tenant publish and subscribe.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command of a server takes.
#[derive(Debug, Clone, Args)]
struct Common {
    /// The configuration file; `fanfare config` prints one.
    #[arg(id = "config_file", long = "config", global = true, env = "FANFARE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where files are kept; also read from FANFARE_DATA.
    #[arg(id = "data_directory", long = "data", global = true, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the platform, or a part of it.
    Serve {
        /// What this process does.
        #[arg(long, value_enum)]
        role: Option<Role>,
    },
    /// Bring the database to what this version needs.
    Migrate,
    /// Say what is fine and what is not, without starting anything.
    Check {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the whole configuration with every key explained.
    Config,
    /// Print an OpenAPI document as JSON.
    Openapi {
        /// Which of both.
        #[arg(value_enum)]
        plane: openapi::Plane,
    },
    /// Make or explain a channel token.
    #[command(subcommand)]
    Token(token::Command),
    /// Publish a message through the REST API.
    Publish(publish::Arguments),
    /// Print the messages of channels as they come; reconnects and resumes.
    Subscribe(subscribe::Arguments),
    /// Measure a server under load that you choose, and judge every delivery.
    Bench(bench::Arguments),
    /// Seal everything under a new master key.
    RotateMasterKey,
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// When it did not work; the message is for the person who asked.
    pub(crate) async fn run(self) -> Result<()> {
        let options = || {
            let mut options = Options::load(self.common.config.as_deref())?;
            if let Some(data) = &self.common.data {
                options.data = Some(data.clone());
            }
            telemetry::install(&options.log)?;
            anyhow::Ok(options)
        };
        match self.command {
            Command::Serve { role } => {
                let mut options = options()?;
                options.role = role.unwrap_or(options.role);
                serve::run(options).await
            }
            Command::Migrate => migrate::run(&options()?).await,
            Command::Check { json } => check::run(self.common.config.as_deref(), self.common.data, json).await,
            Command::Config => {
                out::line(config::TEXT.trim_end());
                Ok(())
            }
            Command::Openapi { plane } => openapi::run(plane),
            Command::Token(command) => token::run(command),
            Command::Publish(arguments) => publish::run(arguments).await,
            Command::Subscribe(arguments) => subscribe::run(arguments).await,
            Command::Bench(arguments) => bench::run(arguments).await,
            Command::RotateMasterKey => rotate::run(&options()?).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_reads_its_arguments() {
        let app = "http://localhost:8000/v1/apps/app_00000000000000000000000001";
        for line in [
            vec!["serve", "--role", "gateway", "--data", "/d", "--config", "/c"],
            vec!["check", "--json"],
            vec!["openapi", "data-plane"],
            vec!["token", "make", "--sub", "ann", "--cap", "room:*=subscribe,publish", "--ttl", "15m", "--key", "k"],
            vec!["token", "inspect", "a.b.c"],
            vec!["publish", "--url", app, "--key", "k", "demo:hello", "1", "--header", "a=b", "--text"],
            vec!["subscribe", "--url", app, "demo:hello", "demo:other", "--rewind", "10"],
            vec!["bench", "--url", app, "--key", "k", "--connections", "5", "--rate", "0.5", "--arrivals", "poisson"],
            vec!["rotate-master-key"],
        ] {
            let parsed = Cli::try_parse_from(std::iter::once("fanfare").chain(line.iter().copied()));
            assert!(parsed.is_ok(), "{line:?}: {}", parsed.err().map(|error| error.to_string()).unwrap_or_default());
        }
    }
}
