//! Nobody loses a message in silence: clients that go and come back, logs that end, readers that stall.

use ::harness::client::Client;
use ::harness::eventually;
use ::harness::ledger::{Fact, Journal, Ledger, Position, Seen};
use ::harness::owner::Owner;
use ::harness::server::{Options, Server};
use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

mod coming_and_going;
pub(crate) mod event_streams;
mod slow_policies;
pub(super) mod stalling;

/// Replaces the settings of channels; they are on their way then.
pub(crate) async fn set(owner: &Owner, settings: Value) -> Result<()> {
    let path = format!("/apps/{}/channel-settings", owner.app);
    let etag = owner.get(&path).await?.header("etag").context("settings have a version")?.to_owned();
    owner.send_if(Method::PUT, &path, &etag, &json!({ "settings": settings })).await?.ok()?;
    Ok(())
}

/// Sets what is kept of every channel, and waits until publishes are treated so.
pub(crate) async fn keep(owner: &Owner, messages: u32) -> Result<()> {
    let history = json!({ "ttl_ms": 3_600_000, "messages": messages, "bytes": 1_u64 << 30 });
    let one = json!({ "ttl_ms": 3_600_000, "messages": 1, "bytes": 1_000 });
    let settings = json!([{ "pattern": "**", "history": history }, { "pattern": "probe", "history": one }]);
    set(owner, settings).await?;
    let publisher = owner.publisher();
    // The same document keeps one message of the probes: when the first of two is gone, it is in force.
    eventually("the settings arrive", async || {
        publisher.publish("probe", 1).await?;
        publisher.publish("probe", 2).await?;
        let page = publisher.get("/channels/probe/messages").await?.ok()?;
        Ok((page["messages"].as_array().map(Vec::len) == Some(1)).then_some(()))
    })
    .await
}

/// Publishes numbers and enters them into the ledger.
pub(crate) async fn publish(
    owner: &Owner,
    ledger: &mut Ledger,
    channel: &str,
    numbers: std::ops::Range<u64>,
) -> Result<()> {
    let publisher = owner.publisher();
    for number in numbers {
        publisher.publish_into(ledger, channel, number).await?;
    }
    Ok(())
}

/// Reads until the message with this number has come.
pub(crate) async fn read_to(client: &mut Client, channel: &str, seq: u64) -> Result<()> {
    while client.message(channel).await?["seq"] != seq {}
    Ok(())
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("not a text: {value}"))
}

/// Where a client would go on.
pub(crate) fn position(journals: &[Journal], channel: &str) -> Result<Position> {
    let journal = journals.iter().find(|journal| journal.channel == channel);
    journal.and_then(Journal::position).context("nothing was seen")
}

pub(crate) fn printed(position: &Position) -> String {
    format!("{}.{}", position.lineage, position.seq)
}

/// A client that has seen three messages and is gone: its journal.
async fn seen_three(owner: &Owner, ledger: &mut Ledger, channel: &str) -> Result<Journal> {
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe(channel).await?;
    publish(owner, ledger, channel, 1..4).await?;
    read_to(&mut ann, channel, 3).await?;
    ann.vanish().pop().context("one channel was seen")
}

#[tokio::test]
async fn what_history_no_longer_holds_is_told_with_both_ends() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    keep(&owner, 5).await?;
    let mut ledger = Ledger::new();
    let journal = seen_three(&owner, &mut ledger, "room:9").await?;
    publish(&owner, &mut ledger, "room:9", 4..21).await?;
    let lineage = position(std::slice::from_ref(&journal), "room:9")?.lineage;
    // Of 20 messages the last five are kept: after 15 nothing is missing, after 14 the fifteenth is.
    ledger.fact("room:9", Fact::Trimmed(Position { lineage: lineage.clone(), seq: 15 }));

    let mut journals = Vec::new();
    for (from, recovered) in [(3, false), (14, false), (15, true), (19, true), (20, true)] {
        let mut client = owner.connect_as("ann", &["room:*"]).await?;
        if from == 3 {
            client.continue_journal(journal.clone());
        }
        let ok = client.resume("room:9", &format!("{lineage}.{from}")).await?;
        assert_eq!(ok["recovered"], recovered, "after {from}: {ok}");
        let fence = if recovered { from } else { 15 };
        assert_eq!(ok["seq"], fence, "after {from}");
        if !recovered {
            assert_eq!(ok["reason"], "truncated");
            assert_eq!(
                (text(&ok["from"])?, text(&ok["to"])?),
                (&*format!("{lineage}.{from}"), &*format!("{lineage}.15"))
            );
        }
        if fence < 20 {
            read_to(&mut client, "room:9", 20).await?;
        }
        client.nothing_came().await?;
        journals.extend(client.vanish());
    }
    ledger.check_settled(&journals).map_err(|violations| anyhow::anyhow!("{violations:?}"))?;
    Ok(())
}

