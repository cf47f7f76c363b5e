//! Several nodes on this machine: what `deploy/compose.yaml` starts, as processes.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::command::{cargo, logged, program, target};
use crate::report::{Done, line, step};
use crate::{dash, install, sdk, server};

/// Where it is found.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where nginx listens for clients and backends.
    #[arg(long, default_value_t = 8000)]
    gateway_port: u16,
    /// Where nginx listens for the dashboard.
    #[arg(long, default_value_t = 8001)]
    control_port: u16,
}

/// The command. Becomes what starts and ends the processes.
pub(crate) fn run(options: &Options) -> Result<()> {
    for (port, other) in [(options.gateway_port, "--gateway-port"), (options.control_port, "--control-port")] {
        let free = TcpListener::bind(("127.0.0.1", port));
        drop(free.with_context(|| format!("port {port} cannot be listened at; choose another with {other}"))?);
    }
    line("Fanfare: building what is not up to date (the first time takes some minutes)");
    step("wasm target", install::wasm_target)?;
    step("node", install::node)?;
    step("Postgres", install::postgres)?;
    step("Redis", install::redis)?;
    step("nginx", install::nginx)?;
    step("SDK", sdk::build)?;
    step("dashboard", || dash::build(false))?;
    step("server", server::build)?;
    step("cluster", || {
        logged("cluster-build", cargo(&["build", "--package", "fanfare-tests", "--bin", "cluster"]))?;
        Done::ok()
    })?;
    let ports = [options.gateway_port, options.control_port].map(|port| port.to_string());
    let mut cluster = program(target().join("debug/cluster"), &[&*ports[0], &*ports[1]]);
    cluster
        .env("FANFARE_TEST_BINARY", server::binary())
        .env("FANFARE_PG_BIN", install::find_postgres().context("Postgres was not found after it was installed")?);
    Err(cluster.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit()).exec())
        .context("start the cluster")
}
