//! Decisions of rules: counted once however often they are told, put together over hours and processes, let go in time.

use std::time::Duration;

use anyhow::Result;
use fanfare_core::id::NodeId;
use fanfare_core::{Asked, ChannelName, Decision, Operation};
use fanfare_store::{AppStore, KeptDecision, LeftOut};
use harness::store::{Home, home};

const HOUR_S: u64 = 3_600;

fn decision(user: &str) -> Result<Decision> {
    Ok(Decision {
        sub: Some(user.into()),
        roles: vec!["staff".into()],
        claims: [("team".into(), "blue".into())].into(),
        has_cap: false,
        asked: Asked::Channel { operation: Operation::Subscribe, channel: ChannelName::parse("room:9")? },
        allowed: true,
    })
}

async fn keep(home: &Home, app: &AppStore, (node, hour_s): (u128, u64), user: &str, count: u64) -> Result<()> {
    let decision = decision(user)?;
    let kept = KeptDecision { app: app.id(), hour_s, decision: &decision, count, last_s: hour_s + 5 };
    let left_out = LeftOut { app: app.id(), hour_s, count };
    home.store.feed().keep_decisions(NodeId::new(1, node), &[kept], &[left_out]).await?;
    Ok(())
}

fn hour_of(home: &Home) -> u64 {
    use fanfare_core::Clock as _;
    let now_s = home.clock.unix_ms() / 1_000;
    now_s - now_s % HOUR_S
}

#[tokio::test]
async fn a_decision_is_one_over_hours_and_processes_and_told_twice_counts_once() -> Result<()> {
    let home = home().await?;
    let (ann, bob) = (home.sign_up("ann").await?, home.sign_up("bob").await?);
    let hour = hour_of(&home);
    for (node, hour, count) in [(1, hour, 3), (1, hour, 5), (1, hour, 4), (2, hour, 7), (1, hour - HOUR_S, 11)] {
        keep(&home, &ann.app, (node, hour), "ann", count).await?;
    }
    keep(&home, &ann.app, (1, hour), "bert", 1).await?;
    let day = ann.app.decisions(10).await?;
    let seen: Vec<_> = day.decisions.iter().map(|record| (record.decision.clone(), record.count)).collect();
    assert_eq!(seen, [(decision("ann")?, 23), (decision("bert")?, 1)]);
    assert_eq!(day.decisions[0].last_at.timestamp().cast_unsigned(), hour + 5);
    assert_eq!(day.left_out, 23, "of each process and hour the greatest");
    let most = ann.app.decisions(1).await?;
    assert_eq!((most.decisions.len(), most.left_out), (1, 24), "what the list has no room for is left out");
    let others = bob.app.decisions(10).await?;
    assert!(others.decisions.is_empty() && others.left_out == 0, "another tenant's");
    Ok(())
}

#[tokio::test]
async fn decisions_are_looked_back_at_for_a_day_and_then_let_go() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    keep(&home, &ann.app, (1, hour_of(&home)), "ann", 3).await?;
    let rows = async || -> Result<i64> {
        home.store.feed().trim_decisions().await?;
        let count = "SELECT (SELECT count(*) FROM decisions) + (SELECT count(*) FROM decisions_left_out)";
        Ok(sqlx::query_scalar(count).fetch_one(&home.behind().await?).await?)
    };
    assert_eq!((ann.app.decisions(10).await?.decisions.len(), rows().await?), (1, 2));
    home.clock.advance(Duration::from_secs(26 * HOUR_S));
    assert_eq!((ann.app.decisions(10).await?.decisions.len(), rows().await?), (0, 0));
    Ok(())
}
