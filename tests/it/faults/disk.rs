//! A disk that takes nothing more.

use std::process::Command;

use ::harness::answer::{Answer, http};
use ::harness::eventually;
use ::harness::server::{Options, Server};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::bombs::{Bystander, beside};

/// Lets the server write files up to a size, and no further: as a full disk does, for its log and its snapshot alike.
fn let_write(server: &Server, bytes: &str) -> Result<()> {
    let pid = server.platform().pid().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).status()?;
    ensure!(limited.success(), "prlimit");
    Ok(())
}

async fn counted(server: &Server, name: &str) -> Result<u64> {
    let text = Answer::to(http()?.get(format!("{}/metrics", server.private_url()))).await?.ok()?;
    let text = text.as_str().context("metrics are text")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.with_context(|| format!("no {name}"))?.parse().map_err(Into::into)
}

#[tokio::test]
async fn a_full_disk_costs_the_log_and_the_snapshot_and_no_message() -> Result<()> {
    // The kernel's default for a file that may not grow is to end the process, which no full disk does.
    let mut server = Server::start_with(Options::default().after("trap '' XFSZ")).await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let written = "fanfare_snapshots_written_total";
    eventually("a snapshot is there", async || Ok((counted(&server, written).await? > 0).then_some(()))).await?;
    let file = server.data().join("snapshot.sealed");
    let key = owner.create_key("before", &json!({ "**": ["publish"] })).await?;
    let publisher = owner.publisher_with(&key);
    eventually("the key is known", async || Ok(publisher.publish("room:1", 1).await.ok())).await?;

    let_write(&server, "1")?;
    let (log, sound) = (server.log()?.len(), std::fs::read(&file)?);
    let working = async {
        for round in 0..3 {
            // Each change is to be written, and cannot be; it is in force all the same.
            let key = owner.create_key(&format!("full {round}"), &json!({ "**": ["publish"] })).await?;
            let publisher = owner.publisher_with(&key);
            eventually("the key is known", async || Ok(publisher.publish("room:1", round).await.ok())).await?;
            let mut ann = owner.connect_as("ann", &["room:*"]).await?;
            ann.subscribe("room:1").await?;
            ann.publish("room:1", round).await?;
            ann.message("room:1").await?;
        }
        eventually("readiness tells of it", async || {
            let ready = server.ready().await?;
            Ok((ready.status == 200 && ready.body["degraded"].to_string().contains("snapshot")).then_some(()))
        })
        .await?;
        Ok(())
    };
    beside(&server, &mut bystander, working).await?;
    ensure!(server.log()?.len() == log, "the log took something");
    for lost in ["fanfare_snapshots_failed_total", "fanfare_log_lines_lost_total"] {
        ensure!(counted(&server, lost).await? > 0, "{lost}");
    }
    ensure!(std::fs::read(&file)? == sound, "the snapshot from before is touched");
    let left: Vec<_> = std::fs::read_dir(server.data())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    ensure!(!left.iter().any(|name| name.contains("new-")), "half a file lies there: {left:?}");

    // There is room again: all is written, by itself, and a start without Postgres knows all.
    let_write(&server, "unlimited")?;
    let failed = counted(&server, "fanfare_snapshots_failed_total").await?;
    let before = counted(&server, written).await?;
    eventually("the snapshot is written", async || Ok((counted(&server, written).await? > before).then_some(())))
        .await?;
    eventually("all is well", async || Ok((server.ready().await?.body["degraded"] == json!([])).then_some(()))).await?;
    ensure!(counted(&server, "fanfare_snapshots_failed_total").await? == failed, "it failed with room");
    server.kill()?;
    server.launch().await?;
    server.await_app(&owner).await?;
    bystander.settle("a full disk")
}
