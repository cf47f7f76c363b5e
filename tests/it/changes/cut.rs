//! The notification only brings a change forward: where it is cut, the poll brings the change.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use ::harness::eventually;
use ::harness::server::Server;
use anyhow::Result;
use serde_json::json;
use sqlx::PgPool;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Delays, TRIES, connect_by, fresh_key, revoke};

/// So often that hardly a notification finds a listener.
const CUT_EVERY: Duration = Duration::from_millis(20);

/// Ends every backend that listens for changes, and says how many there were.
async fn cut_listeners(pool: &PgPool) -> Result<usize> {
    let cut = sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ILIKE 'listen%'",
    );
    Ok(cut.fetch_all(pool).await?.len())
}

async fn keep_cutting(pool: &PgPool, cut: &Cell<usize>) -> Result<Infallible> {
    let mut due = interval(CUT_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        cut.set(cut.get() + cut_listeners(pool).await?);
    }
}

async fn revoke_again_and_again(server: &Server) -> Result<Delays> {
    let owner = server.sign_up().await?;
    let mut delays = Delays::new("key revoked while notifications are cut → connection closed");
    for _ in 0..TRIES {
        let key = fresh_key(&owner, None).await?;
        let mut client = connect_by(&owner, &key).await?;
        let since = Instant::now();
        revoke(&owner, &key).await?;
        assert_eq!(client.closed().await?, (4403, "token_revoked".to_owned()));
        delays.felt(since);
        let answer = owner.publisher_with(&key).post("/channels/room:9/messages", &json!({ "data": 1 })).await?;
        assert_eq!(answer.refusal()?, "key_invalid");
    }
    Ok(delays)
}

#[tokio::test]
async fn a_change_is_felt_within_seconds_while_the_notifications_are_cut() -> Result<()> {
    let server = Server::start().await?;
    let pool = server.database().pool().await?;
    // The server does listen, or there would be nothing to cut.
    eventually("the feed listens", async || Ok((cut_listeners(&pool).await? > 0).then_some(()))).await?;
    let cut = Cell::new(0);
    let delays = tokio::select! {
        broken = keep_cutting(&pool, &cut) => match broken? {},
        delays = revoke_again_and_again(&server) => delays?,
    };
    println!("{} listeners were cut", cut.get());
    assert!(cut.get() > 0, "the feed came back to listen, and was cut again");
    delays.judge()
}
