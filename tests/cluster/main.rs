//! `cargo xtask cluster`: the topology of `deploy/compose.yaml` on this machine, in the foreground.

use anyhow::{Context as _, Result};
use harness::topology::Topology;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it is for a terminal")]
async fn main() -> Result<()> {
    let mut ports = std::env::args().skip(1).map(|port| port.parse::<u16>());
    let mut port = || ports.next().context("the ports of gateways and of the control plane are missing");
    let ports = [port()??, port()??];
    let (mut interrupted, mut ended) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let cluster = tokio::select! {
        cluster = Topology::start(Some(ports)) => cluster?,
        _ = interrupted.recv() => return Ok(()),
        _ = ended.recv() => return Ok(()),
    };
    println!("\n  nginx before two gateways and a control plane; nothing is kept when they end\n");
    println!("  Dashboard   {}\n  Gateways    {}", cluster.nginx.control_url(), cluster.nginx.gateway_url());
    for (name, node) in
        [("Gateway 1", &cluster.gateways[0]), ("Gateway 2", &cluster.gateways[1]), ("Control", &cluster.control)]
    {
        println!("  {name:<11} process {}, {}/ready, log {}", node.pid(), node.private_url, node.log.display());
    }
    println!(
        "  All nodes   {}/nodes\n  Redis       {}",
        cluster.gateways[0].private_url,
        cluster.redis.socket().display()
    );
    println!("\n  Sign up at the dashboard. Ctrl-C stops everything.");
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = ended.recv() => {}
    }
    println!("\n  Stopping…");
    tokio::task::spawn_blocking(move || drop(cluster)).await?;
    Ok(())
}
