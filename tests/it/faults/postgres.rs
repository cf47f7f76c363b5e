//! Postgres is there, and does not do its work.

use std::time::Duration;

use ::harness::eventually;
use ::harness::server::Server;
use anyhow::{Result, ensure};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::bombs::Bystander;

#[tokio::test]
async fn while_a_table_is_locked_the_control_plane_says_so_at_once_and_messages_flow() -> Result<()> {
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let pool = server.database().pool().await?;
    let mut held = pool.begin().await?;
    sqlx::query("LOCK TABLE fanfare.keys, fanfare.apps IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await?;
    let ended = std::cell::Cell::new(false);
    let asking = async {
        let mut slowest = Duration::ZERO;
        // More at once than the pool has connections.
        for _ in 0..3 {
            let path = format!("/apps/{}/keys", owner.app);
            let wave = join_all((0..20).map(async |_| {
                let begun = Instant::now();
                Ok::<_, anyhow::Error>((owner.get(&path).await?, begun.elapsed()))
            }));
            for answered in wave.await {
                let (answer, took) = answered?;
                ensure!((answer.status, answer.refusal()?.as_str()) == (503, "storage_unavailable"), "{}", answer.body);
                ensure!(answer.header("retry-after").is_some(), "it says when to come back");
                slowest = slowest.max(took);
            }
        }
        ended.set(true);
        Ok(slowest)
    };
    let (slowest, traffic) = tokio::join!(asking, bystander.until(|| ended.get()));
    traffic?;
    let slowest = slowest?;
    eprintln!("refused while tables are locked: slowest {slowest:?}");
    // A second, and room for a slow machine.
    ensure!(slowest < Duration::from_secs(4), "refused after {slowest:?}");
    held.rollback().await?;
    eventually("it answers again", async || {
        Ok((owner.get(&format!("/apps/{}/keys", owner.app)).await?.status == 200).then_some(()))
    })
    .await?;
    bystander.settle("locked tables")
}