#[tokio::test]
async fn a_restart_that_forgets_the_log_is_told_as_another_epoch() -> Result<()> {
    let mut server = Server::start_with(Options::in_memory()).await?;
    let owner = server.sign_up().await?;
    let mut ledger = Ledger::new();
    let journal = seen_three(&owner, &mut ledger, "room:9").await?;
    let before = position(std::slice::from_ref(&journal), "room:9")?;

    server.kill()?;
    server.launch().await?;
    server.await_app(&owner).await?;
    ledger.fact("room:9", Fact::LineageEnded(before.lineage.clone()));
    // The new log has grown beyond the old position: its numbers mean other messages.
    publish(&owner, &mut ledger, "room:9", 100..110).await?;

    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.continue_journal(journal);
    let ok = ann.resume("room:9", &printed(&before)).await?;
    assert_eq!((&ok["recovered"], &ok["reason"]), (&json!(false), &json!("epoch_changed")));
    assert_eq!(text(&ok["from"])?, printed(&before));
    assert_eq!(text(&ok["to"])?, format!("{}.{}", text(&ok["lineage"])?, ok["seq"]));
    assert_ne!(ok["lineage"], before.lineage.as_str());
    publish(&owner, &mut ledger, "room:9", 110..113).await?;
    read_to(&mut ann, "room:9", 13).await?;

    // From here on the new log is as good as any.
    let journals = ann.vanish();
    let place = position(&journals, "room:9")?;
    publish(&owner, &mut ledger, "room:9", 113..120).await?;
    let mut again = owner.connect_as("ann", &["room:*"]).await?;
    journals.into_iter().for_each(|journal| again.continue_journal(journal));
    assert_eq!(again.resume("room:9", &printed(&place)).await?["recovered"], true);
    read_to(&mut again, "room:9", 20).await?;
    ledger.check_settled(&again.journals()).map_err(|violations| anyhow::anyhow!("{violations:?}"))?;
    Ok(())
}

#[tokio::test]
async fn a_position_counts_on_its_own_channel_alone() -> Result<()> {
    let server = Server::start().await?;
    let (owner, stranger) = (server.sign_up().await?, server.sign_up().await?);
    let place = owner.publisher().publish("room:9", "hi").await?.position;
    owner.publisher().publish("room:8", "hi").await?;
    let foreign = stranger.publisher().publish("room:9", "hi").await?.position;
    let (lineage, _) = place.rsplit_once('.').context("a position has two parts")?;
    let last = if lineage.ends_with('A') { "B" } else { "A" };
    let altered = format!("{}{last}.1", &lineage[..lineage.len() - 1]);
    let (head, tail) = lineage.split_at(1);
    let turned = format!("{}{tail}.1", if head == "A" { "B" } else { "A" });
    let huge = format!("{lineage}.99999999999999999999");
    let negative = format!("{lineage}.-1");

    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    for (what, channel, position) in [
        ("of another channel", "room:8", &*place),
        ("of the same channel of another app", "room:9", &*foreign),
        ("with another tag", "room:9", &altered),
        ("with another epoch", "room:9", &turned),
        ("with a number that is none", "room:9", &huge),
        ("with a negative number", "room:9", &negative),
        ("without a number", "room:9", lineage),
        ("with nothing else", "room:9", ".1"),
    ] {
        let problem = ann.refused("subscribe", json!({ "channel": channel, "position": position })).await?;
        assert_eq!(problem["code"], "invalid_position", "{what}: {problem}");
        let body = json!({ "channel": channel, "from": position });
        assert_eq!(ann.refused("history", body).await?["code"], "invalid_position", "{what}");
        let path = format!("/channels/{channel}/messages?from={position}");
        assert_eq!(owner.publisher().get(&path).await?.refusal()?, "invalid_position", "{what}");
    }
    // A refused subscribe leaves nothing behind.
    assert_eq!(ann.resume("room:9", &place).await?["recovered"], true);
    ann.nothing_came().await
}

