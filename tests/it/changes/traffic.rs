//! Changes that come one after the other while messages flow: none is half in force, and none is felt by who it does not
//! concern.

use std::cell::{Cell, RefCell};

use ::harness::client::Client;
use ::harness::server::Server;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::time::Instant;

use super::{Delays, connect_by, fresh_key, revoke};
use crate::bombs::{Bystander, beside};

const CHANGES: usize = 40;
const ROTATIONS: usize = 12;

/// F38: each version lets one room be published to and the other not, by two rules.
#[tokio::test]
async fn rules_that_change_under_traffic_are_never_mixed() -> Result<()> {
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let mut delays = Delays::new("rules swapped under traffic");
    let rules = |open: usize| {
        let room = |number: usize| {
            let effect = if number == open { "allow" } else { "deny" };
            json!({ "pattern": format!("room:{number}"), "who": "everyone", "operations": ["publish"], "effect": effect })
        };
        json!({ "rules": [room(0), room(1)] })
    };
    let token = owner.token(&json!({ "sub": "ann" }))?;
    let (mut ann, mut bob) = (
        Client::connect(&owner.app_url(), "ann", Some(&token)).await?,
        Client::connect(&owner.app_url(), "bob", Some(&token)).await?,
    );
    owner.replace_acl(&rules(1)).await?;
    ::harness::eventually("the first rules are in force", async || {
        Ok(ann.command("publish", json!({ "channel": "room:1", "data": 1 })).await?.ok())
    })
    .await?;
    let asked = Cell::new(0_u64);
    let changing = async {
        for number in 0..CHANGES {
            let open = number % 2;
            let since = Instant::now();
            owner.replace_acl(&rules(open)).await?;
            for client in [&mut ann, &mut bob] {
                // From the first answer by the new rules on, every answer is by them.
                let mut is_new = false;
                let mut settled = 0;
                while settled < 20 {
                    for room in [0, 1] {
                        let told =
                            client.command("publish", json!({ "channel": format!("room:{room}"), "data": 1 })).await?;
                        asked.set(asked.get() + 1);
                        if let Err(problem) = &told {
                            ensure!(problem["code"] == "forbidden", "{problem}");
                        }
                        let by_new = told.is_ok() == (room == open);
                        ensure!(by_new || !is_new, "change {number}: room:{room} was judged by the old rules again");
                        is_new = by_new;
                    }
                    settled += usize::from(is_new);
                    ensure!(since.elapsed() < ::harness::TIMEOUT, "change {number} is not felt");
                }
            }
            delays.felt(since);
        }
        Ok(())
    };
    beside(&server, &mut bystander, changing).await?;
    eprintln!("{} publishes were judged over {CHANGES} changes", asked.get());
    delays.judge()?;
    bystander.settle("rules that change")
}

/// F51: the key that signs is replaced again and again; who brings a token of the new one in time notices nothing.
#[tokio::test]
async fn signing_keys_are_rotated_under_traffic_without_anybody_noticing() -> Result<()> {
    let server = Server::start().await?;
    let (owner, mut bystander) = (server.sign_up().await?, Bystander::new(&server).await?);
    let mut key = fresh_key(&owner, None).await?;
    let mut ann = connect_by(&owner, &key).await?;
    let connection = ann.hello["connection"].clone();
    let ticket = RefCell::new(ann.ticket()?);
    let rotating = async {
        for number in 0..ROTATIONS {
            let next = fresh_key(&owner, None).await?;
            let old = owner.with_key(&key).token_for("ann", &["room:*"])?;
            // Both count until the old one goes.
            owner.publisher_with(&key).publish("room:9", number).await?;
            let token = owner.with_key(&next).token_for("ann", &["room:*"])?;
            let renewed = ann.ok("refresh", json!({ "token": token })).await?;
            ticket.replace(renewed["resume"].as_str().context("another ticket")?.to_owned());
            revoke(&owner, &key).await?;
            let since = Instant::now();
            loop {
                let mut late = Client::open(&owner.app_url(), "late").await?;
                match late.command("connect", json!({ "token": old })).await? {
                    Ok(_) => ensure!(since.elapsed() < super::FELT_WITHIN, "the old key counts on"),
                    Err(problem) => {
                        ensure!(problem["code"] == "token_revoked", "{problem}");
                        break;
                    }
                }
            }
            let answer = owner.publisher_with(&key).post("/channels/room:9/messages", &json!({ "data": 1 })).await?;
            ensure!((answer.status, answer.refusal()?.as_str()) == (401, "key_invalid"), "{}", answer.body);
            owner.publisher_with(&next).publish("room:9", number).await?;
            for _ in 0..2 {
                let message = ann.message("room:9").await?;
                ensure!(message["data"] == number, "after rotation {number}: {message}");
            }
            key = next;
        }
        ann.nothing_came().await?;
        Ok(())
    };
    beside(&server, &mut bystander, rotating).await?;
    // The connection is the same, and its ticket is good for another.
    let (first, ticket) = (ann.ticket()?, ticket.into_inner());
    drop(ann);
    let back = Client::come_back(&owner.app_url(), "ann", &ticket).await?;
    ensure!(back.hello["connection"] == connection, "{}", back.hello);
    ensure!(Client::come_back(&owner.app_url(), "ann", &first).await.is_err(), "a ticket of a revoked key");
    let key = key.split(':').next().context("a printed key begins with its id")?;
    let keys = owner.get(&format!("/apps/{}/keys", owner.app)).await?.ok()?;
    let keys = keys["items"].as_array().context("a list")?;
    let active: Vec<_> = keys.iter().filter(|one| one["name"] == "short-lived" && one["state"] == "active").collect();
    ensure!(active.len() == 1 && active[0]["id"] == key, "{active:?}");
    bystander.settle("keys that are rotated")
}