#[tokio::test]
async fn a_position_ahead_of_the_log_is_never_called_recovered() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let place = owner.publisher().publish("room:9", "hi").await?.position;
    let (lineage, _) = place.rsplit_once('.').context("a position has two parts")?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    let asked = json!({ "channel": "room:9", "position": format!("{lineage}.1000") });
    match ann.command("subscribe", asked).await? {
        Ok(ok) => assert_eq!(ok["recovered"], false, "{ok}"),
        Err(problem) => assert_eq!(problem["code"], "invalid_position", "{problem}"),
    }
    Ok(())
}

#[tokio::test]
async fn a_rewind_begins_in_the_past_and_goes_on_live() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ledger = Ledger::new();
    publish(&owner, &mut ledger, "room:9", 1..11).await?;
    let mut journals = Vec::new();
    for (rewind, first) in [
        (json!({ "messages": 3 }), 8),
        (json!({ "messages": 10 }), 1),
        (json!({ "messages": 1000 }), 1),
        (json!({ "ms": 60_000 }), 1),
    ] {
        let mut ann = owner.connect_as("ann", &["room:*"]).await?;
        let ok = ann.ok("subscribe", json!({ "channel": "room:9", "rewind": rewind })).await?;
        assert_eq!((&ok["seq"], ok.get("recovered")), (&json!(first - 1), None), "{rewind}");
        assert_eq!(ann.message("room:9").await?["seq"], first, "{rewind}");
        read_to(&mut ann, "room:9", 10).await?;
        ann.nothing_came().await?;
        journals.extend(ann.vanish());
    }
    let mut live = owner.connect_as("ann", &["room:*"]).await?;
    live.ok("subscribe", json!({ "channel": "room:9", "rewind": { "messages": 1 } })).await?;
    publish(&owner, &mut ledger, "room:9", 11..12).await?;
    read_to(&mut live, "room:9", 11).await?;
    journals.extend(live.journals());
    ledger.check_settled(&journals).map_err(|violations| anyhow::anyhow!("{violations:?}"))?;
    ensure!(journals.iter().any(|journal| matches!(journal.seen.first(), Some(Seen::Subscribed(_)))));

    let place = owner.publisher().publish("room:9", "last").await?.position;
    let empty = live.ok("subscribe", json!({ "channel": "room:new", "rewind": { "messages": 5 } })).await?;
    assert_eq!(empty["seq"], 0);
    let both = json!({ "channel": "room:8", "rewind": { "messages": 1 }, "position": place });
    assert_eq!(live.refused("subscribe", both).await?["code"], "invalid_request");
    for wrong in [json!({ "messages": 0 }), json!({ "messages": 1001 }), json!({ "ms": 0 }), json!({}), json!(3)] {
        let problem = live.refused("subscribe", json!({ "channel": "room:8", "rewind": wrong })).await?;
        assert_eq!(problem["code"], "invalid_request", "{wrong}");
    }
    let token = owner.token(&json!({ "sub": "bob", "ff": { "cap": { "room:*": ["subscribe"] } } }))?;
    let mut bob = Client::connect(&owner.app_url(), "bob", Some(&token)).await?;
    let problem = bob.refused("subscribe", json!({ "channel": "room:9", "rewind": { "messages": 1 } })).await?;
    assert_eq!((&problem["code"], &problem["layer"]), (&json!("forbidden"), &json!("token")));
    bob.subscribe("room:9").await.map(drop)
}
